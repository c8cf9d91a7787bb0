"""RPC between services: every call and what it answers.

Ring 1 (core). A call is a tagged struct; `Call.Reply` is the type of its answer. Small and idempotent:
bulk goes by HTTP. Read `shared.rpc` next: how they travel.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from shared.core.model import Channel, Group, LastMessage, Member, Role, User, Webhook
from shared.core.permissions import Permission
from shared.core.revocation import NOTHING_REVOKED, Revocations
from shared.core.stream import Event


class Call(msgspec.Struct, frozen=True, tag_field="call", omit_defaults=True):
    """Base of all calls. `service` says who serves it."""

    service: ClassVar[str]
    Reply: ClassVar[Any]


class DirectView(msgspec.Struct, frozen=True):
    """A direct channel with its head."""

    channel: Channel
    last_seq: int
    last_message_id: int


SESSION_DIRECTS: Final = 100
"""Direct channels of a session, the newest ones; an older one is followed from its next event on."""


class SessionView(msgspec.Struct, frozen=True):
    """What a user's session begins with: complete to `user_seq` of the user's stream.

    `hidden`: direct channels that the user closed, each with the message that was its last one then.
    """

    user: User
    user_seq: int
    memberships: tuple[Member, ...]
    directs: tuple[DirectView, ...]
    revocations: Revocations = NOTHING_REVOKED
    hidden: dict[int, LastMessage] = {}


def is_hidden(upto: LastMessage | None, last_message_id: int) -> bool:
    """Return whether a direct channel with this last message is closed for who closed it at `upto` (None: did not)."""
    return upto is not None and last_message_id <= upto.id


class ChannelView(msgspec.Struct, frozen=True):
    """A group's channel with its head."""

    channel: Channel
    last_seq: int
    last_message_id: int


SMALL_GROUP: Final = 100
"""A group of so many members at most is told with all of them; of a larger one they are asked for page by page."""


class GroupView(msgspec.Struct, frozen=True):
    """A group's body, complete to `seq` of its stream. `members`: all of a small group; of a larger one none.

    `roles`: those that were ever changed or made; see `shared.core.permissions.everyone_of`.
    """

    group: Group
    seq: int
    channels: tuple[ChannelView, ...]
    members: tuple[Member, ...]
    member_count: int
    roles: tuple[Role, ...] = ()


class Access(msgspec.Struct, frozen=True):
    """What a user may do in a channel (bits of `Permission`), under which facts.

    `can_view` False: tell the user "unknown channel" if `channel` is None, else "missing access". `member`: the user as
    the channel's group shows it.
    """

    channel: Channel | None
    user: User | None
    group_seq: int
    permissions: int
    member: Member | None = None
    """The user as a member of the channel's group."""
    lasts: bool = False
    """Whether it is so while the group's head says `group_seq`: not in a direct channel, nor while a timeout runs."""

    @property
    def can_view(self) -> bool:
        """Whether the user may know what is in the channel."""
        return bool(self.permissions & Permission.VIEW_CHANNEL)

    @property
    def can_send(self) -> bool:
        """Whether the user may write to the channel."""
        return bool(self.permissions & Permission.SEND_MESSAGES)


class WebhookView(msgspec.Struct, frozen=True):
    """A webhook, and what it may do in its channel, the webhook standing for the user. None: there is none."""

    webhook: Webhook | None = None
    access: Access | None = None


class Sessions(msgspec.Struct, frozen=True):
    """Sessions of users that there are. `left`: too much for one answer, to be asked for again."""

    views: tuple[SessionView, ...]
    left: tuple[int, ...] = ()


class Groups(msgspec.Struct, frozen=True):
    """Bodies of groups that there are. `left`: too much for one answer, to be asked for again."""

    views: tuple[GroupView, ...]
    left: tuple[int, ...] = ()


class ReadSessions(Call, frozen=True, tag="read_sessions"):
    """Everything a gateway needs at identify, but for the bodies of groups; at most 100 users a call."""

    service = "groups"
    Reply = Sessions
    user_ids: tuple[int, ...]


class ReadGroups(Call, frozen=True, tag="read_groups"):
    """Bodies of groups, at most 20 a call; the heads are read after the call came."""

    service = "groups"
    Reply = Groups
    group_ids: tuple[int, ...]


class ReadAccess(Call, frozen=True, tag="read_access"):
    """What this user, or the webhook with this id, may do in this channel."""

    service = "groups"
    Reply = Access
    channel_id: int
    user_id: int


class ReadWebhook(Call, frozen=True, tag="read_webhook"):
    """A webhook and its channel, for who has shown its token."""

    service = "groups"
    Reply = WebhookView
    webhook_id: int


class Mentionable(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which of the ids that were asked about are there: members of the group, and its roles.

    `open_roles`: those of the roles that anybody may call.
    """

    users: tuple[User, ...] = ()
    roles: tuple[int, ...] = ()
    open_roles: tuple[int, ...] = ()


class ReadMentionable(Call, frozen=True, tag="read_mentionable"):
    """Whom a message in a group can call of these users and roles, at most 100 of each."""

    service = "groups"
    Reply = Mentionable
    group_id: int
    user_ids: tuple[int, ...] = ()
    role_ids: tuple[int, ...] = ()


class MemberPage(msgspec.Struct, frozen=True):
    """Members of a group. `after`: go on above this user id; 0: that is all."""

    members: tuple[Member, ...]
    after: int = 0


class ReadMembers(Call, frozen=True, tag="read_members"):
    """Members of a group above a user id, at most 1,000 and as many as fit into an answer.

    With `user_ids` those of them who are members (at most 100), with `prefix` those whose name begins so (at most 100).
    """

    service = "groups"
    Reply = MemberPage
    group_id: int
    after: int = 0
    limit: int = 1000
    prefix: str = ""
    user_ids: tuple[int, ...] = ()


class ReadRevocations(Call, frozen=True, tag="read_revocations"):
    """Which tokens of a user are void."""

    service = "groups"
    Reply = Revocations
    user_id: int


class EventPage(msgspec.Struct, frozen=True):
    """Events of one stream in seq order, without a gap from `after_seq` on, or from `after` if that is higher.

    `after`: up to this seq the stream holds imported messages, which are no news; `after_id` is the last one's id if
    nothing came behind them yet.
    """

    events: tuple[Event, ...]
    has_more: bool
    after: int = 0
    after_id: int = 0


class Marker(msgspec.Struct, frozen=True, array_like=True):
    """A user has read a channel up to this message."""

    channel_id: int
    message_id: int


MARKERS_TOLD: Final = 200
"""Markers of a user that a session begins with: those at the newest messages."""


class Markers(msgspec.Struct, frozen=True):
    """Markers by user, of those who have any. `left`: too much for one answer, to be asked for again."""

    of: dict[int, tuple[Marker, ...]]
    left: tuple[int, ...] = ()


class ReadMarkers(Call, frozen=True, tag="read_markers"):
    """How far these users, at most 100, have read: the newest `MARKERS_TOLD` markers of each who has any."""

    service = "history"
    Reply = Markers
    user_ids: tuple[int, ...]


class ReadChannelEvents(Call, frozen=True, tag="read_channel_events"):
    """Everything in a channel's stream after a seq, for the repair of a hole. `limit` 1–100."""

    service = "history"
    Reply = EventPage
    channel_id: int
    after_seq: int
    limit: int = 100


class ReadHeads(Call, frozen=True, tag="read_heads"):
    """The last seq of streams that a node follows, at most 1,000 a call; streams without events are left out.

    Of a group's or user's stream the last one that is projected: that far `ReadChanges` tells.
    """

    service = "history"
    Reply = dict[str, int]
    streams: tuple[str, ...]


class ReadChanges(Call, frozen=True, tag="read_changes"):
    """Everything in a group's or user's stream after a seq, for the repair of a hole. `limit` 1–100."""

    service = "groups"
    Reply = EventPage
    stream: str
    after_seq: int
    limit: int = 100


AnyCall = (
    ReadSessions
    | ReadGroups
    | ReadAccess
    | ReadWebhook
    | ReadMembers
    | ReadMentionable
    | ReadRevocations
    | ReadChannelEvents
    | ReadHeads
    | ReadMarkers
    | ReadChanges
)
