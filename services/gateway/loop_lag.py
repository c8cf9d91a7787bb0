"""Loop lag: how late the event loop runs what is due, which is how long one piece of work held it up.

Ring 4 (shell).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from shared.metrics import Metrics

EVERY_S: Final = 0.1
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopLag:
    """Measures the lag of the loop it runs on. `clock` is that loop's time."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds = metrics.histogram(
            "starling_gateway_loop_lag_seconds", "How late the event loop runs what is due", buckets=_BUCKETS
        )

    async def run(self, every_s: float = EVERY_S) -> None:
        """Measure for ever."""
        while True:
            due = self._clock() + every_s
            await asyncio.sleep(every_s)
            self._seconds.observe(max(0.0, self._clock() - due))
