"""Worker ids for snowflakes: leased, renewed, and never used past their time.

Ring 2. Two processes with one worker id could mint one id twice, so a worker id belongs to whoever holds its
lease, and the `IdSource` of a lease refuses to mint once the lease may have run out, whatever else hangs.
The margin against skewed clocks: a lease is taken over only `SKEW_MS` after its end.
Implementations: `MemoryLeases` (here) and `shared.mongo_lease.MongoLeases`; tests/contracts/test_lease.py.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import uuid4

import structlog

from shared.clock import now_ms
from shared.core.errors import Unavailable
from shared.core.ids import WORKERS, IdSource
from shared.streams import StoreUnavailable

LEASE_MS: Final = 30_000
RENEW_MS: Final = 10_000
SKEW_MS: Final = 60_000

_log = structlog.get_logger(__name__)


class LeaseLost(Unavailable):
    """The process may not mint ids at the moment; it tries to lease a worker id again."""


class LeaseStore(Protocol):
    """Leases by worker id. Times are Unix ms. All raise `StoreUnavailable`."""

    async def take(self, worker: int, holder: str, *, now: int, until: int) -> int | None:
        """Lease a worker id that is released, or ran out `SKEW_MS` ago; None if another holds it.

        Returns an id that no id minted under this worker id before it was released is above.
        """

    async def renew(self, worker: int, holder: str, *, until: int) -> bool:
        """Hold it longer; False if it is no longer ours."""

    async def release(self, worker: int, holder: str, last_id: int) -> None:
        """Give it back at once, telling the last id minted; nothing happens if it is no longer ours."""


class LeasedIds(IdSource):
    """An `IdSource` that mints only while its lease surely holds. `clock` counts seconds and never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(0)
        self._clock = clock
        self._good_until = 0.0
        self._good_until_ms = 0

    @property
    def held(self) -> bool:
        """Whether the lease holds by the monotonic clock, for readiness."""
        return self._clock() < self._good_until

    @property
    def last_id(self) -> int:
        """The last id that was minted here, or the one to begin above."""
        return self._last

    def next_id(self, now_ms: int, after: int = 0) -> int:
        """Return the next id, as `IdSource`. Raises `LeaseLost`.

        Both clocks must agree that the lease holds: the monotonic one stands still while a virtual machine is
        paused, and the wall clock can be set back.
        """
        if self._clock() >= self._good_until or now_ms >= self._good_until_ms:
            raise LeaseLost
        return super().next_id(now_ms, after)

    def extend(self, worker: int, last_id: int, good_until: float, good_until_ms: int) -> None:
        """Mint under this worker id, above `last_id`, until then (seconds of `clock`, and Unix ms)."""
        self.worker = worker
        self._last = max(self._last, last_id)
        self._good_until = good_until
        self._good_until_ms = good_until_ms

    def stop(self) -> None:
        """Mint no more until extended."""
        self._good_until = 0.0


@dataclass(slots=True)
class _Row:
    holder: str
    until: int
    last_id: int = 0


class MemoryLeases:
    """A `LeaseStore` without a server."""

    def __init__(self) -> None:
        self._rows: dict[int, _Row] = {}

    async def take(self, worker: int, holder: str, *, now: int, until: int) -> int | None:
        """Lease a worker id; None if another holds it."""
        row = self._rows.get(worker)
        if row is not None and row.until >= now - SKEW_MS:
            return None
        self._rows[worker] = _Row(holder, until)
        return row.last_id if row is not None else 0

    async def renew(self, worker: int, holder: str, *, until: int) -> bool:
        """Hold it longer; False if it is no longer ours."""
        row = self._rows.get(worker)
        if row is None or row.holder != holder:
            return False
        row.until = until
        return True

    async def release(self, worker: int, holder: str, last_id: int) -> None:
        """Give it back at once."""
        row = self._rows.get(worker)
        if row is not None and row.holder == holder:
            self._rows[worker] = _Row("", 0, last_id)


class Lease:
    """One process's hold on a worker id, `source` for all who mint there. Made by `open_lease`.

    When a lease is lost the same `source` goes on under another worker id, above all it minted before.
    """

    def __init__(self, store: LeaseStore, now: Callable[[], int], clock: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._clock = clock
        self._holder = uuid4().hex
        self._leased = False
        self.source = LeasedIds(clock)

    async def take(self) -> None:
        """Lease any free worker id. Raises `StoreUnavailable`, `LeaseLost` if all are taken."""
        start = random.randrange(WORKERS)  # noqa: S311 (spreads processes, keeps no secret)
        for worker in (*range(start, WORKERS), *range(start)):
            now, clock = self._now(), self._clock()
            last_id = await self._store.take(worker, self._holder, now=now, until=now + LEASE_MS)
            if last_id is not None:
                self._leased = True
                self.source.extend(worker, last_id, clock + LEASE_MS / 1000, now + LEASE_MS)
                _log.info("worker_id_leased", worker=worker)
                return
        raise LeaseLost("All worker ids are taken")

    async def renew(self) -> None:
        """Hold the worker id longer, or take another. Raises as `take`."""
        if self._leased:
            # The times are from before the question: the lease is good at least so long.
            now, clock = self._now(), self._clock()
            worker = self.source.worker
            if await self._store.renew(worker, self._holder, until=now + LEASE_MS):
                self.source.extend(worker, 0, clock + LEASE_MS / 1000, now + LEASE_MS)
                return
            self._leased = False
            self.source.stop()
            _log.warning("worker_id_lost", worker=worker)
        await self.take()

    async def keep(self, renew_s: float) -> None:
        """Renew for ever; a store that is away is asked again soon, and the guard does the rest."""
        pause_s = renew_s
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self.renew()
            except (StoreUnavailable, LeaseLost):
                pause_s = renew_s / 10
            else:
                pause_s = renew_s

    async def release(self) -> None:
        """Mint no more, then give the worker id back; if the store is away it runs out by itself."""
        self.source.stop()
        if self._leased:
            with suppress(StoreUnavailable):
                await self._store.release(self.source.worker, self._holder, self.source.last_id)


@asynccontextmanager
async def open_lease(
    store: LeaseStore,
    *,
    now: Callable[[], int] = now_ms,
    clock: Callable[[], float] = time.monotonic,
    renew_s: float = RENEW_MS / 1000,
) -> AsyncIterator[Lease]:
    """Hold a worker id until the context ends, and give it back then.

    `now` is Unix ms, `clock` counts seconds and never goes back. Raises `StoreUnavailable`, `LeaseLost` if all
    are taken; what the body raises leaves as it is.
    """
    lease = Lease(store, now, clock)
    await lease.take()
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            renewal = tasks.create_task(lease.keep(renew_s), name="worker-id-lease")
            try:
                yield lease
            except Exception as error:  # raised below: out of here the group would wrap it
                failure = error
            finally:
                renewal.cancel()
    finally:
        await lease.release()
    if failure is not None:
        raise failure
