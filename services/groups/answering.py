"""Answers of many views: as many as fit into one and are read in time; what is left is asked for again.

Ring 4 (shell). However slow the database is, what was read for a caller reaches it: a call that took longer than its
caller waits would be asked again, and under load again and again, with nobody getting anything. For the same reason a
few are answered at a time and some wait; who would wait for too long hears at once that all are busy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from services.groups.core.portions import Portions
from shared.core.errors import Busy

ANSWER_BYTES: Final = 60 * 1024
"""An answer holds less than this, or one view."""
ANSWER_S: Final = 1.0
"""How long reading goes on for one answer: well below what its caller waits."""
_AT_ONCE: Final = 4
"""Answers that are read for at a time; the small calls beside them find the database free."""
_WAITING: Final = 8
"""Answers that wait: as long as `ANSWER_S` for each `_AT_ONCE`, which leaves their callers time to hear them."""
_FIRST: Final = 16

_encode: Final = msgspec.msgpack.Encoder().encode


class Told(msgspec.Struct, frozen=True):
    """A `Sessions` or `Groups`, its views encoded already."""

    views: tuple[msgspec.Raw, ...]
    left: tuple[int, ...]


class Answers:
    """Answers made of what `read` returns for ids; ids of which there is nothing are in no answer."""

    def __init__(
        self,
        read: Callable[[Sequence[int]], Awaitable[Mapping[int, Any]]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._clock = clock
        self._portions = Portions(ANSWER_BYTES, ANSWER_S, first=_FIRST)
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    async def answer(self, ids: Sequence[int]) -> Told:
        """Return views of these, in their order, at least of the first; and whom to ask for again.

        Raises `Busy` when too many wait, and what `read` raises.
        """
        if self._waiting >= _WAITING:
            raise Busy(retry_after=ANSWER_S)
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self._read_in_portions(tuple(dict.fromkeys(ids)))
        finally:
            self._places.release()

    async def _read_in_portions(self, ids: tuple[int, ...]) -> Told:
        views: list[msgspec.Raw] = []
        size, told, began = 0, 0, self._clock()
        while told < len(ids):
            count = self._portions.count(ANSWER_BYTES - size, ANSWER_S - (self._clock() - began))
            if not count and told:
                break
            some, since = ids[told : told + max(count, 1)], self._clock()
            try:
                found = await self._read(some)
            except BaseException:
                # Its caller waits no longer. As many again would be given up as well, again and again.
                self._portions.note_unfinished(len(some), self._clock() - since)
                raise
            encoded = {one: _encode(found[one]) for one in some if one in found}
            self._portions.note(len(some), sum(map(len, encoded.values())), self._clock() - since)
            for one in some:
                view = encoded.get(one, b"")
                if views and size + len(view) > ANSWER_BYTES:
                    return Told(tuple(views), ids[told:])
                if view:
                    views.append(msgspec.Raw(view))
                size += len(view)
                told += 1
        return Told(tuple(views), ids[told:])
