"""Bounds of one connection: how many frames in a period, how long it leaves ours unread.

Ring 1 (core). `now` is seconds of a clock that never goes back. Frames are counted as Discord counts them. Budgets of
users are `shared.core.limits`.
"""

from __future__ import annotations

from typing import Final

UNLIMITED: Final = 0


class Window:
    """Allows `limit` in each period that begins with the first one after the period before; 0: no limit."""

    __slots__ = ("_began", "_count", "limit", "period_s")

    def __init__(self, limit: int, period_s: float) -> None:
        self.limit = limit
        self.period_s = period_s
        self._began = float("-inf")
        self._count = 0

    def take(self, now: float) -> bool:
        """Count one; False if it is over the limit."""
        if now - self._began >= self.period_s:
            self._began = now
            self._count = 0
        self._count += 1
        return self.limit == UNLIMITED or self._count <= self.limit


class Unread:
    """How old what a peer has left unread is; lives as long as there is something."""

    __slots__ = ("_since", "written")

    def __init__(self, now: float) -> None:
        self._since = now
        self.written = 0
        """Bytes written since; whoever writes counts them here."""

    def age(self, size: int, now: float) -> float:
        """Return for how many seconds the oldest of `size` unread bytes has waited at least.

        Reading on is noticed by being asked, so ask every few seconds.
        """
        if size <= self.written:
            self._since, self.written = now, 0
        return now - self._since
