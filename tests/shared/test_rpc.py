"""Calls over the bus: what their server survives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from shared.bus import BusUnavailable
from shared.core.calls import ReadSessions, Sessions
from shared.core.errors import Busy, Unavailable
from shared.lease import LeaseLost
from shared.memory_bus import MemoryBus, MemorySubscription
from shared.rpc import Rpc, serve_calls
from shared.topology import Binding, Queue, Topology


class LateBus(MemoryBus):
    """A bus whose first subscriptions are not open in time, as with a broker that is away or has just been cut."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals = refusals
        self.is_open = asyncio.Event()

    @asynccontextmanager
    async def subscribe(
        self, queue: Queue, bindings: Sequence[Binding] = (), *, prefetch: int = 256
    ) -> AsyncIterator[MemorySubscription]:
        """See `shared.bus.Bus`."""
        if self.refusals:
            self.refusals -= 1
            raise BusUnavailable("could not be consumed in time")
        async with super().subscribe(queue, bindings, prefetch=prefetch) as subscription:
            self.is_open.set()
            yield subscription


async def test_a_server_of_calls_outlives_a_broker_that_is_away() -> None:
    """A subscription that can't be opened in time is tried again; the process is not ended by it."""
    bus = LateBus(refusals=2)
    topology = Topology("rpc")

    async def nobody(_: ReadSessions) -> Sessions:
        return Sessions(())

    server = asyncio.create_task(serve_calls(bus, topology, "groups", {ReadSessions: nobody}))
    try:
        async with asyncio.timeout(10):
            await bus.is_open.wait()
            assert await Rpc(bus, topology).call(ReadSessions((1,))) == Sessions(())
    finally:
        server.cancel()
    assert bus.refusals == 0


async def test_an_error_travels_by_its_name_in_the_catalogue() -> None:
    """An error that only the server knows comes as the nearest one of the catalogue: retryable stays so."""
    bus, topology = MemoryBus(), Topology()

    async def refuse(_: ReadSessions) -> None:
        raise LeaseLost

    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(serve_calls(bus, topology, "groups", {ReadSessions: refuse}))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await Rpc(bus, topology).call(ReadSessions((1,)))
        serving.cancel()


async def test_who_is_busy_is_asked_again_until_the_deadline() -> None:
    """A server that has no room is asked again in a while; if that is behind the deadline the caller hears it."""
    bus, topology = MemoryBus(), Topology()
    asked = 0

    async def answer(_: ReadSessions) -> Sessions:
        nonlocal asked
        asked += 1
        if asked == 3:
            return Sessions(())
        raise Busy(retry_after=0.01 if asked < 3 else 60.0)

    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(serve_calls(bus, topology, "groups", {ReadSessions: answer}))
        await asyncio.sleep(0)
        assert await Rpc(bus, topology).call(ReadSessions((1,))) == Sessions(())
        assert asked == 3
        with pytest.raises(Busy):
            await Rpc(bus, topology).call(ReadSessions((1,)))
        assert asked == 4
        serving.cancel()


async def test_nobody_works_longer_than_the_caller_waits() -> None:
    """What is at work for a caller that has given up is cancelled."""
    bus, topology = MemoryBus(), Topology()
    given_up = asyncio.Event()

    async def answer(_: ReadSessions) -> Sessions:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        return Sessions(())

    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(serve_calls(bus, topology, "groups", {ReadSessions: answer}))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await Rpc(bus, topology, timeout_s=0.05).call(ReadSessions((1,)))
        async with asyncio.timeout(5):
            await given_up.wait()
        serving.cancel()
