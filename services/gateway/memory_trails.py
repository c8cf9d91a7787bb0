"""Trails in the memory of one process.

Ring 2. Bounded: beyond `max_nodes` the trail that was written longest ago is lost. Held by
tests/contracts/test_trails.py.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from services.gateway.core.positions import Changes, Trail


class MemoryTrails:
    """`Trails` without a server. `clock` counts seconds and never goes back."""

    def __init__(self, *, max_nodes: int = 100, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_nodes = max_nodes
        self._clock = clock
        self._trails: OrderedDict[str, tuple[float, Trail]] = OrderedDict()

    async def append(self, node: str, changes: Changes, *, ttl_s: float) -> bool:
        """Store a checkpoint and what changed in the table with it, if it is the next one."""
        stored = self._live(node)
        if stored is None or changes.checkpoint.number - stored.number not in (0, 1):
            return False
        self._set(stored if changes.checkpoint.number == stored.number else stored.after(changes), ttl_s)
        return True

    async def rewrite(self, trail: Trail, *, ttl_s: float) -> None:
        """Store the whole trail, in place of an older one."""
        stored = self._live(trail.node)
        if stored is None or stored.number < trail.number:
            self._set(trail, ttl_s)

    async def read(self, node: str) -> Trail | None:
        """Return a node's trail."""
        return self._live(node)

    async def newest(self, node: str) -> int | None:
        """Return the number of the newest checkpoint in a node's trail."""
        return None if (trail := self._live(node)) is None else trail.number

    def _live(self, node: str) -> Trail | None:
        until, trail = self._trails.get(node, (0.0, None))
        if trail is not None and self._clock() >= until:
            del self._trails[node]
            return None
        return trail

    def _set(self, trail: Trail, ttl_s: float) -> None:
        self._trails[trail.node] = (self._clock() + ttl_s, trail)
        self._trails.move_to_end(trail.node)
        while len(self._trails) > self._max_nodes:
            self._trails.popitem(last=False)
