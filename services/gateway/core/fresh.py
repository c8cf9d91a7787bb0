"""Fresh: what a node began to follow a moment ago, until it was compared with the heads once more.

Ring 1 (core). On a cluster of brokers a binding may become visible a little after it was confirmed; what was published
between is missed without a hole. Where the bus says that none does, nothing is fresh: heads are read after the confirm,
and raised before the publish (rule 3 of docs/rules.md), so that they have what came too early for the binding. Who asks
is `services.gateway.comparing`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MAX_FRESH: Final = 20_000
"""Units remembered one by one; above it everything that is followed counts as fresh."""


class Fresh:
    """Units by the time of their binding: seconds of a clock that never goes back.

    `are_late`: whether what is bound at this moment may become visible after its confirm; else nothing is remembered.
    """

    def __init__(self, are_late: Callable[[], bool], limit: int = MAX_FRESH) -> None:
        self._are_late = are_late
        self._limit = limit
        self._units: dict[str, float] = {}
        self._all_since: float | None = None

    def __len__(self) -> int:
        return len(self._units)

    def add(self, unit: str, now: float) -> None:
        """Remember a unit."""
        if not self._are_late():
            return
        self._units.pop(unit, None)
        self._units[unit] = now
        if len(self._units) > self._limit:
            self.add_all(now)

    def add_all(self, now: float) -> None:
        """Let everything that is followed count as fresh."""
        if not self._are_late():
            return
        self._units.clear()
        self._all_since = now

    def take(self, upto: float) -> list[str] | None:
        """Return and forget what was remembered at this time or before; None: everything that is followed."""
        taken: list[str] = []
        for unit, since in self._units.items():
            if since > upto:
                break
            taken.append(unit)
        for unit in taken:
            del self._units[unit]
        if self._all_since is None or self._all_since > upto:
            return taken
        self._all_since = None
        return None
