"""Combining: what many write at once goes to the store as one (group commit).

Ring 2. While a write is under way, all who come wait; then what they brought goes together in the next. The more come,
the fewer writes there are for each, and who came first is done first. Nobody waits for company: if nothing is under
way, a write begins in this turn of the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Brought(NamedTuple, Generic[T, R]):
    items: Sequence[T]
    result: asyncio.Future[Sequence[R]]


class Combining(Generic[T, R]):
    """Writes of one kind. `write` has a deadline of its own, returns a result for each item, and can be repeated.

    At most `most` items go together, or what one brought, if that is more; as many wait as ask. Where `write` fails
    with `outage`, it failed for all who went along; anything else may be for what one of them brought, so each is then
    written alone.
    """

    def __init__(
        self, write: Callable[[Sequence[T]], Awaitable[Sequence[R]]], *, most: int, outage: type[Exception]
    ) -> None:
        self._write = write
        self._most = most
        self._outage = outage
        self._waiting: deque[_Brought[T, R]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def ask(self, items: Sequence[T]) -> Sequence[R]:
        """Return the results of these items, or raise what `write` raised.

        Who gives up before their write has begun has written nothing; after that, what they brought is written.
        """
        if not items:
            return ()
        result: asyncio.Future[Sequence[R]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Brought(items, result))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await result

    async def _run(self) -> None:
        """Write until nobody waits. It lives no longer than that, and fails only those who asked."""
        together: list[_Brought[T, R]] = []
        try:
            while self._waiting:
                await asyncio.sleep(0)  # all who come in this turn go along
                together = self._take()
                await self._settle(together)
        finally:
            self._running = None
            for brought in (*together, *self._waiting):
                brought.result.cancel()  # only if it was cancelled itself; else all are done

    def _take(self) -> list[_Brought[T, R]]:
        together: list[_Brought[T, R]] = []
        count = 0
        while self._waiting and (not count or count + len(self._waiting[0].items) <= self._most):
            brought = self._waiting.popleft()
            if not brought.result.done():
                together.append(brought)
                count += len(brought.items)
        return together

    async def _settle(self, together: Sequence[_Brought[T, R]]) -> None:
        if not together:
            return
        try:
            results = await self._write([item for brought in together for item in brought.items])
        except Exception as error:
            if len(together) > 1 and not isinstance(error, self._outage):
                for brought in together:
                    await self._settle((brought,))
                return
            for brought in together:
                if not brought.result.done():
                    brought.result.set_exception(error)
            return
        begin = 0
        for brought in together:
            end = begin + len(brought.items)
            if not brought.result.done():
                brought.result.set_result(results[begin:end])
            begin = end
