"""Reach: a process notices that it alone lost the database, and leaves work to others until it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.core.calls import ReadSessions, Sessions
from shared.memory_bus import MemoryBus
from shared.reach import Reach
from shared.rpc import Rpc, serve_calls
from shared.streams import StoreUnavailable
from shared.topology import Topology
from tests.waiting import wait_until


class Database:
    """Answers, hangs, or answers others only."""

    def __init__(self) -> None:
        self.answers = 0
        self.pings = 0
        self.is_away = False
        self.is_busy = False
        self.back = asyncio.Event()
        self.now = 0.0
        self.stall_s = 0.0

    async def ping(self) -> None:
        """Answer unless it is away; while it is busy others are answered in the meantime."""
        self.pings += 1
        self.now += self.stall_s
        self.answers += self.is_busy
        if self.is_away or self.is_busy:
            await self.back.wait()
            raise StoreUnavailable
        self.answers += 1

    async def ask(self) -> None:
        """Answer a question, or hang for as long as the database is away."""
        if self.is_away:
            await self.back.wait()
        self.answers += 1


@pytest.fixture
def database() -> Database:
    """Return a database that is there."""
    return Database()


@pytest.fixture
async def reach(database: Database) -> AsyncIterator[Reach]:
    """Look after the reach of the database."""
    reach = Reach(database.ping, lambda: database.answers, every_s=0.001, answer_s=0.01, clock=lambda: database.now)
    watching = asyncio.create_task(reach.run())
    yield reach
    watching.cancel()


async def pinged(database: Database, times: int) -> None:
    """Wait for so many pings more."""
    wanted = database.pings + times
    await wait_until(lambda: database.pings >= wanted)


async def test_it_is_lost_when_nothing_is_answered_and_found_by_an_answer(database: Database, reach: Reach) -> None:
    """Twice without an answer is out of reach; slow pings beside answers are not; who stood still knows nothing."""
    await pinged(database, 3)
    assert reach.is_there
    database.is_busy = True
    await pinged(database, 5)
    assert reach.is_there
    database.is_busy, database.is_away, database.stall_s = False, True, 1.0
    await pinged(database, 5)
    assert reach.is_there
    database.stall_s = 0.0
    await wait_until(lambda: not reach.is_there)
    database.stall_s = 1.0
    await pinged(database, 5)
    assert not reach.is_there
    database.stall_s, database.is_away = 0.0, False
    async with asyncio.timeout(5):
        await reach.wait_there()


async def test_work_ends_with_what_it_raises_or_when_the_database_is_lost(database: Database, reach: Reach) -> None:
    """Work that ends has ended, its failure is raised; work under way at the loss is cancelled."""

    async def fail() -> None:
        raise ValueError

    async with asyncio.timeout(5):
        await reach.during(database.ask())
        with pytest.raises(ValueError, match=r"^$"):
            await reach.during(fail())
        database.is_away = True
        await reach.during(database.ask())
    assert not reach.is_there


async def test_calls_go_to_a_replica_that_reaches_the_database(database: Database, reach: Reach) -> None:
    """Calls in the hands of one that lost it are answered by the other, and it serves again once it is back."""
    bus, topology, well = MemoryBus(), Topology(), Database()
    served = {"sick": 0, "well": 0}

    async def start(name: str, database: Database, reach: Reach | None) -> asyncio.Task[None]:
        async def answer(_: ReadSessions) -> Sessions:
            await database.ask()
            served[name] += 1
            return Sessions(())

        task = asyncio.create_task(serve_calls(bus, topology, "groups", {ReadSessions: answer}, reach=reach))
        await asyncio.sleep(0)
        return task

    async def ask(times: int) -> None:
        await asyncio.gather(*(Rpc(bus, topology).call(ReadSessions((1,))) for _ in range(times)))

    servers = [await start("sick", database, reach), await start("well", well, None)]
    await ask(10)
    assert served == {"sick": 5, "well": 5}
    database.is_away = True
    await ask(10)
    assert served == {"sick": 5, "well": 15}
    await ask(10)
    assert served == {"sick": 5, "well": 25}
    database.is_away = False
    database.back.set()
    await reach.wait_there()
    await asyncio.sleep(0)
    await ask(10)
    assert served == {"sick": 10, "well": 30}
    for server in servers:
        server.cancel()
    await asyncio.gather(*servers, return_exceptions=True)
