"""Budgets: how often something may happen. Pure; `now` is seconds of a clock that never goes back.

Ring 1 (core). `TokenBucket` says when to come again (op 100), `Window` counts as Discord counts frames.
"""

from __future__ import annotations

from typing import Final

UNLIMITED: Final = 0


class TokenBucket:
    """Allows `rate` per second on average and `burst` at once. Full at first."""

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = 0.0

    def take(self, now: float) -> float:
        """Take one; return 0.0, or in how many seconds there will be one (nothing is taken then)."""
        self._tokens = min(self.burst, self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self.rate


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
