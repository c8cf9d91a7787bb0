"""Which faults there were when something broke, and which of them together the promises except.

Core: records in, names out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from tests.chaos.history import FaultBegan, FaultEnded, Record

RESUME_WINDOW_S: Final = 120.0
REFILL_S: Final = 5.0
"""After an outage of Redis nodes need so long to write again all that was there."""
_AFTER_S: Final = 15.0
"""So long after its end a fault may still be felt."""
_NOTICED_S: Final = 5.0
"""A connection may be lost so long after what took the node was over."""
_NEVER: Final = float("inf")
_OUT: Final = frozenset({"kill", "stop", "partition"})
_LINK: Final = frozenset({"cut", "delay", "silence"})
_ENDS: Final = frozenset({"kill", "drain", "restart", "roll"})


class Span(msgspec.Struct):
    """One fault, from its begin until all was as before."""

    number: int
    kind: str
    target: str
    began: float
    ended: float = _NEVER

    def __str__(self) -> str:
        end = f"–{self.ended:.1f}" if self.ended < _NEVER else ""
        return f"{self.kind} {self.target} ({self.began:.1f}{end} s)"

    @property
    def cuts_clients(self) -> bool:
        """Whether sessions of clients lost their connections."""
        if self.target.startswith("gateway"):
            return self.kind in _ENDS
        return (self.kind in _ENDS and self.target == "nginx") or (self.kind == "cut" and self.target == "door")

    @property
    def takes_node(self) -> bool:
        """Whether a gateway, or the way to it, is gone without a chance to give its sessions away."""
        if self.target.startswith("gateway-"):
            return self.kind in _OUT or (self.kind in _LINK and self.target.endswith(".rabbitmq"))
        return self.target == "rabbitmq"

    @property
    def takes_redis(self) -> bool:
        """Whether Redis was away for somebody for longer than a moment, or lost what it had."""
        return self.kind != "cut" and (self.target == "redis" or self.target.endswith(".redis"))


class Timeline:
    """All faults of a run."""

    def __init__(self, records: Iterable[Record]) -> None:
        spans: dict[int, Span] = {}
        for one in records:
            if isinstance(one, FaultBegan):
                spans[one.number] = Span(one.number, one.kind, one.target, one.at)
            elif isinstance(one, FaultEnded):
                spans[one.number].ended = one.at
        self.spans = tuple(spans.values())
        self._nodes = [span for span in self.spans if span.takes_node]
        self._redis = [span for span in self.spans if span.takes_redis]

    def around(self, at: float) -> str:
        """Return the faults that were on, or may still have been felt; else the last one before."""
        begun = [span for span in self.spans if span.began <= at]
        on = [span for span in begun if at <= span.ended + _AFTER_S] or begun[-1:]
        return ", ".join(map(str, on)) or "no fault"

    def is_quiet(self, since: float, until: float) -> bool:
        """Whether no fault was on, or could still be felt, in this time."""
        return not any(span.began <= until and since <= span.ended + _AFTER_S for span in self.spans)

    def deaths(self, since: float, until: float) -> list[Span]:
        """Return the faults that took a gateway or the way to it and were on in this time."""
        return [span for span in self._nodes if span.began <= until and span.ended >= since]

    def double(self, lost_at: float, until: float) -> str | None:
        """Return the name of a loss of a gateway and of Redis that met while a session had no connection."""
        for node in self.deaths(lost_at - _NOTICED_S, until):
            for redis in self._redis:
                if redis.began <= until and redis.ended + REFILL_S >= node.began:
                    return f"{node.kind} {node.target} while Redis was away ({redis.kind} {redis.target})"
        return None
