"""The bindings of one RabbitMQ queue: what is wanted outlives the AMQP channel, what is in force does not.

Ring 3 (adapter), a part of `shared.amqp_subscription`. All changes go through one loop that compares wanted
with in force, so a bind and an unbind of one key never cross. Binds are sent many at a time: one by
one each would cost a round trip.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NoReturn

from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from pamqp import commands
from pamqp.base import Frame

from shared.amqp_link import translated
from shared.bus import BusUnavailable
from shared.topology import Binding, Exchange

_STEP = 256  # bindings in one write
_STEP_DEADLINE_S = 10.0
_SLOWEST_PER_S = 250  # measured: 800/s in a failover, 2,000-7,000/s else


def bind_seconds(bindings: Sequence[Binding]) -> float:
    """Return how long a broker may need for these, for deadlines."""
    return len(bindings) / _SLOWEST_PER_S


class QueueBindings:
    """Wanted bindings, and the loop that puts them in force."""

    def __init__(self, bindings: Iterable[Binding]) -> None:
        self._wanted = dict.fromkeys(map(_at_broker, bindings))
        self._in_force: set[Binding] = set()
        self._changed: dict[Binding, None] = {}
        self._waiters: list[asyncio.Future[bool]] = []
        self._touched = asyncio.Event()
        self._declared: set[Exchange] = set()

    async def change(self, bindings: Sequence[Binding], *, wanted: bool, timeout_s: float) -> None:
        """Want these, or want them no more; return when that is so at the broker.

        Raises `BusUnavailable` if the channel is lost meanwhile or none comes in `timeout_s`; it is kept then,
        for the next channel.
        """
        for binding in map(_at_broker, bindings):
            if wanted:
                self._wanted[binding] = None
            else:
                self._wanted.pop(binding, None)
            self._changed[binding] = None
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._touched.set()
        try:
            async with asyncio.timeout(timeout_s + bind_seconds(bindings)):
                done = await waiter
        except TimeoutError as error:
            raise BusUnavailable("bindings are not in force in time") from error
        if not done:
            raise BusUnavailable("the connection was lost before all bindings were in force")

    async def restore(self, channel: Channel, queue: str) -> None:
        """Bind everything that is wanted to a new queue, or to one whose state is not known."""
        self._in_force.clear()
        self._declared.clear()
        self._changed = dict.fromkeys(self._wanted)
        await self._apply(channel, queue)

    async def keep(self, channel: Channel, queue: str) -> NoReturn:
        """Apply changes as they come."""
        while True:
            await self._touched.wait()
            self._touched.clear()
            await self._apply(channel, queue)

    def lose(self) -> None:
        """Tell who waits that the channel was lost."""
        self._settle(self._waiters, done=False)
        self._waiters = []

    async def _apply(self, channel: Channel, queue: str) -> None:
        changed, self._changed = self._changed, {}
        waiters, self._waiters = self._waiters, []
        done = False
        try:
            await self._bind(channel, queue, [b for b in changed if b in self._wanted and b not in self._in_force])
            await self._unbind(channel, queue, [b for b in changed if b not in self._wanted and b in self._in_force])
            done = True
        finally:
            self._settle(waiters, done=done)

    async def _bind(self, channel: Channel, queue: str, bindings: Sequence[Binding]) -> None:
        for exchange in dict.fromkeys(binding.exchange for binding in bindings):
            if exchange not in self._declared:
                with translated():
                    await channel.exchange_declare(
                        exchange.name, exchange_type=exchange.kind, durable=True, timeout=_STEP_DEADLINE_S
                    )
                self._declared.add(exchange)
        rest = iter(bindings)
        while step := tuple(islice(rest, _STEP)):
            # Only the last is answered; the broker does them in order, so its answer stands for all.
            frames = [commands.Queue.Bind(0, queue, b.exchange.name, b.key, b is not step[-1]) for b in step]
            await _ask(channel, frames, answers=1)
            self._in_force.update(step)

    async def _unbind(self, channel: Channel, queue: str, bindings: Sequence[Binding]) -> None:
        rest = iter(bindings)
        while step := tuple(islice(rest, _STEP)):
            # AMQP has no unbind without an answer.
            frames = [commands.Queue.Unbind(0, queue, b.exchange.name, b.key) for b in step]
            await _ask(channel, frames, answers=len(frames))
            self._in_force.difference_update(step)

    @staticmethod
    def _settle(waiters: Iterable[asyncio.Future[bool]], *, done: bool) -> None:
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(done)


def _at_broker(binding: Binding) -> Binding:
    return Binding(binding.exchange.part_of(binding.key), binding.key)


async def _ask(channel: Channel, frames: Sequence[Frame], *, answers: int) -> None:
    """Send methods in one write, and wait for their answers. aiormq by itself awaits each in turn."""
    with translated():
        async with asyncio.timeout(_STEP_DEADLINE_S), channel.lock:
            await channel.write_queue.put(ChannelFrame.marshall(channel.number, frames))
            for _ in range(answers):
                await channel.rpc_frames.get()
