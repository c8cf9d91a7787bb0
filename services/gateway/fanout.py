"""Fan-out: a dispatch is encoded once, and the same bytes go to every session that may see it.

Ring 4 (shell). `s` is one counter per node, below 2**31. What is sent within one turn of the loop to one connection is
written at once, at the end of the turn.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Collection, Hashable
from typing import Any, Final, Protocol

from services.gateway.core.frames import LAST_S, encode_dispatch

_FIN_TEXT: Final = 0x81


def text_frame(payload: bytes) -> bytes:
    """Return a WebSocket text frame as a server sends it: whole and unmasked (RFC 6455 section 5.2)."""
    length = len(payload)
    if length < 126:
        return bytes((_FIN_TEXT, length)) + payload
    if length < 65536:
        return struct.pack("!BBH", _FIN_TEXT, 126, length) + payload
    return struct.pack("!BBQ", _FIN_TEXT, 127, length) + payload


class Recipient(Hashable, Protocol):
    """What fan-out needs of a connection."""

    def push(self, frame: bytes) -> None:
        """Send a WebSocket frame at the end of this turn of the loop."""

    def flush(self) -> None:
        """Write what was pushed."""


class Fanout:
    """The frame clock of one node, and its writes."""

    def __init__(self) -> None:
        self.s = 0
        self.dispatches = 0
        self.deliveries = 0
        self._dirty: list[Recipient] = []

    def dispatch(self, t: str, d: Any, recipients: Collection[Recipient]) -> None:
        """Send an event to these sessions."""
        self.s += 1
        frame = text_frame(encode_dispatch(t, d, self.s))
        self.dispatches += 1
        self.deliveries += len(recipients)
        for recipient in recipients:
            recipient.push(frame)

    @property
    def is_worn_out(self) -> bool:
        """Whether `s` is near its limit: sessions must identify anew, and the counter begins anew."""
        return self.s >= LAST_S - (1 << 16)

    def rewind(self) -> None:
        """Begin anew; no session may be left."""
        self.s = 0

    def mark(self, recipient: Recipient) -> None:
        """Have a recipient flushed at the end of this turn."""
        if not self._dirty:
            asyncio.get_running_loop().call_soon(self._flush)
        self._dirty.append(recipient)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for recipient in dirty:
            recipient.flush()

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {"s": self.s, "dispatches": self.dispatches, "deliveries": self.deliveries}
