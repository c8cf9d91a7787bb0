"""Gathering: what is asked for one by one, while others are being read, is read together.

Ring 4 (shell). A few calls are on their way at a time; whatever came meanwhile goes with the next, with no timer: alone
when quiet, in bulk when many identify at once. Where a call costs much more than one more key in it, there may be a
pace: one call at a time, and a moment between. Nobody gets an answer that was asked for before they came.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from typing import Final, Generic, TypeVar

from shared.core.errors import StarlingError, Unavailable
from shared.lifecycle import Supervisor

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_AT_ONCE: Final = 3
"""Calls on their way: while one is being read the next can be on the wire, and a third be made."""


class Gathering(Generic[K, T]):
    """Reads by key, at most `most` at a time.

    `read` returns what there is and the keys that it left for another time; it raises errors of the catalogue, or
    `away`. With `pace_s` there is one call on its way, and the next waits so long for others to come, or until there
    are `most`; who comes when nothing was asked just now does not wait.
    """

    def __init__(
        self,
        read: Callable[[tuple[K, ...]], Awaitable[tuple[Mapping[K, T], Collection[K]]]],
        supervisor: Supervisor,
        *,
        most: int,
        pace_s: float = 0.0,
        away: type[Exception] = Unavailable,
    ) -> None:
        self._read = read
        self._supervisor = supervisor
        self._most = most
        self._pace_s = pace_s
        self._at_once = 1 if pace_s else _AT_ONCE
        self._away = away
        self._waiting: dict[K, list[asyncio.Future[T | None]]] = {}
        self._calls = 0
        self._is_due = False
        self._is_full = asyncio.Event()

    def ask(self, one: K) -> asyncio.Future[T | None]:
        """Return what will be there under this key, None if nothing is; or the error that reading met."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T | None] = loop.create_future()
        self._waiting.setdefault(one, []).append(future)
        if len(self._waiting) >= self._most:
            self._is_full.set()
        if not self._is_due and self._calls < self._at_once:
            self._is_due = True
            loop.call_soon(self._begin)  # after all that come in this turn
        return future

    def _begin(self) -> None:
        self._is_due = False
        while self._waiting and self._calls < self._at_once:
            some = {one: self._waiting.pop(one) for one in list(self._waiting)[: self._most]}
            if len(self._waiting) < self._most:
                self._is_full.clear()
            self._calls += 1
            self._supervisor.start("gathering", self._run(some))

    async def _run(self, asked: dict[K, list[asyncio.Future[T | None]]]) -> None:
        try:
            await self._answer(asked)
            if self._pace_s:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._is_full.wait(), self._pace_s)
        finally:
            self._calls -= 1
        self._begin()

    async def _answer(self, asked: dict[K, list[asyncio.Future[T | None]]]) -> None:
        try:
            found, left = await self._read(tuple(asked))
            if len(left) >= len(asked):
                raise Unavailable("nothing was read")
        except (StarlingError, self._away) as error:
            for future in _open(asked):
                future.set_exception(error)
        else:
            again = {one: asked.pop(one) for one in left if one in asked}
            for one, futures in again.items():
                self._waiting[one] = futures + self._waiting.get(one, [])
            for one, futures in asked.items():
                for future in futures:
                    if not future.done():
                        future.set_result(found.get(one))
        finally:
            for future in _open(asked):
                future.cancel()  # the node ends


def _open(asked: Mapping[K, list[asyncio.Future[T | None]]]) -> list[asyncio.Future[T | None]]:
    return [future for futures in asked.values() for future in futures if not future.done()]
