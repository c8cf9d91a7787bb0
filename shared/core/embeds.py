"""Embeds: the rich part of a message, judged by Discord's limits and kept as it came, without what nobody knows.

Ring 1 (core). Limits and names of fields are those of Discord's developer documentation ("Embed Object", "Embed
Limits"). Stored as plain values under known keys only, so that no client can smuggle anything into a document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from shared.core.errors import InvalidForm

Json = dict[str, Any]

MAX_EMBEDS: Final = 10
MAX_FIELDS: Final = 25
MAX_TEXT: Final = 6_000
"""Characters in all titles, descriptions, fields, footers and names of authors of a message's embeds together."""
MAX_URL: Final = 2_048
MAX_BYTES: Final = 32 * 1024
"""Of all embeds of a message, encoded: addresses are not counted as text, and fifty of them are large."""
_MAX_COLOR: Final = 0xFFFFFF
_NAME: Final = "embeds"
_SCHEMES: Final = ("http", "https")

Leaf = Callable[[Any], Any]
Wrong = dict[str, list[tuple[str, str]]]
"""By dotted path, (code, message) pairs."""


class _Bad(Exception):
    """A value that its field can't have: code and message."""


def _text(most: int) -> Leaf:
    """Take text of at most so many characters, without space around it."""

    def take(value: Any) -> str | None:
        if not isinstance(value, str):
            raise _Bad("STRING_TYPE_CONVERT", "Could not interpret the value as string.")
        text = value.strip()
        if len(text) > most:
            raise _Bad("BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")
        return text or None

    return take


def _url(value: Any) -> str | None:
    """Take an address of the web."""
    if value == "":
        return None
    try:
        parts = urlsplit(value) if isinstance(value, str) and len(value) <= MAX_URL else None
    except ValueError:
        parts = None
    if parts is None or any(one.isspace() for one in value):
        raise _Bad("URL_TYPE_INVALID_URL", "Not a well formed URL.")
    if parts.scheme.lower() not in _SCHEMES:
        raise _Bad("URL_TYPE_INVALID_SCHEME", f"Scheme must be one of {_SCHEMES}.")
    if not parts.netloc:
        raise _Bad("URL_TYPE_INVALID_URL", "Not a well formed URL.")
    return str(value)


def require_address(value: str, field: str) -> str:
    """Return an address of the web as it came. Raises `InvalidForm` for this field."""
    try:
        return _url(value) or ""
    except _Bad as bad:
        raise InvalidForm({field: [(str(bad.args[0]), str(bad.args[1]))]}) from bad


def _color(value: Any) -> int:
    """Take a color, red in the highest of three bytes."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Bad("NUMBER_TYPE_COERCE", "The value is not a whole number.")
    if not 0 <= value <= _MAX_COLOR:
        raise _Bad("NUMBER_TYPE_MAX", f"int value should be between 0 and {_MAX_COLOR}.")
    return value


def _moment(value: Any) -> str:
    """Take a time in ISO 8601; without a zone it is of UTC."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise _Bad("DATE_TIME_TYPE_PARSE", "Could not parse the value. Should be ISO8601.") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Bad("BOOLEAN_TYPE_CONVERT", "Must be either true or false.")
    return value


_FIELDS: Final = "fields"
_FIELD_SHAPE: Final[Mapping[str, Leaf]] = {"name": _text(256), "value": _text(1_024), "inline": _flag}
_SHAPE: Final[Mapping[str, Leaf | Mapping[str, Leaf]]] = {
    "title": _text(256),
    "description": _text(4_096),
    "url": _url,
    "timestamp": _moment,
    "color": _color,
    "footer": {"text": _text(2_048), "icon_url": _url},
    "image": {"url": _url},
    "thumbnail": {"url": _url},
    "author": {"name": _text(256), "url": _url, "icon_url": _url},
}
_UNSEEN: Final = {"url", "color"}
"""An embed of these alone shows nothing."""


def embeds_of(value: object) -> tuple[Json, ...] | InvalidForm:
    """Judge the `embeds` of a message; those that would show nothing are left out."""
    if value is None:
        return ()
    wrong: Wrong = {}
    made = [
        _embed_of(one, f"{_NAME}.{place}", wrong) for place, one in enumerate(_list_of(value, MAX_EMBEDS, _NAME, wrong))
    ]
    if wrong:
        return InvalidForm(wrong)
    shown = tuple(one for one in made if one is not None)
    if sum(_characters_of(one) for one in shown) > MAX_TEXT:
        return InvalidForm({_NAME: [("MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {MAX_TEXT}")]})
    if len(msgspec.msgpack.encode(shown)) > MAX_BYTES:
        return InvalidForm({_NAME: [("MAX_EMBED_SIZE_EXCEEDED", f"Embeds must take {MAX_BYTES} bytes or fewer.")]})
    return shown


def _embed_of(value: object, path: str, wrong: Wrong) -> Json | None:
    """Return one embed; None if nothing can be seen of it."""
    made = _taken(value, _SHAPE, path, wrong)
    if isinstance(value, dict) and value.get(_FIELDS) is not None:
        its_path = f"{path}.{_FIELDS}"
        given = _list_of(value[_FIELDS], MAX_FIELDS, its_path, wrong)
        if fields := [_field_of(one, f"{its_path}.{place}", wrong) for place, one in enumerate(given)]:
            made[_FIELDS] = fields
    return {"type": "rich", **made} if made.keys() - _UNSEEN else None


def _field_of(value: object, path: str, wrong: Wrong) -> Json:
    made = _taken(value, _FIELD_SHAPE, path, wrong)
    for name in ("name", "value"):
        if name not in made:
            wrong.setdefault(f"{path}.{name}", [("BASE_TYPE_REQUIRED", "This field is required")])
    return {"inline": False, **made}


def _taken(value: object, shape: Mapping[str, Any], path: str, wrong: Wrong) -> Json:
    """Take the known fields out of an object, without those that are null or empty."""
    if not isinstance(value, dict):
        wrong[path] = [("DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")]
        return {}
    made: Json = {}
    for name, kind in shape.items():
        if (given := value.get(name)) is None:
            continue
        its_path = f"{path}.{name}"
        try:
            taken = kind(given) if callable(kind) else _taken(given, kind, its_path, wrong) or None
        except _Bad as bad:
            wrong[its_path] = [(str(bad.args[0]), str(bad.args[1]))]
        else:
            if taken is not None:
                made[name] = taken
    return made


def _list_of(value: object, most: int, path: str, wrong: Wrong) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        wrong[path] = [("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")]
        return ()
    if len(value) > most:
        wrong[path] = [("BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")]
        return ()
    return value


def _characters_of(embed: Json) -> int:
    """Return how much text Discord's limit counts."""
    texts = [embed.get("title"), embed.get("description")]
    texts += [embed.get("footer", {}).get("text"), embed.get("author", {}).get("name")]
    texts += [field[name] for field in embed.get(_FIELDS, ()) for name in ("name", "value")]
    return sum(len(text) for text in texts if text is not None)
