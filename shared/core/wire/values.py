"""What the shapes are made of: ids as decimal strings, times as ISO 8601, JSON as bytes.

Ring 1 (core). Read `users`, `members`, `channels`, `groups` and `messages` next, then `dispatches`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from shared.core.ids import MAX_ID

Json = dict[str, Any]

encode: Final = msgspec.json.Encoder().encode
"""Encode what the functions here return, as UTF-8 JSON bytes. Strings must hold no lone surrogates."""


def id_of(value: object) -> int | None:
    """Return an id as it came in: a decimal string or an integer (libraries send both); None if it is neither."""
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) <= 20):
            return None
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= MAX_ID else None


def iso_of(ms: int) -> str:
    """Return a Unix time in ms as Discord writes it."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
