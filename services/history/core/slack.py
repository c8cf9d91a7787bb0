"""Slack's shape of a message, as CI and alerting tools send it: what it is in Discord's.

Ring 1 (core). Only the shape is changed here; lengths and addresses are judged like those of any message
(`shared.core.drafts`, `shared.core.embeds`). After Slack's "Reference: Secondary message attachments". What stands for
nothing here (`channel`, `icon_emoji`, `mrkdwn`, `blocks`) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html import unescape
from typing import Any, Final

import msgspec

from shared.core.errors import InvalidForm
from shared.core.wire.values import Json

_COLORS: Final = {"good": 0x2EB886, "warning": 0xDAA038, "danger": 0xA30200}
_HEX: Final = re.compile(r"#?([0-9a-fA-F]{6})")
_TAG: Final = re.compile(r"<([^<>|\s]+)(?:\|([^<>]*))?>")
_ALL: Final = {"!channel": "@everyone", "!everyone": "@everyone", "!here": "@here"}
_BLANK: Final = "\u200b"
"""What stands where Slack allows a field without a name."""


class Converted(msgspec.Struct, frozen=True):
    """A message in Discord's shape, judged by nobody yet but for its own."""

    content: str
    embeds: list[Json]
    username: str
    avatar_url: str


def converted(given: Mapping[str, Any]) -> Converted:
    """Return Slack's message in Discord's shape. Raises `InvalidForm` for fields of a wrong type."""
    attachments = given.get("attachments")
    if attachments is None:
        attachments = []
    if not isinstance(attachments, list):
        raise InvalidForm({"attachments": [("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")]})
    return Converted(
        _marked(_text(given, "text", "")),
        [_embed_of(one, f"attachments.{place}") for place, one in enumerate(attachments)],
        _text(given, "username", ""),
        _text(given, "icon_url", ""),
    )


def _embed_of(given: object, path: str) -> Json:
    if not isinstance(given, dict):
        raise InvalidForm({path: [("DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")]})
    said = [_marked(_text(given, name, path)) for name in ("pretext", "text")]
    title = _text(given, "title", path)
    embed: Json = {
        "title": _marked(title),
        "url": _text(given, "title_link", path) if title else "",
        "description": "\n".join(filter(None, said)),
        "color": _color_of(given.get("color")),
        "timestamp": _moment_of(given.get("ts")),
        "author": {
            "name": _text(given, "author_name", path),
            "url": _text(given, "author_link", path),
            "icon_url": _text(given, "author_icon", path),
        },
        "footer": {"text": _text(given, "footer", path), "icon_url": _text(given, "footer_icon", path)},
        "image": {"url": _text(given, "image_url", path)},
        "thumbnail": {"url": _text(given, "thumb_url", path)},
        "fields": _fields_of(given.get("fields"), path),
    }
    if not any((title, embed["description"], embed["fields"], embed["author"]["name"], embed["footer"]["text"])):
        embed["description"] = _marked(_text(given, "fallback", path))
    return embed


def _fields_of(given: object, path: str) -> list[Json]:
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise InvalidForm({f"{path}.fields": [("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")]})
    return [
        {
            "name": _marked(_text(one, "title", path)) or _BLANK,
            "value": _marked(_text(one, "value", path)) or _BLANK,
            "inline": one.get("short") is True,
        }
        for one in given
    ]


def _text(given: Mapping[str, Any], name: str, path: str) -> str:
    """Return a text, "" for none; tools send numbers as such."""
    value = given.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidForm(
            {f"{path}.{name}".lstrip("."): [("STRING_TYPE_CONVERT", "Could not interpret the value as string.")]}
        )
    return str(value).strip()


def _marked(text: str) -> str:
    """Return Slack's marks as Discord's: addresses with their names, calls of everybody, escaped letters."""
    return unescape(_TAG.sub(_mark_of, text)) if "<" in text or "&" in text else text


def _mark_of(found: re.Match[str]) -> str:
    target, label = found[1], found[2] or ""
    if target in _ALL:
        return _ALL[target]
    if target.startswith(("!", "#")):  # a date, a team, a channel of Slack's: known by its name only
        return f"#{label}" if label and target.startswith("#") else label
    if target.startswith("@"):
        return found[0]
    return f"[{label}]({target})" if label else target


def _color_of(given: object) -> int | None:
    """Return a color; none for what is no color, as Slack does."""
    if not isinstance(given, str):
        return None
    matched = _HEX.fullmatch(given.strip())
    return int(matched[1], 16) if matched else _COLORS.get(given.strip().lower())


def _moment_of(given: object) -> str | None:
    """Return a time, from Unix seconds in any spelling; none for what is no time."""
    try:
        return datetime.fromtimestamp(float(str(given)), UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None
