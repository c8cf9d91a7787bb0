"""Reach: whether this process reaches its database, judged by all that it asks there and by a ping beside it.

Ring 4 (shell). Whoever takes work from a queue that others serve, too, takes none while the database is out of reach,
and gives back what it has in hand: else a process that alone lost it would hold its share of all calls until their
deadline. Where nobody reaches the database the work waits in the queues, from which it expires.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import structlog

from shared.streams import StoreUnavailable

_PING_S: Final = 0.5
"""How often the database is pinged."""
ANSWER_S: Final = 1.0
"""How long a ping may take. On a busy database others are answered meanwhile."""
_MISSES: Final = 2
"""So many pings in a row without any answer meanwhile: the database is out of reach."""

log = structlog.stdlib.get_logger(__name__)


class Reach:
    """What is known of the database. It counts as reached until `run` finds otherwise.

    `answers` tells how many questions the database has answered this process; `ping` asks one more and raises
    `StoreUnavailable`.
    """

    def __init__(
        self,
        ping: Callable[[], Awaitable[None]],
        answers: Callable[[], int],
        *,
        every_s: float = _PING_S,
        answer_s: float = ANSWER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ping = ping
        self._answers = answers
        self._every_s = every_s
        self._answer_s = answer_s
        self._clock = clock
        self._reached = asyncio.Event()
        self._reached.set()
        self._lost = asyncio.Event()

    @property
    def is_there(self) -> bool:
        """Whether the database is reached."""
        return self._reached.is_set()

    async def wait_there(self) -> None:
        """Return when the database is reached."""
        await self._reached.wait()

    async def during(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this until it ends or the database is out of reach, when it is cancelled. Raises what it raises."""
        working = asyncio.ensure_future(work)
        losing = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait((working, losing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (working, losing):
                one.cancel()
            await asyncio.wait((working, losing))
        if not working.cancelled():
            working.result()

    async def run(self) -> None:
        """Look after it for ever. Run as a supervised task."""
        misses = 0
        while True:
            before, began = self._answers(), self._clock()
            try:
                async with asyncio.timeout(self._answer_s):
                    await self._ping()
            except (StoreUnavailable, TimeoutError):
                if self._answers() != before:
                    misses = 0
                elif self._clock() - began < 2 * self._answer_s:
                    misses += 1
                # Where the wait was much longer than asked for this process stood still: that says nothing.
            else:
                misses = 0
            self._tell(is_there=misses < _MISSES)
            await asyncio.sleep(self._every_s)

    def _tell(self, *, is_there: bool) -> None:
        if is_there and self._lost.is_set():
            log.info("database_found")
            self._lost.clear()
            self._reached.set()
        elif not is_there and self._reached.is_set():
            log.warning("database_lost")
            self._reached.clear()
            self._lost.set()


async def _answer_at_once() -> None:
    """Do nothing."""


def always_there() -> Reach:
    """Return the reach of what is never lost."""
    return Reach(_answer_at_once, lambda: 0)
