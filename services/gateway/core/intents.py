"""Intents and shards: which dispatches a session asked for, and how much of a message it is told.

Ring 1 (core). Numbers and meaning are Discord's: a session without an intent hears nothing of that kind; without
`MESSAGE_CONTENT` messages of others come without what they say, unless they are direct or mention its user; and of n
shards each hears its own groups, the first one direct channels, too. What only the session's user is told is for all.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from enum import IntFlag
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from shared.core.wire.values import Json, encode


class Intent(IntFlag):
    """Discord's gateway intents, as far as there is anything to hear of."""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_MODERATION = 1 << 2
    GUILD_WEBHOOKS = 1 << 5
    GUILD_INVITES = 1 << 6
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    GUILD_MESSAGE_TYPING = 1 << 11
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    DIRECT_MESSAGE_TYPING = 1 << 14
    MESSAGE_CONTENT = 1 << 15


ALL_INTENTS: Final = (1 << 32) - 1
"""What a session has that names none: also those to come."""

MOST_SHARDS: Final = 10_000

IN_GROUPS: Final[Mapping[str, Intent]] = {
    **dict.fromkeys(("GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"), Intent.GUILDS),
    **dict.fromkeys(("GUILD_ROLE_CREATE", "GUILD_ROLE_UPDATE", "GUILD_ROLE_DELETE"), Intent.GUILDS),
    **dict.fromkeys(("CHANNEL_CREATE", "CHANNEL_UPDATE", "CHANNEL_DELETE", "CHANNEL_PINS_UPDATE"), Intent.GUILDS),
    **dict.fromkeys(("GUILD_MEMBER_ADD", "GUILD_MEMBER_UPDATE", "GUILD_MEMBER_REMOVE"), Intent.GUILD_MEMBERS),
    **dict.fromkeys(("GUILD_BAN_ADD", "GUILD_BAN_REMOVE", "GUILD_AUDIT_LOG_ENTRY_CREATE"), Intent.GUILD_MODERATION),
    "WEBHOOKS_UPDATE": Intent.GUILD_WEBHOOKS,
    **dict.fromkeys(("INVITE_CREATE", "INVITE_DELETE"), Intent.GUILD_INVITES),
    "PRESENCE_UPDATE": Intent.GUILD_PRESENCES,
    **dict.fromkeys(
        ("MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE", "MESSAGE_DELETE_BULK"), Intent.GUILD_MESSAGES
    ),
    **dict.fromkeys(
        (
            "MESSAGE_REACTION_ADD",
            "MESSAGE_REACTION_REMOVE",
            "MESSAGE_REACTION_REMOVE_ALL",
            "MESSAGE_REACTION_REMOVE_EMOJI",
        ),
        Intent.GUILD_MESSAGE_REACTIONS,
    ),
    "TYPING_START": Intent.GUILD_MESSAGE_TYPING,
}
"""Which intent each dispatch about a group needs; what is not here needs none."""

_DIRECTLY: Final[Mapping[Intent, Intent]] = {
    Intent.GUILD_MESSAGES: Intent.DIRECT_MESSAGES,
    Intent.GUILD_MESSAGE_REACTIONS: Intent.DIRECT_MESSAGE_REACTIONS,
    Intent.GUILD_MESSAGE_TYPING: Intent.DIRECT_MESSAGE_TYPING,
}
DIRECT: Final[Mapping[str, Intent]] = {
    **{t: _DIRECTLY[intent] for t, intent in IN_GROUPS.items() if intent in _DIRECTLY},
    "CHANNEL_PINS_UPDATE": Intent.DIRECT_MESSAGES,
}
"""The same of what is about a direct channel."""

_OF_FIRST_SHARD: Final = frozenset(
    {
        *DIRECT,
        *("CHANNEL_CREATE", "CHANNEL_UPDATE", "CHANNEL_DELETE"),
        *("CHANNEL_RECIPIENT_ADD", "CHANNEL_RECIPIENT_REMOVE"),
    }
)
_OWN_ALWAYS: Final = "GUILD_MEMBER_UPDATE"
"""A session hears of its own user's membership without the intent, as at Discord."""
_NAMED_BY_ID: Final = frozenset({"GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"})
_FOR_ALL_OF_IT: Final[Mapping[str, Intent]] = {
    "MESSAGE_CREATE": Intent.MESSAGE_CONTENT,
    "MESSAGE_UPDATE": Intent.MESSAGE_CONTENT,
    "GUILD_CREATE": Intent.GUILD_PRESENCES,
}
"""Without these some of a dispatch about a group is held back."""
_WITHOUT: Final[Json] = {"content": "", "embeds": [], "attachments": [], "components": []}


class Scope(msgspec.Struct, frozen=True, array_like=True):
    """What a session asked for when it began."""

    intents: int = ALL_INTENTS
    shard: int = 0
    shards: int = 1

    def takes_group(self, group_id: int) -> bool:
        """Whether a group is of this shard."""
        return (group_id >> 22) % self.shards == self.shard

    def takes_directs(self) -> bool:
        """Whether direct channels are of this shard."""
        return self.shard == 0

    def encoded(self) -> bytes:
        """Return it as it is kept for other nodes; nothing for all that there is."""
        return b"" if self == WHOLE else _encode(self)


WHOLE: Final = Scope()
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Scope).decode


def is_shard(shard: int, shards: int) -> bool:
    """Whether these are a shard and a number of shards."""
    return 0 <= shard < shards <= MOST_SHARDS


def scope_of(intents: int | None, shard: tuple[int, int] | None) -> Scope:
    """Return what an IDENTIFY asks for; bits that nobody knows are ignored. The shard is a valid one."""
    given = ALL_INTENTS if intents is None else intents & ALL_INTENTS
    scope = Scope(given, *(shard or (0, 1)))
    return WHOLE if scope == WHOLE else scope


def decode_scope(encoded: bytes) -> Scope | None:
    """Return a scope as `encoded` made it; None for what a later release has put there."""
    try:
        return _decode(encoded) if encoded else WHOLE
    except msgspec.MsgspecError:
        return None


class Hearer(Hashable, Protocol):
    """A session, as far as it matters here."""

    @property
    def scope(self) -> Scope:
        """What it asked for."""

    @property
    def user_id(self) -> int:
        """Whose it is."""


H = TypeVar("H", bound=Hearer)
S = TypeVar("S", bound=Hashable)
_Part = tuple[Collection[S], Collection[S]]
_EVERYWHERE: Final = -1


class Audience(tuple[S, ...], Generic[S]):
    """Sessions that may hear something, and, once it was asked, who of them asked for what kind of dispatch.

    It lives as long as nobody comes or goes, and so does what is known of it: nothing is judged for each message.
    """

    def __init__(self, _: Iterable[S] = ()) -> None:
        self.parts: dict[tuple[int, int, int], _Part[S]] = {}


def group_of(t: str, d: Mapping[str, Any]) -> int:
    """Return the group that a dispatch is about, 0 for none."""
    return int(d["id"] if t in _NAMED_BY_ID else d.get("guild_id", 0))


def split(t: str, d: Json, sessions: Collection[H]) -> Iterator[tuple[Json, Collection[H]]]:
    """Yield what is told to whom of a dispatch: at most a whole payload, and one with less.

    That is a message without what it says, or a group without who is there.

    Where all hear all, those are the very sessions that were given.
    """
    group_id = group_of(t, d)
    needed = (IN_GROUPS if group_id else DIRECT).get(t, 0)
    place = group_id if group_id or t in _OF_FIRST_SHARD else _EVERYWHERE
    key = place, int(needed), int(_FOR_ALL_OF_IT.get(t, 0)) if group_id else 0
    if isinstance(sessions, Audience):
        if (part := sessions.parts.get(key)) is None:
            part = sessions.parts[key] = _part_of(sessions, *key)
    else:
        part = _part_of(sessions, *key)
    hearing, blind = part
    if t == _OWN_ALWAYS and len(hearing) < len(sessions):
        hearing = _with_own(hearing, sessions, int(d["user"]["id"]), group_id)
    if blind and t != "GUILD_CREATE":
        meant = _meant_by(d)
        if seeing := [one for one in blind if one.user_id in meant]:
            hearing = (*hearing, *seeing)
            blind = tuple(one for one in blind if one.user_id not in meant)
    if hearing:
        yield d, hearing
    if blind:
        yield d | {"presences": []} if t == "GUILD_CREATE" else without_content(d), blind


def heard(scope: Scope, user_id: int, t: str, d: Json) -> Json | None:
    """Return what one session is told of a dispatch; None if it did not ask for it."""
    told = split(t, d, (_One(scope, user_id),))
    return next((payload for payload, _ in told), None)


def heard_encoded(scope: Scope, user_id: int, t: str, payload: bytes) -> bytes | None:
    """Return the same of an encoded payload."""
    if scope is WHOLE:
        return payload
    told = heard(scope, user_id, t, msgspec.json.decode(payload))
    return encode(told) if told is not None else None


def without_content(message: Json) -> Json:
    """Return a message without what it says, and without what is said in the message it replies to."""
    bare = message | _WITHOUT
    if isinstance(replied := message.get("referenced_message"), dict):
        bare["referenced_message"] = replied | _WITHOUT
    return bare


class _One(msgspec.Struct, frozen=True):
    """A session that is not here yet."""

    scope: Scope
    user_id: int


def _part_of(sessions: Collection[H], place: int, needed: int, for_all_of_it: int) -> _Part[H]:
    """Return who hears all of it, and who hears it without what needs one intent more.

    `place`: the group that it is about, 0 for a direct channel.
    """
    if all(one.scope is WHOLE for one in sessions):
        return sessions, ()
    hearing: list[H] = []
    blind: list[H] = []
    for one in sessions:
        scope = one.scope
        is_ours = scope.takes_group(place) if place > 0 else place == _EVERYWHERE or scope.takes_directs()
        if is_ours and (not needed or scope.intents & needed):
            sees = not for_all_of_it or scope.intents & for_all_of_it
            (hearing if sees else blind).append(one)
    return sessions if len(hearing) == len(sessions) else tuple(hearing), tuple(blind)


def _with_own(hearing: Collection[H], sessions: Collection[H], user_id: int, group_id: int) -> Collection[H]:
    own = [one for one in sessions if one.user_id == user_id and one.scope.takes_group(group_id)]
    return tuple(dict.fromkeys((*hearing, *own)))


def _meant_by(message: Json) -> frozenset[int]:
    """Return the users who are told what a message says whatever they asked for: who wrote it, whom it mentions."""
    return frozenset({int(message["author"]["id"]), *(int(one["id"]) for one in message["mentions"])})
