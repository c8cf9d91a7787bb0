"""Budgets: how often something may happen. Pure; each process has its own.

Ring 1 (core). `Budgets` keeps a bounded table of them by user or address; the least recently used are forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, NamedTuple

MAX_KEYS: Final = 10_000


class Spent(NamedTuple):
    """What came of using a budget once. `wait_s`: 0, or the seconds until there is room; then nothing was used.

    Of `limit` uses at once `remaining` are left; all of them in `reset_s` seconds.
    """

    wait_s: float
    limit: int
    remaining: int
    reset_s: float


class Budgets:
    """`per_second` uses per key on average, `burst` of them at once."""

    def __init__(self, per_second: float, burst: float, *, most: int = MAX_KEYS) -> None:
        self._per_ms = per_second / 1000
        self._burst = burst
        self._most = most
        self._spent: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def spend(self, key: Hashable, now: int) -> float:
        """Use one; return 0, or the seconds until there is room (then nothing was used). `now` in ms."""
        return self.use(key, now).wait_s

    def use(self, key: Hashable, now: int) -> Spent:
        """Use one; return also what is left. `now` in ms."""
        used, at = self._spent.pop(key, (0.0, now))
        used = max(0.0, used - max(0, now - at) * self._per_ms)
        over = used + 1 - self._burst
        used = used if over > 0 else used + 1
        self._spent[key] = (used, now)
        if len(self._spent) > self._most:
            self._spent.popitem(last=False)
        wait_s = over / self._per_ms / 1000 if over > 0 else 0.0
        # A part of a use is none: floor, but for what counting in binary fractions leaves.
        return Spent(wait_s, int(self._burst), int(self._burst - used + 1e-9), used / self._per_ms / 1000)
