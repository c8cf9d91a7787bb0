"""Rounds: what is asked for one by one is done for many at a time, one round after the other, with no timer.

Ring 4 (shell). Whatever comes while a round is under way goes with the next: alone when quiet, in bulk when many
identify at once. A full round waits for no other, so that servers and node work at the same time; smaller ones
would cost more each. A round that is slow, since an answer was lost, say, does not hold up the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final

from shared.lifecycle import Supervisor

SLOW_S: Final = 1.0
_AT_ONCE: Final = 4
"""Most rounds under way."""


class Rounds:
    """Has `work` done for ids, at most `most` of them a round."""

    def __init__(self, work: Callable[[Sequence[int]], Awaitable[None]], supervisor: Supervisor, *, most: int) -> None:
        self._work = work
        self._supervisor = supervisor
        self._most = most
        self._waiting: dict[int, None] = {}
        self._under_way = 0
        self._slow = 0
        self._is_due = False

    def add(self, one: int) -> None:
        """Do it for this one with the next round."""
        self._waiting[one] = None
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._begin)  # after all that come in this turn

    def _begin(self) -> None:
        self._is_due = False
        while self._waiting and self._under_way < _AT_ONCE and (self._is_idle or len(self._waiting) >= self._most):
            some = tuple(islice(self._waiting, self._most))
            for one in some:
                del self._waiting[one]
            self._under_way += 1
            self._supervisor.start("round", self._run(some))

    @property
    def _is_idle(self) -> bool:
        return self._under_way == self._slow

    async def _run(self, some: Sequence[int]) -> None:
        is_slow = False

        def slow_down() -> None:
            nonlocal is_slow
            is_slow = True
            self._slow += 1
            self._begin()

        timer = asyncio.get_running_loop().call_later(SLOW_S, slow_down)
        try:
            await self._work(some)
        finally:
            timer.cancel()
            self._under_way -= 1
            self._slow -= is_slow
        self._begin()
