"""What a node holds of users, groups and channels: each a body complete to a position in its stream.

Ring 1 (core). Values that `hub` changes; nothing here decides. A *unit* is what is followed, held back and
repaired as one: a user (`u:`), a group with all its channels (`g:`), a direct channel (`c:`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from services.gateway.core.intents import Audience
from shared.core.calls import SMALL_GROUP, is_hidden
from shared.core.model import Channel, Group, LastMessage, Member, Role, User
from shared.core.revocation import NOTHING_REVOKED, Revocations
from shared.core.roles import all_roles, known_only
from shared.core.stream import Event, group_stream
from shared.core.wire.members import encode_members

if TYPE_CHECKING:
    from services.gateway.core.sights import Sights

S = TypeVar("S", bound=Hashable)
"""A session's handle: whatever the shell sends to."""

HELD_EVENTS: Final = 1_000
"""Events held back per unit; above it they are dropped and the unit is read anew."""

HELD_EVENTS_OF_ALL: Final = 50_000
"""Events held back on the node; above it a unit that gets one more drops its own."""


def unit_of(event: Event) -> str:
    """Return the unit that an event belongs to."""
    return group_stream(event.group_id) if event.group_id else event.stream


@dataclass(slots=True)
class Joined:
    """A user is in a group since `group_seq` of its stream, `user_seq` of the user's own (0: before we looked).

    `member` is as of `member_seq` of the group's stream (0: as of the user's body).
    """

    group_seq: int
    member: Member
    user_seq: int = 0
    member_seq: int = 0


@dataclass(slots=True)
class LocalUser(Generic[S]):
    """A user with sessions here, or whose last one went at `idle_since` (seconds)."""

    user: User
    seq: int
    idle_since: float
    revocations: Revocations = NOTHING_REVOKED
    groups: dict[int, Joined] = field(default_factory=dict)
    ahead: dict[int, tuple[bool, int]] = field(default_factory=dict)
    """Groups that the user is in, or out of, as their own streams say (at that seq) and the user's does not say yet."""
    own: set[int] = field(default_factory=set)
    """Groups that the user is in as the user's own stream says."""
    hidden: dict[int, LastMessage] = field(default_factory=dict)
    """Direct channels that the user closed, each with the message that was its last one then."""
    sessions: set[S] = field(default_factory=set)

    def hides(self, channel_id: int, last_message_id: int) -> bool:
        """Whether the user closed a direct channel, and nothing was said there since."""
        return is_hidden(self.hidden.get(channel_id), last_message_id)


@dataclass(slots=True)
class LocalGroup(Generic[S]):
    """A group that a local user is in, or was until `idle_since` (seconds)."""

    group: Group
    seq: int
    member_count: int
    idle_since: float
    roles: dict[int, Role]
    """All roles, @everyone's among them, the highest first."""
    deleted: int = 0
    """The seq of its deletion: nobody comes in any more. 0: it is not deleted."""
    sights: Sights[S] = field(init=False)
    channels: set[int] = field(default_factory=set)
    gone: dict[int, None] = field(default_factory=dict)
    """Channels deleted lately: messages in them may still come."""
    members: dict[int, Member] = field(default_factory=dict)
    """All of a small group; of one that is or was larger since it is followed, some or none."""
    users: set[int] = field(default_factory=set)
    _sessions: set[S] = field(default_factory=set)
    _audience: Audience[S] | None = None
    _encoded: tuple[int, bytes] = (-1, b"")

    def encoded_members(self) -> bytes:
        """Return the members as JSON; they are encoded once for all who are told before the group's next event."""
        if self._encoded[0] != self.seq:
            self._encoded = (self.seq, encode_members(known_only(one, self.roles) for one in self.members.values()))
        return self._encoded[1]

    def admit(self, member: Member) -> None:
        """Take in a new member. One more than a small group has, and the node holds none but its own users."""
        is_whole = len(self.members) == self.member_count
        self.member_count += 1
        if is_whole and self.member_count <= SMALL_GROUP:
            self.members[member.user.id] = member
        elif is_whole:
            self.members.clear()

    @property
    def audience(self) -> Audience[S]:
        """All sessions in the group; the same tuple until one comes or goes, so that many entries can share it."""
        if self._audience is None:
            self._audience = Audience(self._sessions)
        return self._audience

    def let_in(self, sessions: Iterable[S]) -> None:
        """Let sessions take part from now on."""
        self._sessions.update(sessions)
        self._audience = None
        self.sights.stir()

    def let_out(self, sessions: Iterable[S]) -> None:
        """Let sessions take part no more."""
        self._sessions.difference_update(sessions)
        self._audience = None
        self.sights.stir()

    def enter(self, user_id: int) -> None:
        """Take in that a local user is in the group."""
        self.users.add(user_id)
        self.sights.enter(user_id)

    def exit(self, user_id: int) -> None:
        """Take in that a local user is not in the group, or not local, any more."""
        self.users.discard(user_id)
        self.sights.leave(user_id)

    def put_roles(self, roles: Iterable[Role]) -> None:
        """Take in roles as they are now."""
        self.roles = all_roles(self.group.id, (self.roles | {role.id: role for role in roles}).values())

    def drop_role(self, role_id: int) -> None:
        """Take in that a role is gone."""
        self.roles = {one: role for one, role in self.roles.items() if one != role_id}


@dataclass(slots=True)
class LocalChannel:
    """A channel and the head of its stream."""

    channel: Channel
    seq: int
    last_message_id: int

    @property
    def recipients(self) -> tuple[int, ...]:
        """The users of a direct channel."""
        return tuple(user.id for user in self.channel.recipients)


class Tracking(Protocol):
    """Who keeps how far the followed streams are, for the node that goes on when this one dies."""

    def begin(self, stream: str, seq: int) -> None:
        """Take in that a stream is followed from this position on."""

    def note(self, stream: str, seq: int) -> None:
        """Take in that this event was applied, and is told in the same step."""

    def hold(self, stream: str, seq: int) -> None:
        """Take in that this event was applied, but is told in a later step: until then the stream stands before it."""

    def release(self, stream: str, seq: int) -> None:
        """Take in that an event that was held is told in this step, or need not be told."""

    def end(self, stream: str) -> None:
        """Take in that a stream is followed no more."""


class Untracked:
    """A `Tracking` for nodes whose sessions nobody takes over."""

    def begin(self, stream: str, seq: int) -> None:
        """Do nothing."""

    def note(self, stream: str, seq: int) -> None:
        """Do nothing."""

    def hold(self, stream: str, seq: int) -> None:
        """Do nothing."""

    def release(self, stream: str, seq: int) -> None:
        """Do nothing."""

    def end(self, stream: str) -> None:
        """Do nothing."""


class Held:
    """Events of units that wait until their unit is read."""

    __slots__ = ("_count", "_events", "_stale")

    def __init__(self) -> None:
        self._events: dict[str, list[Event]] = {}
        self._stale: set[str] = set()
        self._count = 0

    def __contains__(self, unit: object) -> bool:
        return unit in self._events

    def __len__(self) -> int:
        return len(self._events)

    def begin(self, unit: str) -> bool:
        """Hold a unit back from now on; False if it is held back already."""
        if unit in self._events:
            return False
        self._events[unit] = []
        return True

    def keep(self, unit: str, event: Event) -> None:
        """Keep an event of a unit that is held back."""
        events = self._events[unit]
        if len(events) >= HELD_EVENTS or self._count >= HELD_EVENTS_OF_ALL:
            self._count -= len(events)
            events.clear()
            self._stale.add(unit)
        events.append(event)
        self._count += 1

    def events(self, unit: str) -> tuple[Event, ...]:
        """Return what is held back of a unit."""
        return tuple(self._events.get(unit, ()))

    def end(self, unit: str) -> tuple[list[Event], bool]:
        """Return what was held back of a unit, and whether some of it was dropped; it is held back no more."""
        events = self._events.pop(unit, [])
        is_stale = unit in self._stale
        self._stale.discard(unit)
        self._count -= len(events)
        return events, is_stale
