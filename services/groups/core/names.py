"""Names and passwords: what is accepted, and under which key a name is unique.

Ring 1 (core). What is true of all names: `shared.core.titles`. Refusals are "Invalid Form Body" with Discord's codes.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from shared.core.errors import InvalidForm
from shared.core.titles import INVISIBLE, invalid, key_of_name, normalized, require_length, require_title

USERNAME_LENGTH: Final = (2, 32)
GROUP_NAME_LENGTH: Final = (2, 100)
CHANNEL_NAME_LENGTH: Final = (1, 100)
ROLE_NAME_LENGTH: Final = (1, 100)
NICK_LENGTH: Final = (1, 32)
MAX_TOPIC: Final = 1024
MAX_DESCRIPTION: Final = 300
PASSWORD_LENGTH: Final = (8, 256)

_LONGEST_QUERY: Final = 64
_RESERVED: Final = frozenset({"everyone", "here"})
_MARKS_IN_USERNAMES: Final = ("@", "#", ":", "```")


def username_key(username: str) -> str:
    """Return the claim key of a username."""
    return f"u:{key_of_name(username)}"


def group_name_key(name: str) -> str:
    """Return the claim key of a public group's name."""
    return f"g:{key_of_name(name)}"


def pair_key(one: int, other: int) -> str:
    """Return the claim key of the direct channel between two users: the same from either side."""
    return f"d:{min(one, other)}:{max(one, other)}"


def require_username(username: str, field: str = "username") -> str:
    """Return the username as it is kept. Raises `InvalidForm` for this field."""
    name = normalized(field, username, USERNAME_LENGTH)
    if not name.isprintable() or any(letter in INVISIBLE for letter in name):
        raise invalid(field, "USERNAME_INVALID", "Must only hold characters that can be seen.")
    if unicodedata.combining(name[0]) or "  " in name:
        raise invalid(field, "USERNAME_INVALID", "Must not begin with a mark or hold two spaces in a row.")
    if any(mark in name for mark in _MARKS_IN_USERNAMES):
        raise invalid(field, "USERNAME_INVALID_CONTAINS", 'Must not contain "@", "#", ":" or "```".')
    if key_of_name(name) in _RESERVED:
        raise invalid(field, "USERNAME_INVALID_RESERVED", "This username is reserved.")
    return name


def require_prefix(query: str) -> str:
    """Return the begin of a name that is looked for, as a key. Raises `InvalidForm` where nothing can be seen of it."""
    prefix = key_of_name(query).strip()
    if not prefix or len(prefix) > _LONGEST_QUERY:
        raise invalid("query", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {_LONGEST_QUERY} in length.")
    return prefix


def require_group_name(name: str) -> str:
    """Return the group's name as it is kept. Raises `InvalidForm`."""
    return require_title("name", name, GROUP_NAME_LENGTH)


def require_channel_name(name: str) -> str:
    """Return the channel's name as it is kept. Raises `InvalidForm`."""
    return require_title("name", name, CHANNEL_NAME_LENGTH)


def require_direct_name(name: str | None) -> str:
    """Return the name of a group DM as it is kept; None and "" for none. Raises `InvalidForm`."""
    return require_title("name", name, CHANNEL_NAME_LENGTH) if name else ""


def require_role_name(name: str) -> str:
    """Return the role's name as it is kept. Raises `InvalidForm`."""
    return require_title("name", name, ROLE_NAME_LENGTH)


def require_nick(nick: str | None) -> str | None:
    """Return what a member is called in a group, as it is kept; None and "" for no such name. Raises `InvalidForm`."""
    return require_title("nick", nick, NICK_LENGTH) if nick else None


def require_topic(topic: str | None) -> str | None:
    """Return a channel's topic as it is kept; None and "" for none. Raises `InvalidForm`."""
    return _require_text("topic", topic, MAX_TOPIC)


def require_description(description: str | None) -> str | None:
    """Return what a group says of itself, as it is kept; None and "" for nothing. Raises `InvalidForm`."""
    return _require_text("description", description, MAX_DESCRIPTION)


def _require_text(field: str, text: str | None, longest: int) -> str | None:
    if not text:
        return None
    require_length(field, text, (1, longest))
    if any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in text):
        raise invalid(field, "BASE_TYPE_INVALID", "Must be valid Unicode, without NUL.")
    return text


def require_password(password: str, field: str = "password") -> str:
    """Return the password unchanged. Raises `InvalidForm` for this field."""
    require_length(field, password, PASSWORD_LENGTH)
    if any("\ud800" <= letter <= "\udfff" for letter in password):
        raise invalid(field, "BASE_TYPE_INVALID", "Must be valid Unicode.")
    return password


def username_taken(field: str = "username") -> InvalidForm:
    """Return the refusal of a username that somebody has."""
    return invalid(field, "USERNAME_ALREADY_TAKEN", "Username is already taken.")


def group_name_taken() -> InvalidForm:
    """Return the refusal of a public name that another group has."""
    return invalid("name", "GUILD_NAME_ALREADY_TAKEN", "A public guild has this name already.")


def invalid_login() -> InvalidForm:
    """Return the one refusal of a login, whatever was wrong; Discord puts it on both fields."""
    reason = ("INVALID_LOGIN", "Login or password is invalid.")
    return InvalidForm({"login": [reason], "password": [reason]})


def wrong_password() -> InvalidForm:
    """Return the refusal of a change whose caller does not know the password."""
    return invalid("password", "PASSWORD_DOES_NOT_MATCH", "Password does not match.")
