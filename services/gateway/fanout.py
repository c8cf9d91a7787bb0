"""Fan-out: a dispatch is encoded once, and the same bytes go to every session that may see it.

Ring 4 (shell). `s` is one counter per node, below 2**31. When the bytes are written is `flushing`.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any, Protocol

from services.gateway.core.frames import LAST_S, encode_dispatch
from services.gateway.core.websocket import text_frame
from services.gateway.flushing import Flusher


class Recipient(Hashable, Protocol):
    """What fan-out needs of a connection."""

    def push(self, frame: bytes) -> None:
        """Send a WebSocket frame, together with what else is sent until its turn comes (`flushing`)."""


class Fanout:
    """The frame clock of one node, and its writes."""

    def __init__(self, flusher: Flusher) -> None:
        self.flusher = flusher
        self.s = 0
        self.dispatches = 0
        self.deliveries = 0

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

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {"s": self.s, "dispatches": self.dispatches, "deliveries": self.deliveries}
