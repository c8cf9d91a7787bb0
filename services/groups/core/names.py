"""Names and passwords: what is accepted, and under which key a name is unique.

Ring 1 (core). Names are kept as typed after NFKC; two names are the same if their keys are: NFKC, case-folded,
without what can't be seen. So nobody can be impersonated by a full-width letter or a zero-width joiner.
Refusals are Discord's "Invalid Form Body" with its codes.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from shared.core.errors import InvalidForm

USERNAME_LENGTH: Final = (2, 32)
GROUP_NAME_LENGTH: Final = (2, 100)
CHANNEL_NAME_LENGTH: Final = (1, 100)
ROLE_NAME_LENGTH: Final = (1, 100)
NICK_LENGTH: Final = (1, 32)
MAX_TOPIC: Final = 1024
PASSWORD_LENGTH: Final = (8, 256)

_RESERVED: Final = frozenset({"everyone", "here"})
_MARKS_IN_USERNAMES: Final = ("@", "#", ":", "```")
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0") | {
    chr(code) for code in range(0xFE00, 0xFE10)
}
"""Letters and marks that leave no trace on the screen, though Unicode does not call them format characters."""
_JOINER: Final = "\u200d"


def key_of_name(name: str) -> str:
    """Return the key of a name: equal for all names that must not stand beside each other. Idempotent."""
    key = name
    for _ in range(2):  # folding can open a letter that normalises anew
        key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", key).casefold())
    return "".join(letter for letter in key if letter not in _INVISIBLE and unicodedata.category(letter) != "Cf")


def username_key(username: str) -> str:
    """Return the claim key of a username."""
    return f"u:{key_of_name(username)}"


def group_name_key(name: str) -> str:
    """Return the claim key of a public group's name."""
    return f"g:{key_of_name(name)}"


def pair_key(one: int, other: int) -> str:
    """Return the claim key of the direct channel between two users: the same from either side."""
    return f"d:{min(one, other)}:{max(one, other)}"


def _require_length(field: str, text: str, bounds: tuple[int, int]) -> None:
    low, high = bounds
    if not low <= len(text) <= high:
        raise InvalidForm({field: [("BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")]})


def _invalid(field: str, code: str, text: str) -> InvalidForm:
    return InvalidForm({field: [(code, text)]})


def _normalize(field: str, name: str, bounds: tuple[int, int]) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise _invalid(field, "BASE_TYPE_INVALID", "Must be valid Unicode.")
    name = unicodedata.normalize("NFKC", name).strip()
    _require_length(field, name, bounds)
    return name


def require_username(username: str, field: str = "username") -> str:
    """Return the username as it is kept. Raises `InvalidForm` for this field."""
    name = _normalize(field, username, USERNAME_LENGTH)
    if not name.isprintable() or any(letter in _INVISIBLE for letter in name):
        raise _invalid(field, "USERNAME_INVALID", "Must only hold characters that can be seen.")
    if unicodedata.combining(name[0]) or "  " in name:
        raise _invalid(field, "USERNAME_INVALID", "Must not begin with a mark or hold two spaces in a row.")
    if any(mark in name for mark in _MARKS_IN_USERNAMES):
        raise _invalid(field, "USERNAME_INVALID_CONTAINS", 'Must not contain "@", "#", ":" or "```".')
    if key_of_name(name) in _RESERVED:
        raise _invalid(field, "USERNAME_INVALID_RESERVED", "This username is reserved.")
    return name


def require_title(field: str, name: str, bounds: tuple[int, int]) -> str:
    """Return a name that may be anything that can be seen. Raises `InvalidForm` for this field."""
    title = _normalize(field, name, bounds)
    if not title.replace(_JOINER, "").isprintable() or not key_of_name(title).strip():
        raise _invalid(field, "BASE_TYPE_INVALID", "Must only hold characters that can be seen.")
    return title


def require_group_name(name: str) -> str:
    """Return the group's name as it is kept. Raises `InvalidForm`."""
    return require_title("name", name, GROUP_NAME_LENGTH)


def require_channel_name(name: str) -> str:
    """Return the channel's name as it is kept. Raises `InvalidForm`."""
    return require_title("name", name, CHANNEL_NAME_LENGTH)


def require_role_name(name: str) -> str:
    """Return the role's name as it is kept. Raises `InvalidForm`."""
    return require_title("name", name, ROLE_NAME_LENGTH)


def require_nick(nick: str | None) -> str | None:
    """Return what a member is called in a group, as it is kept; None and "" for no such name. Raises `InvalidForm`."""
    return require_title("nick", nick, NICK_LENGTH) if nick else None


def require_topic(topic: str | None) -> str | None:
    """Return a channel's topic as it is kept; None and "" for none. Raises `InvalidForm`."""
    if not topic:
        return None
    _require_length("topic", topic, (1, MAX_TOPIC))
    if any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in topic):
        raise _invalid("topic", "BASE_TYPE_INVALID", "Must be valid Unicode, without NUL.")
    return topic


def require_password(password: str, field: str = "password") -> str:
    """Return the password unchanged. Raises `InvalidForm` for this field."""
    _require_length(field, password, PASSWORD_LENGTH)
    if any("\ud800" <= letter <= "\udfff" for letter in password):
        raise _invalid(field, "BASE_TYPE_INVALID", "Must be valid Unicode.")
    return password


def username_taken(field: str = "username") -> InvalidForm:
    """Return the refusal of a username that somebody has."""
    return _invalid(field, "USERNAME_ALREADY_TAKEN", "Username is already taken.")


def group_name_taken() -> InvalidForm:
    """Return the refusal of a public name that another group has."""
    return _invalid("name", "GUILD_NAME_ALREADY_TAKEN", "A public guild has this name already.")


def invalid_login() -> InvalidForm:
    """Return the one refusal of a login, whatever was wrong; Discord puts it on both fields."""
    reason = ("INVALID_LOGIN", "Login or password is invalid.")
    return InvalidForm({"login": [reason], "password": [reason]})


def wrong_password() -> InvalidForm:
    """Return the refusal of a change whose caller does not know the password."""
    return _invalid("password", "PASSWORD_DOES_NOT_MATCH", "Password does not match.")
