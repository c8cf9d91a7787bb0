"""The roster: users, groups and channels on this node, who is in what, and whose sessions take part.

Ring 1 (core). Membership is told twice, by the group's stream and by the user's own; both carry the group's seq, so
whichever comes first decides and the other changes nothing. Which event comes when is `hub`'s work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Generic

import msgspec

from services.gateway.core.directs import Directs
from services.gateway.core.outs import Dispatch, Expel, FollowGroup, Out, Repair
from services.gateway.core.sights import Sights
from services.gateway.core.snapshot import guild_create
from services.gateway.core.state import (
    Held,
    Joined,
    LocalChannel,
    LocalGroup,
    LocalUser,
    S,
    Tracking,
)
from services.gateway.core.telling import channel_told
from shared.core.calls import GroupView, SessionView
from shared.core.model import Channel, Member, User
from shared.core.revocation import Bearer
from shared.core.roles import all_roles
from shared.core.stream import channel_stream, group_stream, owner_of, user_stream
from shared.core.user_events import TokensRevoked
from shared.core.wire.groups import guild_delete_of

_MOST_GONE: Final = 1_000
"""Deleted channels remembered per group."""


class Roster(Generic[S]):
    """Who is on this node. `held` is the hub's; `now` is seconds of a clock that never goes back."""

    def __init__(self, held: Held, tracking: Tracking) -> None:
        self._tracking = tracking
        self.users: dict[int, LocalUser[S]] = {}
        self.groups: dict[int, LocalGroup[S]] = {}
        self.channels: dict[int, LocalChannel] = {}
        self.directs: Directs[S] = Directs(self.users, self.channels, held, tracking)
        self._wanted: dict[int, set[int]] = {}
        """Local users in groups that they are not attached to yet: the group or the user is being read."""
        self._held = held

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

    def units(self) -> list[str]:
        """Return all that is followed: what must be compared after a loss of the node's queue."""
        directs = {channel_id for followed in self.directs.followed.values() for channel_id in followed}
        return [
            *(group_stream(group_id) for group_id in self.groups),
            *(user_stream(user_id) for user_id in self.users),
            *(channel_stream(channel_id) for channel_id in directs),
        ]

    def compare(self, unit: str, head: int) -> list[Out[S]]:
        """Hold back and repair a followed unit if its stream is behind this head."""
        position = self.position(unit)
        if position is None or position >= head:
            return []
        self._held.begin(unit)
        return [Repair(unit)]

    # Membership.

    def join(self, group_id: int, member: Member, group_seq: int, *, user_seq: int = 0) -> list[Out[S]]:
        """Attach a local user to a group, unless a later fact is known. `user_seq`: the user's own stream says it.

        Where that does not say so yet the group's stream lets nobody in: a node that takes the session over knows of
        the group by the user's own stream, and would tell it once more, from a later head. While that stream is being
        repaired it may say next that the user left: then the group waits.
        """
        user = self.users.get(member.user.id)
        group = self.groups.get(group_id)
        if user is None:
            return []
        if user_seq:
            user.own.add(group_id)
        _, ahead = user.ahead.get(group_id, (False, 0))
        if user_seq and ahead <= group_seq:
            user.ahead.pop(group_id, None)
        if (joined := user.groups.get(group_id)) is not None:
            joined.group_seq = max(joined.group_seq, group_seq)
            return []
        if group is not None and group.deleted:
            ahead = group.deleted
            user.ahead[group_id] = False, ahead
        if ahead > group_seq or group_id not in user.own:
            return []
        if not user_seq:
            user.ahead[group_id] = True, group_seq
        user.groups[group_id] = Joined(group_seq, member, user_seq)
        if group is None or (user_seq and user_stream(member.user.id) in self._held):
            self._wanted.setdefault(group_id, set()).add(member.user.id)
            if user_seq:
                self._tracking.hold(user_stream(member.user.id), user_seq)  # until GUILD_CREATE tells it
            return [FollowGroup(group_id)] if group is None else []
        return self._attach(user, group)

    def _attach(self, user: LocalUser[S], group: LocalGroup[S]) -> list[Out[S]]:
        self._want_no_more(group.group.id, user)
        group.enter(user.user.id)
        group.let_in(user.sessions)
        if not user.sessions:
            return []
        joined = user.groups[group.group.id]
        created = guild_create(self.channels, group, joined.member) | {"seq": joined.group_seq}
        return [Dispatch("GUILD_CREATE", created, tuple(user.sessions))]

    def attach_late(self, user_id: int) -> list[Out[S]]:
        """Attach a user, whose stream is whole again, to the groups that waited for that."""
        user = self.users.get(user_id)
        if user is None:
            return []
        late = [group_id for group_id in user.groups if user_id in self._wanted.get(group_id, ())]
        return [
            out for group_id in late if group_id in self.groups for out in self._attach(user, self.groups[group_id])
        ]

    def leave(self, group_id: int, user_id: int, group_seq: int, now: float, *, is_own: bool) -> list[Out[S]]:
        """Detach a local user from a group, unless the user came back later or is out already.

        `is_own`: the user's own stream says it.
        """
        user = self.users.get(user_id)
        if user is None:
            return []
        if is_own:
            user.own.discard(group_id)
        if is_own and user.ahead.get(group_id, (False, 0))[1] <= group_seq:
            user.ahead.pop(group_id, None)
        joined = user.groups.get(group_id)
        if joined is None or joined.group_seq > group_seq:
            return []
        if not is_own:
            user.ahead[group_id] = False, group_seq
        return self._detach_user(user, group_id, group_seq, now)

    def _detach_user(self, user: LocalUser[S], group_id: int, group_seq: int, now: float) -> list[Out[S]]:
        self._want_no_more(group_id, user)
        del user.groups[group_id]
        group = self.groups.get(group_id)
        if group is None or user.user.id not in group.users:
            return []  # its sessions were not told of it yet
        group.exit(user.user.id)
        group.let_out(user.sessions)
        group.idle_since = now
        if not user.sessions:
            return []
        return [Dispatch("GUILD_DELETE", guild_delete_of(group_id, group_seq), tuple(user.sessions))]

    def disband(self, group_id: int, group_seq: int, now: float) -> list[Out[S]]:
        """Let nobody be in a followed group any more: it is deleted. Its users' own streams may say so later."""
        group = self.groups[group_id]
        told = group.audience
        for user_id in (*group.users, *self._wanted.get(group_id, ())):
            user = self.users[user_id]
            user.ahead[group_id] = False, group_seq
            self._want_no_more(group_id, user)
            del user.groups[group_id]
            group.exit(user_id)
        group.let_out(told)
        group.deleted = group_seq
        group.idle_since = now
        return [Dispatch("GUILD_DELETE", guild_delete_of(group_id, group_seq), told)] if told else []

    def change_member(self, group: LocalGroup[S], member: Member, group_seq: int) -> None:
        """Take in that a member of a followed group is not as before."""
        user_id = member.user.id
        if user_id in group.members:
            group.members[user_id] = member
        if (user := self.users.get(user_id)) is not None and (joined := user.groups.get(group.group.id)) is not None:
            self._take_member(joined, member, group_seq)
        self.directs.rename(member.user)

    def change_own_member(self, user: LocalUser[S], member: Member, group_seq: int) -> list[Out[S]]:
        """Take in what a user's own stream says of a membership: the group's may have said it, or say it yet."""
        joined = user.groups.get(member.group_id)
        if joined is None or not self._take_member(joined, member, group_seq):
            return []
        group = self.groups.get(member.group_id)
        if group is None or user.user.id not in group.users:
            return []
        return self.tell_sights(group, *group.sights.look_again((user.user.id,)))

    @staticmethod
    def _take_member(joined: Joined, member: Member, group_seq: int) -> bool:
        """Take in a membership, unless a later fact is known."""
        if max(joined.member_seq, joined.group_seq) >= group_seq:
            return False
        joined.member, joined.member_seq = member, group_seq
        return True

    def tell_sights(
        self, group: LocalGroup[S], gained: Mapping[int, Sequence[int]], lost: Mapping[int, Sequence[int]]
    ) -> list[Out[S]]:
        """Tell sessions of users which channels they see since now, with their heads, and which no more."""
        out: list[Out[S]] = []
        for channel_id, user_ids in sorted(lost.items()):
            if (local := self.channels.get(channel_id)) is not None and (sessions := self._sessions_of(user_ids)):
                out.append(Dispatch("CHANNEL_DELETE", channel_told(local, group), sessions))
        for channel_id, user_ids in sorted(gained.items()):
            if sessions := self._sessions_of(user_ids):
                out.append(Dispatch("CHANNEL_CREATE", channel_told(self.channels[channel_id], group), sessions))
        return out

    def _sessions_of(self, user_ids: Iterable[int]) -> tuple[S, ...]:
        return tuple(session for user_id in user_ids for session in self.users[user_id].sessions)

    def change_user(self, changed: User) -> None:
        """Take in what a followed user is called now; as a member it is told by each group."""
        self.users[changed.id].user = changed
        self.directs.rename(changed)

    def _want_no_more(self, group_id: int, user: LocalUser[S]) -> None:
        self._tracking.release(user_stream(user.user.id), user.groups[group_id].user_seq)
        if (wanting := self._wanted.get(group_id)) is not None:
            wanting.discard(user.user.id)
            if not wanting:
                del self._wanted[group_id]

    # Bodies.

    def put_user(self, view: SessionView, now: float) -> list[Out[S]]:
        """Follow a user from this body on; nothing changes if the user is followed already. Then `release` the unit."""
        user_id = view.user.id
        if user_id in self.users:
            return []
        user: LocalUser[S] = LocalUser(view.user, view.user_seq, now, view.revocations)
        user.hidden = dict(view.hidden)
        self.users[user_id] = user
        self._tracking.begin(user_stream(user_id), view.user_seq)
        for member in view.memberships:
            user.own.add(member.group_id)
            group = self.groups.get(member.group_id)
            if group is not None and group.deleted:
                user.ahead[member.group_id] = False, group.deleted
                continue
            user.groups[member.group_id] = Joined(0, msgspec.structs.replace(member, user=view.user))
            if group is not None:
                group.enter(user_id)
            else:
                self._wanted.setdefault(member.group_id, set()).add(user_id)
        return [out for direct in view.directs for out in self.directs.put(direct)]

    def put_group(self, view: GroupView, now: float) -> list[Out[S]]:
        """Follow a group from this body on, and attach the local users in it. Then `release` the unit."""
        group_id = view.group.id
        if group_id in self.groups:
            return []
        roles = all_roles(group_id, view.roles)
        group: LocalGroup[S] = LocalGroup(view.group, view.seq, view.member_count, now, roles)
        group.sights = Sights(group, self.users, self.channels)
        group.members = {member.user.id: member for member in view.members}
        self.groups[group_id] = group
        self._tracking.begin(group_stream(group_id), view.seq)
        for one in view.channels:
            self.put_channel(one.channel, one.last_seq, one.last_message_id, group)
        out: list[Out[S]] = []
        for user_id in tuple(self._wanted.get(group_id, ())):
            if user_stream(user_id) not in self._held:
                out += self._attach(self.users[user_id], group)
        return out

    def put_channel(self, channel: Channel, seq: int, last_id: int, group: LocalGroup[S]) -> None:
        """Follow a channel of a group that is not known yet, from this head on."""
        self.channels[channel.id] = LocalChannel(channel, seq, last_id)
        self._tracking.begin(channel_stream(channel.id), seq)
        group.channels.add(channel.id)

    def drop_channel(self, channel_id: int, group: LocalGroup[S]) -> None:
        """Follow a channel of a group no more: it is deleted."""
        group.channels.discard(channel_id)
        group.gone[channel_id] = None
        if len(group.gone) > _MOST_GONE:
            del group.gone[next(iter(group.gone))]
        self._forget_channels((channel_id,))

    def without_group(self, group_id: int, group_seq: int) -> None:
        """Take in that a group's body could not be had because there is none: it was deleted, at that seq.

        No session here was told of it. One that comes from another node may have been.
        """
        for user_id in tuple(self._wanted.get(group_id, ())):
            user = self.users[user_id]
            user.ahead[group_id] = False, group_seq
            self._want_no_more(group_id, user)
            del user.groups[group_id]

    # Sessions.

    def sessions_of(self, channel: LocalChannel) -> tuple[S, ...]:
        """Return the sessions that may see a channel."""
        if channel.channel.type.is_direct:
            return self.directs.sessions_of(channel)
        group = self.groups.get(channel.channel.group_id)
        return group.sights.audience(channel.channel.id) if group is not None else ()

    def is_wanted(self, group_id: int) -> bool:
        """Whether local users are in a group whose body is not here yet."""
        return group_id in self._wanted and group_id not in self.groups

    def missing_groups(self, user_id: int) -> list[int]:
        """Return the groups of a followed user whose bodies are not here yet."""
        return [group_id for group_id in self.users[user_id].groups if group_id not in self.groups]

    def is_whole(self, user_id: int) -> bool:
        """Whether a user is followed and nothing of the user's stream is missing, so that a session may begin."""
        return user_id in self.users and user_stream(user_id) not in self._held

    def voids(self, bearer: Bearer) -> bool:
        """Whether a token is void, as far as its user's stream is known here."""
        user = self.users.get(bearer.user_id)
        return user is not None and user.revocations.void(bearer)

    def revoke(self, user_id: int, event: TokensRevoked) -> list[Out[S]]:
        """Take in that tokens of a local user were revoked: in any order, and also more than once."""
        user = self.users.get(user_id)
        if user is None:
            return []
        user.revocations = user.revocations.after(event)
        return [Expel(tuple(user.sessions), user.revocations)] if user.sessions else []

    def attach(self, session: S, user_id: int) -> None:
        """Let a session of a followed user take part from now on; its snapshot is made in the same step."""
        user = self.users[user_id]
        user.sessions.add(session)
        for group_id in user.groups:
            self.groups[group_id].let_in((session,))

    def detach(self, session: S, user_id: int, now: float) -> None:
        """Take a session away; its user is followed for a while longer."""
        user = self.users.get(user_id)
        if user is None or session not in user.sessions:
            return
        user.sessions.discard(session)
        user.idle_since = now
        for group_id in user.groups:
            if (group := self.groups.get(group_id)) is not None:
                group.let_out((session,))

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
                self._tracking.end(group_stream(group_id))
                self._held.end(group_stream(group_id))
                gone.append(group_stream(group_id))
        return gone

    def _forget_user(self, user_id: int, user: LocalUser[S], now: float) -> None:
        del self.users[user_id]
        self._tracking.end(user_stream(user_id))
        self._held.end(user_stream(user_id))
        for group_id in user.groups:
            self._want_no_more(group_id, user)
            if (group := self.groups.get(group_id)) is not None:
                group.exit(user_id)
                group.idle_since = now
        self.directs.forget(user_id)

    def _forget_channels(self, channel_ids: Iterable[int]) -> None:
        for channel_id in channel_ids:
            del self.channels[channel_id]
            self._tracking.end(channel_stream(channel_id))
