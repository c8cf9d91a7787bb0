"""What feeds a node's queue: routing keys, counted, so that two users of one key are one binding.

Ring 4 (shell). Asked for from anywhere, done by one worker in rounds: all that is wanted at once goes in one
batch, binds first, and bind and unbind of one key never cross. That unused keys linger is the hub's doing. When a
crowd has left they go bit by bit: an unbind costs the broker as much as a bind, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Final

import structlog

from shared.bus import BusUnavailable, Subscription
from shared.core.errors import Unavailable
from shared.topology import Binding, Exchange

_UNBINDS: Final = 64
"""Most unbinds of a round: each is answered by the broker, and the next binds wait for them."""
_RESTS: Final = 3.0
"""How many times as long as a round of unbinds took the next is put off: the broker is for others meanwhile."""
_MOST_REST_S: Final = 5.0
"""Longest rest: what took long once (a bus that hung) says nothing of the next round."""

log = structlog.get_logger(__name__)


class Bindings:
    """The keys of one node's queue on one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._users: dict[str, int] = {}
        self._bound: set[str] = set()
        self._to_bind: dict[str, None] = {}
        self._to_unbind: dict[str, None] = {}
        self._work = asyncio.Event()
        self._next_round: asyncio.Future[bool] | None = None

    async def add(self, keys: Iterable[str]) -> None:
        """Use these keys; returns when all are in force. Whoever adds removes them again, also after a failure.

        Raises `Unavailable` if the bus was lost meanwhile.
        """
        is_waiting = False
        for key in keys:
            self._users[key] = self._users.get(key, 0) + 1
            self._to_unbind.pop(key, None)
            if key not in self._bound:
                self._to_bind[key] = None
                is_waiting = True
        if not is_waiting:
            return
        if self._next_round is None:
            self._next_round = asyncio.get_running_loop().create_future()
        self._work.set()
        if not await asyncio.shield(self._next_round):
            raise Unavailable("The bus is away")

    def remove(self, keys: Iterable[str]) -> None:
        """Use these keys no more."""
        for key in keys:
            left = self._users.pop(key) - 1
            if left:
                self._users[key] = left
                continue
            self._to_bind.pop(key, None)
            if key in self._bound:
                self._to_unbind[key] = None
                self._work.set()

    async def run(self, subscription: Subscription) -> None:
        """Keep the bindings of this subscription's queue as wanted, for ever. A new one begins without any."""
        self._bound.clear()
        self._to_unbind.clear()
        self._to_bind |= dict.fromkeys(self._users)
        self._work.set()
        loop = asyncio.get_running_loop()
        unbind_at = loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(unbind_at if self._to_unbind else None):
                    await self._work.wait()
            self._work.clear()
            done, self._next_round = self._next_round, None
            bind, self._to_bind = self._to_bind, {}
            unbind = tuple(islice(self._to_unbind, _UNBINDS if loop.time() >= unbind_at else 0))
            for key in unbind:
                del self._to_unbind[key]
            self._bound.difference_update(unbind)
            in_force = False
            try:
                in_force = await self._ask(subscription.bind, [key for key in bind if key not in self._bound])
            finally:
                if done is not None:
                    done.set_result(in_force)
            self._bound.update(bind)
            self._to_unbind |= dict.fromkeys(key for key in bind if key not in self._users)
            if unbind:
                begun = loop.time()
                await self._ask(subscription.unbind, unbind)
                unbind_at = loop.time() + min((loop.time() - begun) * _RESTS, _MOST_REST_S)

    async def _ask(self, change: Callable[[Sequence[Binding]], Awaitable[None]], keys: Collection[str]) -> bool:
        """Have the keys bound or unbound; return False if the bus was lost meanwhile.

        The subscription keeps then what was asked, for when the bus is back; a gap tells when.
        """
        if not keys:
            return True
        try:
            await change([Binding(self._exchange, key) for key in keys])
        except BusUnavailable as error:
            log.warning("bindings_unconfirmed", keys=len(keys), reason=str(error))
            return False
        return True

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {"bound": len(self._bound), "waiting": len(self._to_bind) + len(self._to_unbind)}
