"""A budget of one connection: how many frames in a period. Pure; `now` is seconds that never go back.

Ring 1 (core). Counts as Discord counts frames. Budgets of users are `shared.core.limits`.
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
