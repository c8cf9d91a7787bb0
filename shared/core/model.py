"""What the system is about: users, groups, members, channels. Values only.

Ring 1 (core). These travel in events, RPC replies and caches; Discord's wire shapes of them are made
in `wire`. Ids are ints here and decimal strings on the wire; times are Unix ms.
"""

from enum import IntEnum
from typing import Any, Final

import msgspec


class ChannelType(IntEnum):
    """Discord's channel types, as far as we have them."""

    TEXT = 0
    DIRECT = 1
    GROUP_DIRECT = 3
    CATEGORY = 4

    @property
    def is_direct(self) -> bool:
        """Whether it is between users, in no group."""
        return self in _DIRECT


RECIPIENT_ADDED: Final = 1
RECIPIENT_REMOVED: Final = 2
NAME_CHANGED: Final = 4
"""Discord's types of the messages that tell of changes of a group DM."""
MAX_RECIPIENTS: Final = 10
"""Users of a group DM."""
_DIRECT: Final = frozenset({ChannelType.DIRECT, ChannelType.GROUP_DIRECT})


class OverwriteType(IntEnum):
    """Whom an overwrite is about."""

    ROLE = 0
    MEMBER = 1


class User(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person or bot as others see it."""

    id: int
    username: str
    global_name: str | None = None
    avatar: str | None = None
    bot: bool = False


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user inside a group. `roles`: without @everyone's. `muted_until`: the end of a timeout, 0 for none."""

    group_id: int
    user: User
    joined_at: int
    nick: str | None = None
    roles: tuple[int, ...] = ()
    muted_until: int = 0


class Role(msgspec.Struct, frozen=True, omit_defaults=True):
    """What some members of a group may do. The one with the group's own id is @everyone's, at position 0."""

    id: int
    group_id: int
    name: str
    permissions: int = 0
    position: int = 0
    color: int = 0
    hoist: bool = False
    mentionable: bool = False


class Overwrite(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a channel allows and denies a role or a member, beside what roles say. `id`: the role's or the user's."""

    id: int
    type: OverwriteType
    allow: int = 0
    deny: int = 0


class Channel(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stream of messages: in a group (`group_id`), or direct (`recipients`: the users in it).

    `owner_id`, of a group DM: who may remove others; the first of the others once that one left. `as_of`, of a direct
    channel: the seq of the event of its own stream that made it so.

    `parent_id`: the category it stands under, 0 for none. `slow_s`: the pause that a user keeps between two messages.
    `closed`: one of the two in a direct channel blocks the other, or is gone, so nobody may write.
    """

    id: int
    type: ChannelType
    name: str = ""
    group_id: int = 0
    position: int = 0
    topic: str | None = None
    recipients: tuple[User, ...] = ()
    parent_id: int = 0
    slow_s: int = 0
    nsfw: bool = False
    overwrites: tuple[Overwrite, ...] = ()
    closed: bool = False
    owner_id: int = 0
    as_of: int = 0

    def has(self, user_id: int) -> bool:
        """Whether a user is in this direct channel."""
        return any(user.id == user_id for user in self.recipients)


class ChannelMove(msgspec.Struct, frozen=True):
    """Where a channel of a group stands now."""

    id: int
    position: int
    parent_id: int


class Ban(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user who may not be in a group. `by`: the user who decided it."""

    group_id: int
    user: User
    by: int = 0
    reason: str = ""


class Invite(msgspec.Struct, frozen=True, omit_defaults=True):
    """A way into a group, to one of its channels. `max_age_s`, `max_uses`: 0 for no end. `created_at`: Unix ms."""

    code: str
    group_id: int
    channel_id: int
    inviter: User
    created_at: int
    max_age_s: int = 0
    max_uses: int = 0
    uses: int = 0
    temporary: bool = False

    @property
    def expires_at(self) -> int:
        """When its time is over (Unix ms); 0: never."""
        return self.created_at + self.max_age_s * 1000 if self.max_age_s else 0

    def is_good(self, now: int) -> bool:
        """Whether somebody may still come in by it."""
        return not (self.max_age_s and self.expires_at <= now) and not (self.max_uses and self.uses >= self.max_uses)


class LastMessage(msgspec.Struct, frozen=True):
    """The message that was a channel's last one at some moment, and how many there had been; 0 and 0: none."""

    id: int = 0
    ordinal: int = 0


class Activity(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a user does beside talking. `kind` as Discord counts them; `since`: Unix ms."""

    name: str
    kind: int = 0
    state: str | None = None
    url: str | None = None
    since: int = 0


class Presence(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a user is here. `status`: online, idle, dnd, or offline for who is not, or does not want to be seen."""

    status: str = "online"
    activities: tuple[Activity, ...] = ()


ONLINE = Presence()
OFFLINE = Presence("offline")


class ApplicationCommand(msgspec.Struct, frozen=True):
    """What a bot offers people to call. `kind`: 1 by name, 2 of a user, 3 of a message; `version`: new at each change.

    `fields`: all else that its application said of it, as it came, under Discord's names.
    """

    id: int
    version: int
    kind: int
    name: str
    fields: dict[str, Any]


class Webhook(msgspec.Struct, frozen=True, omit_defaults=True):
    """A way for programs to write into a channel, in this name. `creator`: the user who made it, as it looked then.

    Whoever has its token may write; the token is derived from `id` (`shared.auth`) and kept nowhere.
    """

    id: int
    group_id: int
    channel_id: int
    name: str
    creator: User


class Group(msgspec.Struct, frozen=True, omit_defaults=True):
    """What Discord's wire calls a guild.

    `system_channel_id`: the channel that is told of members who join, 0 for none; `system_flags`: Discord's flags of
    what it is not told.
    """

    id: int
    name: str
    owner_id: int
    public: bool = False
    description: str | None = None
    system_channel_id: int = 0
    system_flags: int = 0
