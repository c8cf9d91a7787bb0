"""Joining: any number of readers who want the same at the same time make one query.

Ring 4 (shell). Whoever asks gets an answer to a query that began after that: while one is on its way, all who come wait
for it to end and then share the next. So an answer never lacks what was stored before it was asked for, and there is
at most one query of a kind on its way. Who gives up leaves the others theirs, also if it was the one that queried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Answer(Generic[T]):
    """What those who came during one query will share."""

    __slots__ = ("error", "result")

    def __init__(self) -> None:
        self.result: T | None = None
        self.error: Exception | None = None


class _Line(Generic[T]):
    """Who wants the same: one queries, holding the lock; the others wait for the lock. `next` is open to who comes."""

    __slots__ = ("lock", "members", "next")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.members = 0
        self.next: _Answer[T] | None = None


class Joining(Generic[T]):
    """Queries by key; who asks with one key must want the same. A key costs something only while it is asked for."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line[T]] = {}
        self.asked = 0
        """How often something was asked for."""
        self.queries = 0
        """How many queries that took."""

    async def ask(self, key: Hashable, query: Callable[[], Awaitable[T]]) -> T:
        """Return the result, never None, of a query of this key that begins from now on, or raise its error."""
        self.asked += 1
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
        if line.next is None:
            line.next = _Answer()
        answer = line.next
        line.members += 1
        try:
            async with line.lock:
                if answer.error is not None:
                    raise answer.error
                if answer.result is None:
                    await asyncio.sleep(0)  # all who come in this turn may join
                    line.next = None if line.next is answer else line.next
                    answer.result = await self._query(answer, query)
                return answer.result
        finally:
            line.members -= 1
            if not line.members:
                del self._lines[key]

    async def _query(self, answer: _Answer[T], query: Callable[[], Awaitable[T]]) -> T:
        self.queries += 1
        try:
            return await query()
        except Exception as error:
            answer.error = error
            raise
