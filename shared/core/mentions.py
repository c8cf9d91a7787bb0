"""Mentions: whom a message calls, parsed once from its content, within what its author allows.

Ring 1 (core). `<@id>` and `<@!id>` call a user, `<@&id>` a role, `@everyone` and `@here` all; what stands in code
(between backticks) calls nobody. `allowed_mentions` follows Discord's rules and errors. Which of the ids are
members, and what the author may call, is asked once when the message is sent: `Mentionable`, `called`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from shared.core.calls import Mentionable
from shared.core.errors import InvalidForm
from shared.core.model import User
from shared.core.wire.values import id_of

MAX_MENTIONS: Final = 100
"""Users, and as many roles, that one message calls; more are not looked at."""
_KINDS: Final = ("roles", "users", "everyone")
_FIELD: Final = "allowed_mentions"
_CODE: Final = r"```.*?```|``.*?``|`[^`]*`"
_FOUND: Final = re.compile(
    _CODE + r"|<@!?(?P<user>[0-9]+)>|<@&(?P<role>[0-9]+)>|(?P<all>@(?:everyone|here)\b)", re.DOTALL
)


class Allowed(msgspec.Struct, frozen=True):
    """What of its mentions a message's author wants to count. `users`, `roles`: only these ids; None: all."""

    users: frozenset[int] | None = None
    roles: frozenset[int] | None = None
    everyone: bool = True
    replied_user: bool = True


EVERYTHING: Final = Allowed()
"""What is allowed where the author says nothing."""


class Mentioned(msgspec.Struct, frozen=True):
    """Whom a content calls, in order of first appearance: ids that nobody has looked up yet."""

    users: tuple[int, ...] = ()
    roles: tuple[int, ...] = ()
    everyone: bool = False


NOBODY: Final = Mentioned()


class Called(msgspec.Struct, frozen=True):
    """Whom a message calls, as it is stored."""

    users: tuple[User, ...] = ()
    roles: tuple[int, ...] = ()
    everyone: bool = False


def mentioned_in(content: str, allowed: Allowed = EVERYTHING) -> Mentioned:
    """Return whom a content calls, each once, without what is not allowed."""
    if "@" not in content:
        return NOBODY
    users: dict[int, None] = {}
    roles: dict[int, None] = {}
    everyone = False
    for found in _FOUND.finditer(content):
        if found["all"]:
            everyone = True
        elif (user := id_of(found["user"])) is not None:
            users[user] = None
        elif (role := id_of(found["role"])) is not None:
            roles[role] = None
    return Mentioned(_within(users, allowed.users), _within(roles, allowed.roles), everyone and allowed.everyone)


def _within(ids: Iterable[int], allowed: frozenset[int] | None) -> tuple[int, ...]:
    kept = [one for one in ids if allowed is None or one in allowed]
    return tuple(kept[:MAX_MENTIONS])


def called(mentioned: Mentioned, there: Mentionable, *, may_call_all: bool) -> Called:
    """Return whom a message really calls. `may_call_all`: its author may call everyone, and any role."""
    roles = there.roles if may_call_all else there.open_roles
    return Called(there.users, roles, mentioned.everyone and may_call_all)


def allowed_of(value: object) -> Allowed | InvalidForm:
    """Judge an `allowed_mentions` (None: nothing was said)."""
    if value is None:
        return EVERYTHING
    if not isinstance(value, dict):
        return _wrong("", "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    parse = value.get("parse") or ()
    if not isinstance(parse, list | tuple):
        return _wrong("parse", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    for place, kind in enumerate(parse):
        if kind not in _KINDS:
            return _wrong(f"parse.{place}", "BASE_TYPE_CHOICES", f"Value must be one of {_KINDS}.")
    if len(set(parse)) < len(parse):
        return _wrong("parse", "SET_TYPE_ALREADY_CONTAINS_VALUE", "The set already contains this value.")
    picked: dict[str, frozenset[int] | None] = {}
    for kind in ("users", "roles"):
        ids = _ids_of(kind, value.get(kind) or ())
        if isinstance(ids, InvalidForm):
            return ids
        if ids and kind in parse:
            text = f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.'
            return _wrong("", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", text)
        picked[kind] = None if kind in parse else ids
    replied = value.get("replied_user") or False
    if not isinstance(replied, bool):
        return _wrong("replied_user", "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")
    return Allowed(picked["users"], picked["roles"], "everyone" in parse, replied)


def _ids_of(kind: str, given: object) -> frozenset[int] | InvalidForm:
    if not isinstance(given, list | tuple):
        return _wrong(kind, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    if len(given) > MAX_MENTIONS:
        return _wrong(kind, "BASE_TYPE_MAX_LENGTH", f"Must be {MAX_MENTIONS} or fewer in length.")
    ids: set[int] = set()
    for place, one in enumerate(given):
        found = id_of(one)
        if found is None:
            return _wrong(f"{kind}.{place}", "NUMBER_TYPE_COERCE", "Value is not a snowflake.")
        ids.add(found)
    return frozenset(ids)


def _wrong(path: str, code: str, message: str) -> InvalidForm:
    return InvalidForm({f"{_FIELD}.{path}".rstrip("."): [(code, message)]})
