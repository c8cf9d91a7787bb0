"""Fan-out: a dispatch is encoded once, and the same bytes go to every session that may see it.

Ring 4 (shell). `s` is one counter per node, below 2**31. When the bytes are written is `flushing`; what is sent goes
into the replay log, too (`core.replay`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from services.gateway.core.frames import LAST_S, encode_dispatch
from services.gateway.core.intents import split
from services.gateway.core.replay import Entry, ReplayLog
from services.gateway.core.websocket import text_frame
from services.gateway.flushing import Flusher
from services.gateway.sessions import Link, LiveSession
from shared.core.wire.values import encode


def _ignore(stream: str, seq: int, s: int) -> None:
    """Do nothing about a dispatch that nobody keeps a trail of."""


class Fanout:
    """The frame clock of one node, its replay log, and its writes. `clock` is seconds that never go back.

    `sent` is told the `s` of each dispatch that tells an event of a stream.
    """

    def __init__(
        self,
        flusher: Flusher,
        log: ReplayLog[LiveSession],
        clock: Callable[[], float],
        sent: Callable[[str, int, int], None] = _ignore,
    ) -> None:
        self.flusher = flusher
        self.log = log
        self.s = 0
        self.dispatches = 0
        self.deliveries = 0
        self._clock = clock
        self._sent = sent

    def dispatch(self, t: str, d: Any, sessions: Collection[LiveSession], stream: str = "", seq: int = 0) -> None:
        """Send an event to those of these sessions that asked for it, and keep it for those without a connection."""
        if stream:
            # Where it is told in two versions, the first one's: nothing is asked between the two.
            self._sent(stream, seq, self.s + 1)
        for told, hearers in split(t, d, sessions):
            self.s += 1
            payload = encode(told)
            self.log.append(Entry(self.s, t, payload, hearers, stream, seq, self._clock()))
            self.dispatches += 1
            self._push(text_frame(encode_dispatch(t, payload, self.s)), hearers)

    def pass_on(self, t: str, d: Any, sessions: Collection[LiveSession]) -> None:
        """Send what is of the moment to those of these that asked for it and have a connection; it is not kept."""
        for told, hearers in split(t, d, sessions):
            self.s += 1
            self.dispatches += 1
            self._push(text_frame(encode_dispatch(t, encode(told), self.s)), hearers)

    def _push(self, frame: bytes, sessions: Collection[LiveSession]) -> None:
        # For each recipient of each message: so without a call beside the appends.
        s = self.s
        marked = self.flusher.marked
        joined = -len(marked)
        for session in sessions:
            session.last_s = s
            link = session.link
            if link is None:
                continue
            pending = link.pending
            if pending is None:
                link.pending = frame
                marked.append(link)
                continue
            joined += 1
            if isinstance(pending, list):
                pending.append(frame)
            else:
                link.pending = [pending, frame]
        self.deliveries += len(marked) + joined
        self.flusher.arm()

    def tell(self, link: Link, t: str, d: Any) -> None:
        """Send a dispatch to one connection only; it is not kept."""
        self.s += 1
        self.dispatches += 1
        self.deliveries += 1
        link.push(text_frame(encode_dispatch(t, encode(d), self.s)))

    def tell_again(self, link: Link, t: str, payload: bytes, s: int) -> None:
        """Send one connection an encoded dispatch under this `s`; the counter stays."""
        self.deliveries += 1
        link.push(text_frame(encode_dispatch(t, payload, s)))

    def raise_to(self, s: int) -> None:
        """Go on from this `s` at least: a session comes from a node whose counter was there."""
        self.s = max(self.s, s)

    @property
    def is_worn_out(self) -> bool:
        """Whether `s` is near its limit: sessions must identify anew, and the counter begins anew."""
        return self.s >= LAST_S - (1 << 20)

    def rewind(self) -> None:
        """Begin anew; no session may be left."""
        self.s = 0
        self.log.clear(0)

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {
            "s": self.s,
            "dispatches": self.dispatches,
            "deliveries": self.deliveries,
            **{f"log_{noun}": count for noun, count in self.log.statistics().items()},
        }
