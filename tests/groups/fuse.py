"""Crashes and pauses at a chosen step: `Fuse` counts every call that goes through what it guards.

The n-th call, counted over store, streams and bus alike, raises `Crash` before or after it took effect, or
waits there until the test lets it go on. So a test can try every step of an operation, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

Moment = Literal["before", "after"]


class Crash(Exception):
    """The process died here."""


class Fuse:
    """Blows at the n-th guarded call (from 1), or pauses there if `pauses`."""

    def __init__(self, at: int, moment: Moment, *, pauses: bool = False) -> None:
        self.left = at
        self._moment = moment
        self._pauses = pauses
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    def guard(self, target: Any) -> Any:
        """Return a stand-in for an object whose coroutine methods count."""
        return _Guarded(target, self)

    async def run(self, call: Callable[[], Any]) -> Any:
        """Make one call."""
        self.left -= 1
        if self.left:
            return await call()
        if self._moment == "before":
            await self._blow()
            return await call()
        result = await call()
        await self._blow()
        return result

    async def _blow(self) -> None:
        self.reached.set()
        if not self._pauses:
            raise Crash
        await self.go_on.wait()


class _Guarded:
    def __init__(self, target: Any, fuse: Fuse) -> None:
        self._target = target
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._target, name)
        if not asyncio.iscoroutinefunction(attribute):
            return attribute

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            return await self._fuse.run(lambda: attribute(*args, **kwargs))

        return guarded
