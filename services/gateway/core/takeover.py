"""Taking over a session: what its client lacks between where it stood on another node and where we stand.

Ring 1 (core). `plan_of` says, in the step in which the session is attached here, what to tell at once and which events
to read; everything later comes from our own replay log. So nothing between is missing and nothing comes twice.
Rules 5 and 6 of docs/rules.md; who performs the plan is `services.gateway.taking_over`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from services.gateway.core.directs import OPENED, WHOLE_DIRECT
from services.gateway.core.handover import Missed
from services.gateway.core.hiding import hidden_told
from services.gateway.core.missed import missed_of
from services.gateway.core.retracing import Retraced, retrace
from services.gateway.core.roster import Roster
from services.gateway.core.snapshot import guild_create
from services.gateway.core.state import LocalGroup, LocalUser
from services.gateway.core.telling import channel_told
from shared.core.calls import SESSION_DIRECTS, DirectView
from shared.core.group_events import ChannelCreated
from shared.core.model import Channel, ChannelType
from shared.core.permissions import Permission
from shared.core.stream import Event, channel_stream, group_stream, user_stream
from shared.core.user_events import (
    DirectHidden,
    DirectJoined,
    DirectLeft,
    DirectShown,
    GroupJoined,
    GroupLeft,
    MembershipChanged,
    UserBlocked,
    UserChanged,
)
from shared.core.wire.channels import direct_of
from shared.core.wire.directs import direct_deleted_of
from shared.core.wire.groups import guild_delete_of
from shared.core.wire.values import Json, encode

CLOCKS_MS: Final = 2_000
"""How far the clocks of two machines may be apart."""


class Origin(Protocol):
    """Where a session stood on the node that had it."""

    def position_of(self, stream: str) -> int | None:
        """Return the seq up to which the session has a stream; None if that node did not follow it for the session."""

    def knew(self, stream: str) -> bool:
        """Whether the client was told of the group or channel that this stream is about."""


@dataclass(frozen=True, slots=True)
class Given:
    """An origin that handed the session over, exact to the frame."""

    positions: Mapping[str, int]

    def position_of(self, stream: str) -> int | None:
        """Return the seq up to which the session has a stream."""
        return self.positions.get(stream)

    def knew(self, stream: str) -> bool:
        """Whether the client was told of what this stream is about."""
        return stream in self.positions


@dataclass(frozen=True, slots=True)
class Read:
    """The events of a stream above `after` up to `upto` are to be read and told."""

    stream: str
    after: int
    upto: int

    def told_of(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return what is told of the events that were read from `after` on."""
        return [event for event in events if event.record.seq <= self.upto]


@dataclass(frozen=True, slots=True)
class ReadSince(Read):
    """The same of a channel of a group that is told anew: what is from before `since` (Unix ms) is left out.

    `channel`: the channel as it is told; its head is set to where the events that follow begin.
    """

    channel: Json
    since: int

    def told_of(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return what is told of the events that were read from `after` on."""
        read = [event for event in events if event.record.seq <= self.upto]
        first = next((index for index, event in enumerate(read) if event.record.at >= self.since), len(read))
        self.channel["last_seq"] = self.after + first
        return read[first:]


@dataclass(slots=True)
class Plan:
    """What to tell at once, the groups to tell anew, and then what to read and tell, in this order.

    `sights`: what the user saw of groups whose events are read. `groups` are told once all was read: only then their
    channels' heads are known. `created`: channels that must come to be among the events of their groups that are
    read. If one does not, then where it stood is not known, and the session can't be taken over.
    """

    first: list[Missed] = field(default_factory=list)
    groups: list[Json] = field(default_factory=list)
    sights: dict[int, Retraced] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    created: set[int] = field(default_factory=set)

    def tell(self, t: str, d: Json) -> None:
        """Tell this at once."""
        self.first.append(Missed(t, encode(d)))

    def read(self, stream: str, after: int, upto: int) -> None:
        """Read and tell these events, if there are any."""
        if after < upto:
            self.reads.append(Read(stream, after, upto))


def streams_of(roster: Roster[Any], user_id: int) -> Iterator[str]:
    """Yield the streams that a followed user's sessions take part in."""
    yield user_stream(user_id)
    for group_id in roster.users[user_id].groups:
        if (group := roster.groups.get(group_id)) is not None and user_id in group.users:
            yield group_stream(group_id)
            yield from map(channel_stream, group.channels)
    yield from map(channel_stream, roster.directs.of(user_id))


def lagging(roster: Roster[Any], user_id: int, origin: Origin, told: Mapping[str, int]) -> bool:
    """Whether we are behind where the session stood: then it can't be attached yet, or it would see things twice."""
    for stream in streams_of(roster, user_id):
        position = roster.position(stream) or 0
        if position < max(origin.position_of(stream) or 0, told.get(stream, 0)):
            return True
    return False


def changed_groups(changes: Sequence[Event]) -> dict[int, tuple[bool, int]]:
    """Return of each group that a user's stream tells of: whether the user was in it before, and its last seq here."""
    found: dict[int, tuple[bool, int]] = {}
    for event in changes:
        match event.record.body:
            case GroupJoined(group_seq=seq, member=member):
                was_in = found[member.group_id][0] if member.group_id in found else False
                found[member.group_id] = was_in, seq
            case GroupLeft(group_id=group_id, group_seq=seq):
                was_in = found[group_id][0] if group_id in found else True
                found[group_id] = was_in, seq
    return found


def kept_groups(roster: Roster[Any], user_id: int, origin: Origin, changes: Sequence[Event]) -> Iterator[int]:
    """Yield the groups that the user was in at the origin, and ever since."""
    user = roster.users[user_id]
    changed = changed_groups(changes).keys() | user.ahead.keys()
    for group_id in user.groups:
        if group_id not in changed and origin.knew(group_stream(group_id)):
            yield group_id


def plan_of(
    roster: Roster[Any],
    user_id: int,
    origin: Origin,
    changes: Sequence[Event],
    group_changes: Mapping[int, Sequence[Event]],
    told: Mapping[str, int],
) -> Plan | None:
    """Return what the session lacks up to our own positions; None if it can't be placed exactly.

    `changes`: the events of the user's own stream from the origin's position up to ours; `group_changes`: those of
    `kept_groups`, at least up to ours. `told`: how far the client says it is in channels' streams. The user is
    followed and whole here, and so are all groups of the user.
    """
    plan = Plan()
    user = roster.users[user_id]
    told_own = (event for event in changes if isinstance(event.record.body, UserChanged | UserBlocked))
    plan.first += [missed for event in told_own if (missed := missed_of(event, user_id)) is not None]
    moved = _tell_moved_directs(plan, roster, user_id, origin, changes)
    changed = changed_groups(changes)
    for group_id, (is_in, seq) in user.ahead.items():
        changed[group_id] = changed[group_id][0] if group_id in changed else not is_in, seq
    for group_id, (was_in, seq) in changed.items():
        if was_in and origin.knew(group_stream(group_id)):
            plan.tell("GUILD_DELETE", guild_delete_of(group_id, seq))
    for group_id in user.groups:
        group = roster.groups[group_id]
        unit = group_stream(group_id)
        if group_id in changed or not origin.knew(unit):
            _tell_new_group(plan, roster, user, group, origin, told)
            continue
        stood = origin.position_of(unit)
        if stood is None:
            return None
        plan.read(unit, stood, group.seq)
        own = [event.record.body for event in changes if _is_ahead(event, group)]
        events = [event.record.body for event in group_changes.get(group_id, ()) if event.record.seq <= group.seq]
        retraced = retrace(group, roster.channels, user.groups[group_id].member, [*events, *own])
        plan.sights[group_id] = retraced
        _tell_sights(plan, roster, group, retraced)
        for channel_id in sorted(retraced.steady):
            stream = channel_stream(channel_id)
            after = origin.position_of(stream)
            if after is None:
                if stood == group.seq:
                    return None
                plan.created.add(channel_id)
                after = 0
            plan.read(stream, max(after, told.get(stream, 0)), roster.channels[channel_id].seq)
    toggled = _toggled_directs(changes)
    return plan if _place_directs(plan, roster, user_id, origin, told, moved, toggled) else None


def _is_ahead(event: Event, group: LocalGroup[Any]) -> bool:
    """Whether the user's own stream says what the group's has not come to yet."""
    match event.record.body:
        case MembershipChanged(group_seq, member):
            return member.group_id == group.group.id and group_seq > group.seq
        case _:
            return False


def _tell_sights(plan: Plan, roster: Roster[Any], group: LocalGroup[Any], retraced: Retraced) -> None:
    """Tell which channels the session sees no more, and which since a while: with today's heads, nothing before."""
    for channel_id in sorted(retraced.lost & group.channels):
        plan.tell("CHANNEL_DELETE", channel_told(roster.channels[channel_id], group))
    for channel_id in sorted(retraced.gained):
        plan.tell("CHANNEL_CREATE", channel_told(roster.channels[channel_id], group))


def _tell_new_group(
    plan: Plan,
    roster: Roster[Any],
    user: LocalUser[Any],
    group: LocalGroup[Any],
    origin: Origin,
    told: Mapping[str, int],
) -> None:
    """Tell a group that the client may not know, or that it left and came back to.

    Where it may know it, its channels are told from as far as the client may have seen, but for what is surely from
    before the user joined. That a client says where it is in a channel means that it was told of it, if by a node that
    could not leave that in its trail any more. That node may have been behind: it would have told what is from before
    the user joined, too, which is for those who may read the history.
    """
    joined = user.groups[group.group.id]
    created = guild_create(roster.channels, group, joined.member) | {"seq": joined.group_seq}
    reads_history = group.sights.group_permissions(user.user.id) & Permission.READ_MESSAGE_HISTORY
    for channel in created["channels"]:
        stream = channel_stream(int(channel["id"]))
        if channel["permission_overwrites"]:
            continue  # nobody knows since when the user sees it: what is before today's head is left to pages
        stood = origin.position_of(stream)
        if stood is None and stream not in told:
            continue
        after = max(stood or 0, told.get(stream, 0))
        if after < channel["last_seq"]:
            since = 0 if stood is None and reads_history else joined.member.joined_at - CLOCKS_MS
            plan.reads.append(ReadSince(stream, after, channel["last_seq"], channel, since))
    plan.groups.append(created)


def _tell_moved_directs(
    plan: Plan, roster: Roster[Any], user_id: int, origin: Origin, changes: Sequence[Event]
) -> set[int]:
    """Tell the group DMs that the user came into, with today's head, or is out of; return both."""
    moved: dict[int, tuple[Channel, int]] = {}
    for event in changes:
        match event.record.body:
            case DirectJoined(channel) | DirectLeft(channel):
                moved[channel.id] = channel, event.record.seq
    for channel_id, (channel, seq) in moved.items():
        if origin.knew(channel_stream(channel_id)):
            plan.tell("CHANNEL_DELETE", direct_deleted_of(channel, seq))
        if channel_id in roster.directs.of(user_id):
            local = roster.channels[channel_id]
            plan.tell("CHANNEL_CREATE", direct_of(DirectView(local.channel, local.seq, local.last_message_id), user_id))
    return set(moved)


def _toggled_directs(changes: Sequence[Event]) -> dict[int, int]:
    """Return the direct channels that the user closed or opened again, each with the last event that says so."""
    found: dict[int, int] = {}
    for event in changes:
        match event.record.body:
            case DirectHidden(channel_id) | DirectShown(channel_id):
                found[channel_id] = event.record.seq
    return found


def _place_directs(
    plan: Plan,
    roster: Roster[Any],
    user_id: int,
    origin: Origin,
    told: Mapping[str, int],
    moved: Collection[int],
    toggled: Mapping[int, int],
) -> bool:
    """Place the direct channels, but for those that were told already; False if there may be some that we don't know.

    What was said in a group DM before it turned up here is left to pages; so is what was said in a direct channel
    before the user closed it. Of one that a message showed again `missed_in` tells.
    """
    user = roster.users[user_id]
    direct_ids = roster.directs.of(user_id)
    if len(direct_ids) >= SESSION_DIRECTS:
        return False
    for channel_id in sorted(set(direct_ids) - set(moved)):
        stream = channel_stream(channel_id)
        channel = roster.channels[channel_id]
        after = origin.position_of(stream)
        if user.hides(channel_id, channel.last_message_id):
            if channel_id in toggled and not user.user.bot and (origin.knew(stream) or stream in told):
                plan.tell("CHANNEL_DELETE", hidden_told(user_id, channel, toggled[channel_id]))
            continue
        if after is None and stream in told:
            after = told[stream]
        elif after is None or not origin.knew(stream) or (channel_id in toggled and channel_id not in user.hidden):
            if after is None:
                # As for a session that is there when a direct channel turns up late: see `Directs.put`.
                is_whole = channel.seq <= WHOLE_DIRECT and channel.channel.type is ChannelType.DIRECT
                after = OPENED if is_whole else channel.seq
            view = DirectView(channel.channel, after, 0 if after < channel.seq else channel.last_message_id)
            opened = {"seq": OPENED} if after == OPENED else {}
            if not user.user.bot:  # as in `Directs.open`
                plan.tell("CHANNEL_CREATE", direct_of(view, user_id) | opened)
        plan.read(stream, max(after, told.get(stream, 0)), channel.seq)
    return True


def created_in(events: Sequence[Event]) -> set[int]:
    """Return the channels that come to be in these events."""
    return {event.record.body.channel.id for event in events if isinstance(event.record.body, ChannelCreated)}
