"""Limiters: how often something may happen, in all processes or in this one. The seam, and one process's own.

Ring 2. `LocalLimiter` here; `RedisLimiter` (shared/redis_limiter.py) counts for all processes together. Held by
tests/contracts/test_limiter.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from shared.core.limits import Budgets, Spent


class Limiter(Protocol):
    """So many uses per minute and key, all of them at once if nothing was used before."""

    async def spend(self, key: str) -> Spent:
        """Use one; return how long to wait if there was no room, and what is left. Never raises."""


class LocalLimiter:
    """Counts what this process sees. `now` is Unix ms."""

    def __init__(self, per_minute: int, now: Callable[[], int]) -> None:
        self._budgets = Budgets(per_minute / 60, per_minute)
        self._now = now

    async def spend(self, key: str) -> Spent:
        """Use one; return how long to wait if there was no room, and what is left."""
        return self._budgets.use(key, self._now())
