"""The hub: who is on this node, what the node follows, and what each event means for them.

Ring 1 (core). Every followed stream has a position. A repeat is dropped; before a hole the event's whole unit is
held back until the shell has read what is missing (`Repair`), so that no order within a stream and no removal is ever
overtaken. Membership is told twice, by the group's stream and by the user's own; both carry the group's seq,
so whichever comes first decides and the other changes nothing (DESIGN.md sections 3, 5 and 10, rules 5 to 9).
Bodies and positions are in `state`; what a new session is told in `snapshot`; who performs this is
`services.gateway.delivery`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Generic

from services.gateway.core.snapshot import guild_create
from services.gateway.core.state import (
    MEMBER_SAMPLE,
    Held,
    Joined,
    LocalChannel,
    LocalGroup,
    LocalUser,
    S,
    unit_of,
)
from shared.core import wire
from shared.core.calls import DirectView, GroupView, SessionView
from shared.core.events import (
    ChannelCreated,
    ChannelOpened,
    GroupJoined,
    GroupLeft,
    MemberAdded,
    MemberRemoved,
    MessageCreated,
)
from shared.core.model import Channel, ChannelType, Member
from shared.core.stream import Event, channel_stream, group_stream, owner_of, user_stream
from shared.core.wire import Json

WHOLE_DIRECT: Final = 50
"""A direct channel that turns up late is told whole if it has at most so many events."""

_OPENED: Final = 1
"""The seq of a direct channel's creation, the first event of its stream."""


@dataclass(frozen=True, slots=True)
class Dispatch(Generic[S]):
    """Encode this once and send it to these sessions."""

    t: str
    d: Json
    sessions: Collection[S]


@dataclass(frozen=True, slots=True)
class FollowGroup:
    """A local user joined a group that is not followed: bind its key, read its body, call `put_group`."""

    group_id: int


@dataclass(frozen=True, slots=True)
class Repair:
    """The unit is held back: read what it misses, `fill` it in, then `release` it."""

    unit: str


Out = Dispatch[S] | FollowGroup | Repair


class Hub(Generic[S]):
    """All that one node knows. `now` is seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self.users: dict[int, LocalUser[S]] = {}
        self.groups: dict[int, LocalGroup[S]] = {}
        self.channels: dict[int, LocalChannel] = {}
        self.directs: dict[int, set[int]] = {}
        """Direct channels followed, by each user in them, local or not."""
        self._wanted: dict[int, set[int]] = {}
        """Local users in groups that they are not attached to yet: something is being read, or they only claim it."""
        self._held = Held()
        self.applied = 0
        self.repeats = 0
        self.foreign = 0
        self.holes = 0

    # Events.

    def apply(self, event: Event, now: float) -> list[Out[S]]:
        """Take an event of the node's queue."""
        unit = unit_of(event)
        if unit in self._held:
            self._held.keep(unit, event)
            return self._leave_early(event, now)
        return self.fill(event, now)

    def fill(self, event: Event, now: float) -> list[Out[S]]:
        """Take an event of a unit that may be held back: what a repair has read."""
        stream = event.stream
        match stream[0]:
            case "c":
                return self._fill_channel(event, now)
            case "g":
                group = self.groups.get(event.group_id)
                if group is None:
                    return self._not_ours()
                if (wrong := self._out_of_turn(event, group.seq)) is not None:
                    return wrong
                group.seq = event.record.seq
                return self._apply_to_group(event, group, now)
            case _:
                user = self.users.get(owner_of(stream))
                if user is None:
                    return self._not_ours()
                if (wrong := self._out_of_turn(event, user.seq)) is not None:
                    return wrong
                user.seq = event.record.seq
                return self._apply_to_user(event, user, now)

    def _not_ours(self) -> list[Out[S]]:
        self.foreign += 1
        return []

    def _out_of_turn(self, event: Event, position: int) -> list[Out[S]] | None:
        """Return what to do about an event that is not the next of its stream; None if it is."""
        seq = event.record.seq
        if seq == position + 1:
            self.applied += 1
            return None
        if seq <= position:
            self.repeats += 1
            return []
        self.holes += 1
        return self._await_repair(event)

    def _await_repair(self, event: Event) -> list[Out[S]]:
        unit = unit_of(event)
        is_new = self._held.begin(unit)
        self._held.keep(unit, event)
        return [Repair(unit)] if is_new else []

    def _fill_channel(self, event: Event, now: float) -> list[Out[S]]:
        channel = self.channels.get(owner_of(event.stream))
        if channel is None:
            return self._fill_unknown_channel(event)
        if (wrong := self._out_of_turn(event, channel.seq)) is not None:
            return wrong
        channel.seq = event.record.seq
        if isinstance(event.record.body, MessageCreated):
            channel.last_message_id = event.record.id
        sessions = self._sessions_of(channel)
        t, d = wire.dispatch_of(event) if sessions else (None, None)
        return [] if t is None or d is None else [Dispatch(t, d, sessions)]

    def _fill_unknown_channel(self, event: Event) -> list[Out[S]]:
        """Take an event of a channel that is not followed: of a new DM, or of one that we should know."""
        if event.group_id:
            # Messages come after their channel's creation, so the group's stream has a hole.
            return self._await_repair(event) if event.group_id in self.groups else self._not_ours()
        if not any(user_id in self.users for user_id in event.to):
            for user_id in event.to:
                if (unit := user_stream(user_id)) in self._held:
                    self._held.keep(unit, event)
            return self._not_ours()
        if isinstance(event.record.body, ChannelOpened):
            self.applied += 1
            return self._open_direct(DirectView(event.record.body.channel, event.record.seq, 0))
        self.holes += 1
        return self._await_repair(event)

    def _sessions_of(self, channel: LocalChannel) -> tuple[S, ...]:
        if channel.channel.type is not ChannelType.DIRECT:
            group = self.groups.get(channel.channel.group_id)
            return tuple(group.sessions) if group is not None else ()
        return tuple(
            session
            for user_id in dict.fromkeys(channel.recipients)
            if (user := self.users.get(user_id)) is not None
            for session in user.sessions
        )

    def _apply_to_group(self, event: Event, group: LocalGroup[S], now: float) -> list[Out[S]]:
        seq = event.record.seq
        out: list[Out[S]] = []
        match event.record.body:
            case MemberAdded(member):
                group.member_count += 1
                if len(group.members) < MEMBER_SAMPLE:
                    group.members[member.user.id] = member
                t, d = wire.dispatch_of(event)
                if t is not None and d is not None and group.sessions:
                    out.append(Dispatch(t, d, tuple(group.sessions)))
                group.left.forget(member.user.id, seq)
                return out + self._join(event.group_id, member, seq)
            case MemberRemoved(user):
                group.member_count -= 1
                group.members.pop(user.id, None)
                group.left.add(user.id, seq)
                out += self._leave(event.group_id, user.id, seq, now)
            case ChannelCreated(channel):
                self._put_channel(channel, 0, 0, group)
            case _:
                return out
        t, d = wire.dispatch_of(event)
        if t is not None and d is not None and group.sessions:
            out.append(Dispatch(t, d, tuple(group.sessions)))
        return out

    def _apply_to_user(self, event: Event, user: LocalUser[S], now: float) -> list[Out[S]]:
        match event.record.body:
            case GroupJoined(group_seq=group_seq, member=member):
                return self._join(member.group_id, member, group_seq, is_own=True)
            case GroupLeft(group_id=group_id, group_seq=group_seq):
                return self._leave(group_id, user.user.id, group_seq, now, is_own=True)
            case _:
                return []

    def _leave_early(self, event: Event, now: float) -> list[Out[S]]:
        """Act on a removal also while its unit is held back: nobody may see what comes after it."""
        position = self.position(event.stream)
        if position is None or event.record.seq <= position:
            return []
        match event.record.body:
            case GroupLeft(group_id=group_id, group_seq=group_seq):
                return self._leave(group_id, owner_of(event.stream), group_seq, now, is_own=True)
            case MemberRemoved(user) if (group := self.groups.get(event.group_id)) is not None:
                group.left.add(user.id, event.record.seq)
                return self._leave(event.group_id, user.id, event.record.seq, now)
            case _:
                return []

    # Membership.

    def _join(self, group_id: int, member: Member, group_seq: int, *, is_own: bool = False) -> list[Out[S]]:
        """Attach a local user to a group, unless a later fact is known. `is_own`: the user's own stream says it.

        While that stream is being repaired it may say next that the user left: then the group waits.
        """
        user = self.users.get(member.user.id)
        group = self.groups.get(group_id)
        if user is None or user.left.since(group_id) > group_seq:
            return []
        if group is not None and group.left.since(member.user.id) > group_seq:
            return []
        if (joined := user.groups.get(group_id)) is not None:
            joined.group_seq = max(joined.group_seq, group_seq)
            return []
        user.left.forget(group_id, group_seq)
        user.claims.discard(group_id)
        user.groups[group_id] = Joined(group_seq, member)
        if group is None or (is_own and user_stream(member.user.id) in self._held):
            self._wanted.setdefault(group_id, set()).add(member.user.id)
            return [FollowGroup(group_id)] if group is None else []
        return self._attach(user, group)

    def _attach(self, user: LocalUser[S], group: LocalGroup[S]) -> list[Out[S]]:
        self._want_no_more(group.group.id, user.user.id)
        group.users.add(user.user.id)
        group.sessions |= user.sessions
        if not user.sessions:
            return []
        joined = user.groups[group.group.id]
        created = guild_create(self.channels, group, joined.member) | {"seq": joined.group_seq}
        return [Dispatch("GUILD_CREATE", created, tuple(user.sessions))]

    def _attach_late(self, user_id: int) -> list[Out[S]]:
        """Attach a user, whose stream is whole again, to the groups that waited for that."""
        user = self.users.get(user_id)
        if user is None:
            return []
        late = [group_id for group_id in user.groups if user_id in self._wanted.get(group_id, ())]
        return [
            out for group_id in late if group_id in self.groups for out in self._attach(user, self.groups[group_id])
        ]

    def _leave(self, group_id: int, user_id: int, group_seq: int, now: float, *, is_own: bool = False) -> list[Out[S]]:
        """Detach a local user from a group, unless the user came back later or is out already."""
        user = self.users.get(user_id)
        if user is None:
            return []
        joined = user.groups.get(group_id)
        if joined is not None and joined.group_seq > group_seq:
            return []
        if user.left.since(group_id) < group_seq:
            user.left.add(group_id, group_seq)
        if is_own:
            self._end_claim(user, group_id)
        if joined is None:
            return []
        out = self._detach_user(user, group_id, group_seq, now)
        if not is_own and not joined.group_seq:
            self._claim(user, group_id)  # joined we don't know when, perhaps after this
        return out

    def _claim(self, user: LocalUser[S], group_id: int) -> None:
        """Keep a group followed until its stream or the user's says whether the user is in it."""
        user.claims.add(group_id)
        self._wanted.setdefault(group_id, set()).add(user.user.id)

    def _end_claim(self, user: LocalUser[S], group_id: int) -> None:
        if group_id in user.claims:
            user.claims.remove(group_id)
            self._want_no_more(group_id, user.user.id)

    def _detach_user(self, user: LocalUser[S], group_id: int, group_seq: int, now: float) -> list[Out[S]]:
        del user.groups[group_id]
        self._want_no_more(group_id, user.user.id)
        group = self.groups.get(group_id)
        if group is None or user.user.id not in group.users:
            return []  # its sessions were not told of it yet
        group.users.discard(user.user.id)
        group.sessions -= user.sessions
        group.idle_since = now
        if not user.sessions:
            return []
        return [Dispatch("GUILD_DELETE", wire.guild_delete_of(group_id, group_seq), tuple(user.sessions))]

    def _want_no_more(self, group_id: int, user_id: int) -> None:
        if (wanting := self._wanted.get(group_id)) is not None:
            wanting.discard(user_id)
            if not wanting:
                del self._wanted[group_id]

    # Bodies.

    def put_user(self, view: SessionView, now: float) -> list[Out[S]]:
        """Follow a user from this body on; nothing changes if the user is followed already. Then `release` the unit."""
        user_id = view.user.id
        if user_id in self.users:
            return []
        user: LocalUser[S] = LocalUser(view.user, view.user_seq, now)
        self.users[user_id] = user
        for member in view.memberships:
            group = self.groups.get(member.group_id)
            if group is not None and group.left.since(user_id):
                self._claim(user, member.group_id)
                continue
            user.groups[member.group_id] = Joined(0, member)
            if group is not None:
                group.users.add(user_id)
            else:
                self._wanted.setdefault(member.group_id, set()).add(user_id)
        return [out for direct in view.directs for out in self.put_direct(direct)]

    def put_group(self, view: GroupView, now: float) -> list[Out[S]]:
        """Follow a group from this body on, and attach the local users in it. Then `release` the unit."""
        group_id = view.group.id
        if group_id in self.groups:
            return []
        group: LocalGroup[S] = LocalGroup(view.group, view.seq, view.member_count, now)
        group.members = {member.user.id: member for member in view.members[:MEMBER_SAMPLE]}
        self.groups[group_id] = group
        for one in view.channels:
            self._put_channel(one.channel, one.last_seq, one.last_message_id, group)
        out: list[Out[S]] = []
        for user_id in tuple(self._wanted.get(group_id, ())):
            if user_stream(user_id) not in self._held:
                out += self._attach(self.users[user_id], group)
        return out

    def put_direct(self, view: DirectView) -> list[Out[S]]:
        """Follow a direct channel that turned up in a body or by an event that is not its first.

        Nothing changes if it is known, or if none of its users is followed (any more).

        Sessions that were there before are told of it: of a short one everything, of a long one from its head on.
        """
        if view.channel.id in self.channels or not any(user.id in self.users for user in view.channel.recipients):
            return []
        unit = channel_stream(view.channel.id)
        is_whole = view.last_seq <= WHOLE_DIRECT and self._has_sessions(view.channel)
        seq, last_id = (_OPENED, 0) if is_whole else (view.last_seq, view.last_message_id)
        out = self._open_direct(DirectView(view.channel, seq, last_id))
        return out + self.compare(unit, view.last_seq)

    def compare(self, unit: str, head: int) -> list[Out[S]]:
        """Hold back and repair a followed unit if its stream is behind this head."""
        position = self.position(unit)
        if position is None or position >= head:
            return []
        self._held.begin(unit)
        return [Repair(unit)]

    def _has_sessions(self, channel: Channel) -> bool:
        return any((local := self.users.get(user.id)) is not None and local.sessions for user in channel.recipients)

    def _open_direct(self, view: DirectView) -> list[Out[S]]:
        self._put_channel(view.channel, view.last_seq, view.last_message_id)
        out: list[Out[S]] = []
        for user_id in dict.fromkeys(user.id for user in view.channel.recipients):
            if (user := self.users.get(user_id)) is not None and user.sessions:
                opened = {"seq": _OPENED} if view.last_seq == _OPENED else {}
                out.append(Dispatch("CHANNEL_CREATE", wire.direct_of(view, user_id) | opened, tuple(user.sessions)))
        return out

    def _put_channel(self, channel: Channel, seq: int, last_id: int, group: LocalGroup[S] | None = None) -> None:
        self.channels[channel.id] = LocalChannel(channel, seq, last_id)
        if group is not None:
            group.channels.add(channel.id)
        for user in channel.recipients:
            self.directs.setdefault(user.id, set()).add(channel.id)

    def without_group(self, group_id: int, now: float) -> list[Out[S]]:
        """Take in that a group's body could not be had because there is none (any more)."""
        out: list[Out[S]] = []
        for user_id in tuple(self._wanted.get(group_id, ())):
            user = self.users[user_id]
            out += self._detach_user(user, group_id, user.groups[group_id].group_seq, now)
        return out

    # What is held back.

    def hold(self, unit: str) -> None:
        """Hold back a unit's events until `release`: its body or what it misses is being read."""
        self._held.begin(unit)

    def is_held(self, unit: str) -> bool:
        """Whether the unit's events are held back."""
        return unit in self._held

    def held_events(self, unit: str) -> tuple[Event, ...]:
        """Return what is held back of a unit."""
        return self._held.events(unit)

    def release(self, unit: str, now: float, *, is_read: bool = False) -> list[Out[S]]:
        """Apply what was held back. If something is still missing the unit is held again, with a new `Repair`.

        `is_read`: the unit was just repaired, so a channel that is still unknown is none that we may know.
        """
        events, is_stale = self._held.end(unit)
        if is_stale:
            self._held.begin(unit)
            return [Repair(unit)]
        out: list[Out[S]] = []
        for event in events:
            if is_read and self.position(event.stream) is None and not isinstance(event.record.body, ChannelOpened):
                self.foreign += 1
            else:
                out += self.apply(event, now)
        return out if unit in self._held or unit[0] != "u" else out + self._attach_late(owner_of(unit))

    def position(self, stream: str) -> int | None:
        """Return the seq to which a followed stream is applied; None if it is not followed."""
        owner = owner_of(stream)
        match stream[0]:
            case "c":
                channel = self.channels.get(owner)
                return channel.seq if channel is not None else None
            case "g":
                group = self.groups.get(owner)
                return group.seq if group is not None else None
            case _:
                user = self.users.get(owner)
                return user.seq if user is not None else None

    def is_wanted(self, group_id: int) -> bool:
        """Whether local users are in a group whose body is not here yet."""
        return group_id in self._wanted and group_id not in self.groups

    def abandon(self, unit: str) -> None:
        """Forget what was held back of a unit that is not followed after all."""
        self._held.end(unit)

    def units(self) -> list[str]:
        """Return all that is followed: what must be compared after a loss of the node's queue."""
        directs = {channel_id for followed in self.directs.values() for channel_id in followed}
        return [
            *(group_stream(group_id) for group_id in self.groups),
            *(user_stream(user_id) for user_id in self.users),
            *(channel_stream(channel_id) for channel_id in directs),
        ]

    # Sessions.

    def missing_groups(self, user_id: int) -> list[int]:
        """Return the groups of a followed user whose bodies are not here yet."""
        return [group_id for group_id in self.users[user_id].groups if group_id not in self.groups]

    def is_whole(self, user_id: int) -> bool:
        """Whether a user is followed and nothing of the user's stream is missing, so that a session may begin."""
        return user_id in self.users and user_stream(user_id) not in self._held

    def attach(self, session: S, user_id: int) -> None:
        """Let a session of a followed user take part from now on; its snapshot is made in the same step."""
        user = self.users[user_id]
        user.sessions.add(session)
        for group_id in user.groups:
            self.groups[group_id].sessions.add(session)

    def detach(self, session: S, user_id: int, now: float) -> None:
        """Take a session away; its user is followed for a while longer."""
        user = self.users.get(user_id)
        if user is None or session not in user.sessions:
            return
        user.sessions.discard(session)
        user.idle_since = now
        for group_id in user.groups:
            if (group := self.groups.get(group_id)) is not None:
                group.sessions.discard(session)

    def sweep(self, now: float, linger_s: float) -> list[str]:
        """Stop following users without sessions and groups without users for `linger_s`; return their units."""
        gone: list[str] = []
        for user_id, user in list(self.users.items()):
            if not user.sessions and now - user.idle_since >= linger_s:
                self._forget_user(user_id, user, now)
                gone.append(user_stream(user_id))
        for group_id, group in list(self.groups.items()):
            if not group.users and group_id not in self._wanted and now - group.idle_since >= linger_s:
                self._forget_channels(group.channels)
                del self.groups[group_id]
                self.abandon(group_stream(group_id))
                gone.append(group_stream(group_id))
        return gone

    def _forget_user(self, user_id: int, user: LocalUser[S], now: float) -> None:
        del self.users[user_id]
        self.abandon(user_stream(user_id))
        for group_id in (*user.groups, *user.claims):
            self._want_no_more(group_id, user_id)
            if (group := self.groups.get(group_id)) is not None:
                group.users.discard(user_id)
                group.idle_since = now
        self._forget_channels(
            channel_id
            for channel_id in self.directs.get(user_id, ())
            if not any(other in self.users for other in self.channels[channel_id].recipients)
        )

    def _forget_channels(self, channel_ids: Iterable[int]) -> None:
        for channel_id in list(channel_ids):
            channel = self.channels.pop(channel_id)
            self.abandon(channel_stream(channel_id))
            for user_id in channel.recipients:
                if (followed := self.directs.get(user_id)) is not None:
                    followed.discard(channel_id)
                    if not followed:
                        del self.directs[user_id]

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {
            "users": len(self.users),
            "sessions": sum(len(user.sessions) for user in self.users.values()),
            "groups": len(self.groups),
            "channels": len(self.channels),
            "units_held": len(self._held),
            "events_applied": self.applied,
            "events_repeated": self.repeats,
            "events_foreign": self.foreign,
            "events_holes": self.holes,
        }
