"""Checkpointing: leaving this node's trail where others find it, a few times a second.

Ring 4 (shell). A store that is away costs this node's sessions nothing; what could not be stored is kept in `Moves`,
bounded, and written as a whole when the store is back, also when it came back empty. What the node sends after the
newest checkpoint that was stored, its clients may be sent again by whoever goes on with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil
from typing import Final

import structlog

from services.gateway.core.positions import Moves
from services.gateway.trails import Trails, TrailsUnavailable
from shared.metrics import Metrics

_APPEND_S: Final = 2.0
_REWRITE_S: Final = 10.0
_REWRITE_AGAIN_S: Final = 2.0
"""A whole trail of a large node is much to put together: not at every checkpoint of a store that fails at it."""

log = structlog.get_logger(__name__)


def checkpoints_kept(*, window_s: float, heartbeat_s: float, interval_s: float) -> int:
    """Return how many checkpoints place every client that may still resume.

    It resumes within the window; until then it was silent for at most two heartbeats, and with the one before these
    it told how far it was.
    """
    return max(ceil((window_s + 3 * heartbeat_s) / interval_s), 2)


class Checkpointing:
    """Writes one node's trail. `s` returns its frame counter; `node` names node and incarnation.

    `restored` is called when the store, having been away or having lost the trail, has it again. `clock` is seconds
    that never go back.
    """

    def __init__(
        self,
        moves: Moves,
        trails: Trails,
        node: str,
        s: Callable[[], int],
        *,
        interval_s: float,
        ttl_s: float,
        metrics: Metrics,
        restored: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._moves = moves
        self._trails = trails
        self._node = node
        self._s = s
        self._interval_s = interval_s
        self._ttl_s = ttl_s
        self._restored = restored
        self._clock = clock
        self._writing = asyncio.Lock()
        self._is_stored = False
        self._stored_at = self._written_at = clock()
        self._rewrite_at = self._written_at
        self._checkpoints = metrics.counter(
            "starling_gateway_checkpoints_total", "checkpoints of the node's trail by what came of them", ("outcome",)
        )

    async def run(self) -> None:
        """Write a checkpoint every `interval_s`, for ever."""
        while True:
            began = self._clock()
            await self.write_now()
            await asyncio.sleep(max(self._interval_s - (self._clock() - began), 0.0))

    async def write_now(self) -> bool:
        """Write a checkpoint if there is something to tell; True if all that was sent before is in the store."""
        async with self._writing:
            began = self._clock()
            must = not self._is_stored or began - self._written_at >= self._ttl_s / 3
            try:
                outcome = await self._write(must=must)
            except (TrailsUnavailable, TimeoutError) as error:
                if self._is_stored:
                    log.warning("trail_not_stored", reason=repr(error))
                self._is_stored = False
                self._checkpoints.labels("failed").inc()
                return False
            self._stored_at = began
            if outcome is None:
                return True
            self._checkpoints.labels(outcome).inc()
            self._written_at = began
            if outcome == "rewritten" or not self._is_stored:
                self._is_stored = True
                log.info("trail_restored", **self._moves.statistics())
                self._restored()
            return True

    async def _write(self, *, must: bool) -> str | None:
        """Append a checkpoint, or rewrite the trail where it does not follow what is stored."""
        changes = self._moves.take(self._s(), always=must)
        if changes is None:
            return None
        async with asyncio.timeout(_APPEND_S):
            if await self._trails.append(self._node, changes, ttl_s=self._ttl_s):
                return "appended"
        if self._clock() < self._rewrite_at:
            raise TrailsUnavailable("it is not yet time to write the whole trail again")
        self._rewrite_at = self._clock() + _REWRITE_AGAIN_S
        async with asyncio.timeout(_REWRITE_S):
            await self._trails.rewrite(self._moves.take_all(self._s()), ttl_s=self._ttl_s)
        return "rewritten"

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics. `lag_seconds`: since when what the node sends is not stored."""
        return self._moves.statistics() | {"lag_seconds": self._clock() - self._stored_at}
