"""Backlog: events of streams that were missed, read once for all sessions that missed the same.

Ring 4 (shell). When a node dies, thousands of sessions come that stood at the same few places; each place is read
once. Bounded in what is kept and for how long.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from shared.core.calls import EventPage, ReadChanges, ReadChannelEvents
from shared.core.stream import Event, owner_of
from shared.rpc import Rpc

MOST_MISSED: Final = 5_000
"""Events that one session may have missed; beyond that it begins anew, and its client pages."""
_KEPT_S: Final = 10.0
_PLACES: Final = 2_000
_EVENTS: Final = 50_000
_CALLS: Final = 32


class _Place:
    """What was read of a stream from one position on."""

    __slots__ = ("at", "events", "is_kept", "lock")

    def __init__(self, at: float) -> None:
        self.at = at
        self.is_kept = True
        self.events: list[Event] = []
        self.lock = asyncio.Lock()


class Backlog:
    """Reads events by RPC. `clock` is seconds that never go back."""

    def __init__(self, rpc: Rpc, clock: Callable[[], float]) -> None:
        self._rpc = rpc
        self._clock = clock
        self._places: OrderedDict[tuple[str, int], _Place] = OrderedDict()
        self._events = 0
        self._calls = asyncio.Semaphore(_CALLS)

    async def read(self, stream: str, after: int, upto: int) -> list[Event] | None:
        """Return the events above `after`, at least up to `upto`; None if there are too many, or not so many.

        None also where messages were imported meanwhile: they are no events, and its client finds them by paging.

        Raises `Unavailable`.
        """
        if upto - after > MOST_MISSED:
            return None
        place = self._place((stream, after))
        async with place.lock:
            while after + len(place.events) < upto:
                page = await self._page(stream, after + len(place.events))
                if page.after > after + len(place.events):
                    return None
                place.events += page.events
                self._events += len(page.events) if place.is_kept else 0
                if not page.events:
                    return None
            return place.events

    async def _page(self, stream: str, after: int) -> EventPage:
        async with self._calls:
            page: EventPage = await self._rpc.call(
                ReadChannelEvents(owner_of(stream), after) if stream[0] == "c" else ReadChanges(stream, after)
            )
        return page

    def _place(self, key: tuple[str, int]) -> _Place:
        now = self._clock()
        while self._places and (
            len(self._places) >= _PLACES
            or self._events > _EVENTS
            or now - next(iter(self._places.values())).at > _KEPT_S
        ):
            _, old = self._places.popitem(last=False)
            self._events -= len(old.events)
            old.is_kept = False
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = _Place(now)
        return place

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {"places": len(self._places), "events": self._events}
