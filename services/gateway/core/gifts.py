"""Gifts: sessions that a node gave to others lately, so that it can give them again.

Ring 1 (core). Whoever took one may ask for the rest of it, or die before its client has it. Bounded in number, bytes
and age; the oldest go first. `now` is seconds of a clock that never goes back.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from services.gateway.core.handover import Handed

_GIFT_BYTES: Final = 500
"""What a gift weighs beside what is in it, about."""
_ENTRY_BYTES: Final = 150
"""What a missed frame, or a position, weighs beside its bytes."""


class _Given(NamedTuple):
    told_s: int
    at: float
    size: int
    parts: tuple[Handed, ...]


class Gifts:
    """At most `most` of them and `most_bytes` (but always the newest), none older than `keep_s` when one is added."""

    def __init__(self, most: int, most_bytes: int, keep_s: float) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._keep_s = keep_s
        self._given: OrderedDict[str, _Given] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._given)

    def keep(self, session_id: str, told_s: int, parts: tuple[Handed, ...], now: float) -> None:
        """Keep a session as it was given to a client with this `told_s`, in place of how it was given before."""
        self._forget(session_id)
        self._given[session_id] = given = _Given(told_s, now, _size_of(parts), parts)
        self.size += given.size
        while len(self._given) > 1 and (len(self._given) > self._most or self.size > self._most_bytes):
            self._forget(next(iter(self._given)))
        self.let_go(now)

    def get(self, session_id: str, told_s: int) -> tuple[Handed, ...] | None:
        """Return the parts of a session that was given to a client with this `told_s`; None if it is not here."""
        given = self._given.get(session_id)
        return given.parts if given is not None and given.told_s == told_s else None

    def let_go(self, now: float) -> None:
        """Forget what is too old."""
        while self._given and now - next(iter(self._given.values())).at > self._keep_s:
            self._forget(next(iter(self._given)))

    def _forget(self, session_id: str) -> None:
        if (given := self._given.pop(session_id, None)) is not None:
            self.size -= given.size

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {"given": len(self._given), "given_bytes": self.size}


def _size_of(parts: tuple[Handed, ...]) -> int:
    """Return about how many bytes these keep from being freed: of frames that others keep too, all the same."""
    missed = sum(_ENTRY_BYTES + len(one.d) for part in parts for one in part.missed)
    return _GIFT_BYTES + missed + _ENTRY_BYTES * sum(len(part.positions) for part in parts)
