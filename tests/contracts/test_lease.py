"""Contract of worker id leases: memory and MongoDB give each worker id to one holder, and no id is minted twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from shared.core.ids import WORKERS, first_id_at, worker_of
from shared.lease import LEASE_MS, SKEW_MS, Lease, LeasedIds, LeaseLost, LeaseStore, MemoryLeases, open_lease
from shared.mongo import open_database
from shared.mongo_lease import MongoLeases
from shared.settings import MongoSettings
from shared.streams import StoreUnavailable

NOW = 1_790_000_000_000


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.servers)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[LeaseStore]:
    """Yield a store without leases, of either kind."""
    if request.param == "memory":
        yield MemoryLeases()
        return
    settings = MongoSettings(url=request.getfixturevalue("mongo_url"), database=f"leases_{uuid4().hex}")
    async with open_database(settings) as mongo:
        yield MongoLeases(mongo)


class Time:
    """Both clocks of a process, passing when told."""

    def __init__(self) -> None:
        self.ms = NOW

    def now(self) -> int:
        """Return Unix ms."""
        return self.ms

    def clock(self) -> float:
        """Return monotonic seconds."""
        return 5.0 + (self.ms - NOW) / 1000

    def advance(self, ms: int) -> None:
        """Let both clocks pass."""
        self.ms += ms


class Flaky:
    """A store that is away while told so, in front of another."""

    def __init__(self, store: LeaseStore) -> None:
        self.store = store
        self.away = False

    def _require(self) -> None:
        if self.away:
            raise StoreUnavailable

    async def take(self, worker: int, holder: str, *, now: int, until: int) -> int | None:
        """Pass on."""
        self._require()
        return await self.store.take(worker, holder, now=now, until=until)

    async def renew(self, worker: int, holder: str, *, until: int) -> bool:
        """Pass on."""
        self._require()
        return await self.store.renew(worker, holder, until=until)

    async def release(self, worker: int, holder: str, last_id: int) -> None:
        """Pass on."""
        self._require()
        await self.store.release(worker, holder, last_id)


async def wait_held(ids: LeasedIds, held: bool) -> None:
    """Wait until the renewal task has brought the lease into this state."""
    async with asyncio.timeout(5):
        while ids.held is not held:
            await asyncio.sleep(0.001)


async def test_one_holder_until_expiry_and_margin(store: LeaseStore) -> None:
    """A worker id has one holder; another gets it only after the lease's end and the margin for skewed clocks."""
    end = NOW + LEASE_MS
    assert await store.take(7, "a", now=NOW, until=end) == 0
    assert await store.take(7, "b", now=NOW, until=end) is None
    assert await store.take(7, "b", now=end + SKEW_MS, until=end) is None
    assert await store.take(8, "b", now=NOW, until=end) == 0
    assert await store.renew(7, "a", until=end + 5)
    assert await store.take(7, "b", now=end + SKEW_MS + 5, until=end) is None
    assert await store.take(7, "b", now=end + SKEW_MS + 6, until=2 * end) == 0
    assert not await store.renew(7, "a", until=3 * end)
    await store.release(7, "a", 99)
    assert await store.renew(7, "b", until=3 * end)


async def test_holder_may_renew_late(store: LeaseStore) -> None:
    """A lease that ran out and that nobody took is still its holder's."""
    await store.take(7, "a", now=NOW, until=NOW + 1)
    assert await store.renew(7, "a", until=NOW + 10 * LEASE_MS)
    assert not await store.renew(9, "a", until=NOW)


async def test_released_id_is_free_at_once_and_goes_on_above(store: LeaseStore) -> None:
    """Whoever takes a released worker id is told which ids were minted under it, also after a second release."""
    last = first_id_at(NOW + 40_000)
    await store.take(7, "a", now=NOW, until=NOW + LEASE_MS)
    await store.release(7, "a", last)
    assert await store.take(7, "b", now=NOW, until=NOW + LEASE_MS) == last
    await store.release(7, "b", last)
    assert await store.take(7, "c", now=NOW, until=NOW + LEASE_MS) == last


async def test_racing_takers_have_one_winner(store: LeaseStore) -> None:
    """Of all who reach for one worker id at once, one gets it, new or run out."""
    for now in (NOW, NOW + LEASE_MS + SKEW_MS + 1):
        takers = (store.take(7, f"h{number}@{now}", now=now, until=now + LEASE_MS) for number in range(10))
        assert sum(last is not None for last in await asyncio.gather(*takers)) == 1


async def test_processes_have_different_worker_ids(store: LeaseStore) -> None:
    """Processes that are open at the same time never share a worker id."""
    async with AsyncExitStack() as stack:
        leases = [await stack.enter_async_context(open_lease(store)) for _ in range(20)]
        assert len({lease.source.worker for lease in leases}) == 20
        assert all(lease.source.held for lease in leases)


async def test_same_worker_id_never_mints_an_id_twice() -> None:
    """With one worker id left, a process whose clock lags goes on above what the one before it minted."""
    store = MemoryLeases()
    for worker in range(WORKERS - 1):
        await store.take(worker, "others", now=NOW, until=NOW + 3600_000)
    time = Time()
    time.advance(5_000)
    async with open_lease(store, now=time.now, clock=time.clock) as lease:
        ahead = lease.source.next_id(time.now(), after=first_id_at(NOW + 9_000))
        with pytest.raises(LeaseLost):
            async with open_lease(store, now=time.now, clock=time.clock):
                pass
    time.advance(-5_000)
    async with open_lease(store, now=time.now, clock=time.clock) as lease:
        assert worker_of(lease.source.next_id(time.now())) == WORKERS - 1 == worker_of(ahead)
        assert lease.source.next_id(time.now()) > ahead


async def test_no_id_after_expiry_while_the_store_is_away() -> None:
    """When renewals fail until the lease's end nothing can be minted; when the store is back it can."""
    store, time = Flaky(MemoryLeases()), Time()
    async with open_lease(store, now=time.now, clock=time.clock, renew_s=0.005) as lease:
        ids, worker = lease.source, lease.source.worker
        before = ids.next_id(time.now())
        store.away = True
        time.advance(LEASE_MS - 1)
        assert ids.next_id(time.now()) > before
        time.advance(1)
        with pytest.raises(LeaseLost):
            ids.next_id(time.now())
        assert not ids.held
        store.away = False
        await wait_held(ids, True)
        assert worker_of(ids.next_id(time.now())) == worker


async def test_either_clock_ends_the_lease() -> None:
    """A paused machine (monotonic clock stood still) or a wall clock set back cannot make an id after the end."""
    ids = LeasedIds(lambda: 10.0)
    with pytest.raises(LeaseLost):
        ids.next_id(NOW)
    ids.extend(3, 0, 10.1, NOW + 100)
    ids.next_id(NOW + 99)
    with pytest.raises(LeaseLost):
        ids.next_id(NOW + 100)
    ids.extend(3, 0, 10.0, NOW + 100)
    with pytest.raises(LeaseLost):
        ids.next_id(NOW - 3600_000)


async def test_lost_worker_id_is_replaced(store: LeaseStore) -> None:
    """When another process took the worker id over, the same source goes on under a new one, above its old ids."""
    time = Time()
    flaky = Flaky(store)
    async with open_lease(flaky, now=time.now, clock=time.clock, renew_s=0.005) as lease:
        ids, lost = lease.source, lease.source.worker
        before = ids.next_id(time.now())
        flaky.away = True
        time.advance(LEASE_MS + SKEW_MS + 1)
        assert await store.take(lost, "rival", now=time.now(), until=time.now() + LEASE_MS) is not None
        flaky.away = False
        await wait_held(ids, True)
        assert ids.worker != lost
        assert worker_of(ids.next_id(time.now())) == ids.worker
        assert ids.next_id(time.now()) > before


async def test_lease_is_given_back_at_the_end(store: LeaseStore) -> None:
    """After the context nothing is minted and the worker id is free at once; an error of the body leaves as it is."""
    time = Time()
    lease: Lease | None = None
    last = 0

    async def run() -> None:
        nonlocal lease, last
        async with open_lease(store, now=time.now, clock=time.clock) as lease:
            last = lease.source.next_id(time.now())
            raise KeyError

    with pytest.raises(KeyError):
        await run()
    assert lease is not None
    with pytest.raises(LeaseLost):
        lease.source.next_id(time.now())
    assert await store.take(lease.source.worker, "next", now=time.now(), until=time.now()) == last
