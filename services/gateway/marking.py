"""Marking: how far users have read, which READY tells. History keeps it; READY goes without where it does not answer.

Ring 4 (shell). Sessions begin many at a time: for users that are followed anew it is read by one call, while their
bodies are; what is acked until a session begins makes it void, and it is read again. For others it is gathered, at a
pace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final

import structlog

from services.gateway.core.hub import Hub
from services.gateway.gathering import Gathering
from services.gateway.sessions import LiveSession
from shared.core.calls import Marker, Markers, ReadMarkers
from shared.core.errors import StarlingError, Unavailable
from shared.lifecycle import Supervisor

USERS_PER_CALL: Final = 100
_WAIT_S: Final = 2.0
"""How long a question is waited for, and with it the sessions that begin."""
_PACE_S: Final = 0.015
"""So long after a question the next waits for others: to ask costs history and the node more than a user more in it."""
_AGAIN_S: Final = 5.0
"""So long nobody waits for that once it did not come: sessions begin many at a time, and each would hold a place."""

log = structlog.get_logger(__name__)

_Read = asyncio.Future[dict[int, Sequence[Marker]]]


class Marking:
    """Reads markers for sessions that begin. `call` asks history; `clock` is seconds that never go back."""

    def __init__(
        self,
        hub: Hub[LiveSession],
        call: Callable[[ReadMarkers], Awaitable[Markers]],
        supervisor: Supervisor,
        clock: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._call = call
        self._supervisor = supervisor
        self._clock = clock
        self._alone = Gathering(self._read, supervisor, most=USERS_PER_CALL, pace_s=_PACE_S)
        self._ahead: dict[int, _Read | None] = {}
        """Users that begin a session, and where their markers come; None as long as they are not being read."""
        self._from = float("-inf")
        """When history is asked again."""

    def expect(self, user_id: int) -> None:
        """Have a user's markers read together with its body, if that is read; until `forget`."""
        self._ahead.setdefault(user_id, None)

    def read_ahead(self, user_ids: Iterable[int]) -> None:
        """Begin to read the markers of those of these users that are expected. Their keys are bound: acks come."""
        some = tuple(one for one in user_ids if one in self._ahead)
        if some and self._clock() >= self._from:
            read: _Read = asyncio.get_running_loop().create_future()
            self._ahead.update(dict.fromkeys(some, read))
            self._supervisor.start("markers", self._read_into(read, some))

    def forget(self, user_id: int) -> None:
        """Let go of what was read for a user: it is not so any more, or nobody wants it."""
        self._ahead.pop(user_id, None)

    def forget_all(self) -> None:
        """Let go of all that was read: acks may have been lost."""
        self._ahead.clear()

    async def of(self, user_id: int) -> Sequence[Marker] | None:
        """Return how far a followed user has read; None for a bot, and while history does not answer."""
        if self._hub.roster.users[user_id].user.bot:
            return None
        read = self._ahead.get(user_id)
        if read is not None and read.done() and (found := read.result().get(user_id)) is not None:
            return found  # as mostly
        while self._clock() >= self._from:
            read = self._ahead.get(user_id) or self._begin_alone(user_id)
            found = (await asyncio.shield(read)).get(user_id)
            if self._ahead.get(user_id) is not read:
                continue  # an ack came meanwhile
            if found is not None:
                return found
            self._ahead[user_id] = None  # history left it for another time
        return None

    def _begin_alone(self, user_id: int) -> _Read:
        read: _Read = asyncio.get_running_loop().create_future()
        self._ahead[user_id] = read
        self._alone.ask(user_id).add_done_callback(partial(self._take_alone, read, user_id))
        return read

    def _take_alone(self, read: _Read, user_id: int, answer: asyncio.Future[tuple[Marker, ...] | None]) -> None:
        if answer.cancelled():
            read.cancel()  # the node ends
        elif (error := answer.exception()) is not None:
            self._give_up(error)
            read.set_result({})
        else:
            read.set_result({user_id: answer.result() or ()})

    async def _read_into(self, read: _Read, user_ids: Sequence[int]) -> None:
        found: dict[int, Sequence[Marker]] = {}
        try:
            told = await self._ask(user_ids)
            left = frozenset(told.left)
            found = {one: told.of.get(one, ()) for one in user_ids if one not in left}
        except StarlingError as error:
            self._give_up(error)
        finally:
            read.set_result(found)

    def _give_up(self, error: BaseException) -> None:
        if self._clock() >= self._from:  # the first of those who asked together
            self._from = self._clock() + _AGAIN_S
            log.info("markers_unknown", reason=repr(error))

    async def _read(self, user_ids: tuple[int, ...]) -> tuple[dict[int, tuple[Marker, ...]], tuple[int, ...]]:
        told = await self._ask(user_ids)
        return told.of, told.left

    async def _ask(self, user_ids: Sequence[int]) -> Markers:
        if self._clock() < self._from:
            raise Unavailable("history is not asked now")
        try:
            async with asyncio.timeout(_WAIT_S):
                return await self._call(ReadMarkers(tuple(user_ids)))
        except TimeoutError as error:
            raise Unavailable("history did not answer in time") from error
