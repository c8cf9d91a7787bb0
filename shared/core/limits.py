"""Budgets: how often something may happen. Pure; each process has its own.

Ring 1 (core). `Budgets` keeps a bounded table of them by user or address; the least recently used are forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

MAX_KEYS: Final = 10_000


class Budgets:
    """`per_second` uses per key on average, `burst` of them at once."""

    def __init__(self, per_second: float, burst: float, *, most: int = MAX_KEYS) -> None:
        self._per_ms = per_second / 1000
        self._burst = burst
        self._most = most
        self._spent: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def spend(self, key: Hashable, now: int) -> float:
        """Use one; return 0, or the seconds until there is room (then nothing was used). `now` in ms."""
        used, at = self._spent.pop(key, (0.0, now))
        used = max(0.0, used - max(0, now - at) * self._per_ms)
        over = used + 1 - self._burst
        self._spent[key] = (used if over > 0 else used + 1, now)
        if len(self._spent) > self._most:
            self._spent.popitem(last=False)
        return over / self._per_ms / 1000 if over > 0 else 0.0
