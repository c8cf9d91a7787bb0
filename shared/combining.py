"""Combining: what many write at once goes to the store as one (group commit).

Ring 2. While a write is under way, all who come wait; then what they brought goes together in the next. The more come,
the fewer writes there are for each, and who came first is done first. Nobody waits for company: if nothing is under
way, a write begins in this turn of the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Combining(Generic[T, R]):
    """Writes of the same kind. `write` has a deadline of its own and returns a result for each item.

    At most `most` items go together, or what one brought, if that is more.
    """

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[Sequence[R]]], *, most: int) -> None:
        self._write = write
        self._most = most
        self._waiting: deque[tuple[Sequence[T], asyncio.Future[Sequence[R]]]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def ask(self, items: Sequence[T]) -> Sequence[R]:
        """Return the results of these items, or raise what `write` raised for all that went with them.

        Who gives up before their write has begun has written nothing; after that, what they brought is written.
        """
        if not items:
            return ()
        future: asyncio.Future[Sequence[R]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        """Write until nobody waits. It lives no longer than that, and fails only its askers."""
        try:
            while self._waiting:
                await asyncio.sleep(0)  # all who come in this turn go along
                await self._write_some()
        finally:
            self._running = None
            for _, future in self._waiting:
                future.cancel()

    async def _write_some(self) -> None:
        items: list[T] = []
        askers: list[tuple[int, int, asyncio.Future[Sequence[R]]]] = []
        while self._waiting and (not items or len(items) + len(self._waiting[0][0]) <= self._most):
            brought, future = self._waiting.popleft()
            if not future.done():
                askers.append((len(items), len(items) + len(brought), future))
                items += brought
        if not items:
            return
        try:
            results = await self._write(items)
        except BaseException as error:
            for _, _, future in askers:
                if future.done():
                    continue
                if isinstance(error, Exception):
                    future.set_exception(error)
                else:
                    future.cancel()
            if not isinstance(error, Exception):
                raise
            return
        for begin, end, future in askers:
            if not future.done():
                future.set_result(results[begin:end])
