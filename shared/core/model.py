"""What the system is about: users, groups, members, channels. Values only.

Ring 1 (core). These travel in events, RPC replies and caches; Discord's wire shapes of them are made
in `wire`. Ids are ints here and decimal strings on the wire; times are Unix ms.
"""

from enum import IntEnum

import msgspec


class ChannelType(IntEnum):
    """Discord's channel types, as far as we have them."""

    TEXT = 0
    DIRECT = 1


class User(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person or bot as others see it."""

    id: int
    username: str
    global_name: str | None = None
    avatar: str | None = None
    bot: bool = False


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user inside a group."""

    group_id: int
    user: User
    joined_at: int
    nick: str | None = None
    roles: tuple[int, ...] = ()


class Channel(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stream of messages: in a group (`group_id`), or direct (`recipients`: the users in it)."""

    id: int
    type: ChannelType
    name: str = ""
    group_id: int = 0
    position: int = 0
    topic: str | None = None
    recipients: tuple[User, ...] = ()


class Group(msgspec.Struct, frozen=True, omit_defaults=True):
    """What Discord's wire calls a guild."""

    id: int
    name: str
    owner_id: int
    public: bool = False
