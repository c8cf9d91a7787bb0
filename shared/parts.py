"""What all services of one process share: connections, clock, name, tasks. Opened once, closed in reverse.

Ring 5 (composition). Which implementation stands behind a seam is decided here, by the URL in the settings.
Each service's `app.py` builds its own collaborators from these; `services.__main__` puts it all together.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import uuid4

from shared.amqp import open_amqp_bus
from shared.auth import Tokens
from shared.bus import Bus
from shared.cache import Cache
from shared.clock import now_ms
from shared.core.ids import IdSource
from shared.http import Probe
from shared.kept_access import KeptAccess
from shared.lease import Lease, open_lease
from shared.lifecycle import Supervisor
from shared.limiter import Limiter, LocalLimiter
from shared.memory_bus import MemoryBus
from shared.memory_cache import MemoryCache
from shared.metrics import Metrics
from shared.mongo import Mongo, open_database
from shared.mongo_lease import MongoLeases
from shared.mongo_streams import MongoStreams
from shared.reach import ANSWER_S, Reach
from shared.redis_cache import RedisCache
from shared.redis_client import RedisClient, open_redis
from shared.redis_limiter import RedisLimiter
from shared.settings import Settings
from shared.streams import StreamStore
from shared.topology import Topology

_AGES_S: Final = (0.1, 0.5, 1, 5, 10, 30, 60, 120, 300)


@dataclass(frozen=True)
class Storage:
    """The database and what stands on it. `ids` mints only while the worker id's lease holds.

    `reach` tells whether the database answers this process.
    """

    mongo: Mongo
    streams: StreamStore
    lease: Lease
    reach: Reach

    @property
    def ids(self) -> IdSource:
        """The source of ids of this process."""
        return self.lease.source


@dataclass(frozen=True)
class Parts:
    """Collaborators that every service of this process gets.

    `node` names the process on the bus, in logs and in session ids. `now` is Unix ms. Tasks started in `supervisor` end
    before any service closes. `redis` is None where the cache is this process's memory.
    """

    settings: Settings
    node: str
    now: Callable[[], int]
    metrics: Metrics
    topology: Topology
    bus: Bus
    cache: Cache
    redis: RedisClient | None
    tokens: Tokens
    supervisor: Supervisor
    stored: Storage | None

    @property
    def storage(self) -> Storage:
        """The database; only for services that were opened with one."""
        if self.stored is None:
            raise RuntimeError("this process was opened without a database")
        return self.stored

    def limiter(self, name: str, per_minute: int) -> Limiter:
        """Return what counts something of this name: in all processes, or in this one where there is no Redis."""
        if self.redis is None:
            return LocalLimiter(per_minute, self.now)
        return RedisLimiter(self.redis, self.settings.bus.prefix, name, per_minute, self.now)

    def kept_access(self, service: str) -> KeptAccess:
        """Return what a service keeps of access in this process's memory; once for each service."""
        age = self.metrics.histogram(
            f"starling_{service}_cached_access_process_age_seconds",
            "how long access that was used had been kept in the process",
            buckets=_AGES_S,
        )
        return KeptAccess(self.storage.streams, self.settings.cache.process_bytes, observe=age.observe)

    def probes(self) -> Mapping[str, Probe]:
        """Return what `/readyz` asks: the parts without which no request can be served (a cache is not one)."""

        async def bus() -> bool:
            return self.bus.connected

        async def database() -> bool:
            await self.storage.mongo.ping()
            return True

        async def worker_id() -> bool:
            return self.storage.lease.source.held

        found: dict[str, Probe] = {"bus": bus}
        if self.stored is not None:
            found |= {"database": database, "worker_id": worker_id}
        return found


def node_name(settings: Settings) -> str:
    """Return the configured name of this process, or one made of the host's and something unique."""
    if settings.node:
        return settings.node
    host = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower())[:32].strip("-") or "node"
    return f"{host}-{uuid4().hex[:8]}"


@asynccontextmanager
async def open_parts(
    settings: Settings, *, mongo: bool, node: str = "", now: Callable[[], int] = now_ms
) -> AsyncIterator[Parts]:
    """Open what the settings name; `mongo` for services that own data.

    Raises `StoreUnavailable` when the database does not answer, `SchemaTooNew` when a later release wrote it,
    `SettingChanged` when the number of shards is not the one that it was begun with. A broker or a cache that is away
    does not hold up the start: `/readyz` tells.
    """
    name = node or node_name(settings)
    async with AsyncExitStack() as stack:
        redis = None
        if not settings.cache.url.startswith("memory:"):
            redis = await stack.enter_async_context(open_redis(settings.cache))
        bus: Bus = MemoryBus()
        if not settings.bus.url.startswith("memory:"):
            bus = await stack.enter_async_context(open_amqp_bus(settings.bus.url, name=name))
        stored = None
        if mongo:
            database = await stack.enter_async_context(open_database(settings.mongo))
            await database.require_fixed("shards", settings.bus.shards)  # else a channel would have two sequencers
            lease = await stack.enter_async_context(open_lease(MongoLeases(database), now=now))
            reach = Reach(partial(database.ping, ANSWER_S), lambda: database.answers)
            stored = Storage(database, MongoStreams(database), lease, reach)
        supervisor = await stack.enter_async_context(Supervisor("node"))
        if stored is not None:
            supervisor.start("reach", stored.reach.run())
        yield Parts(
            settings=settings,
            node=name,
            now=now,
            metrics=_metrics(),
            topology=Topology(
                settings.bus.prefix, settings.bus.shards, settings.bus.user_slots, settings.bus.exchange_partitions
            ),
            bus=bus,
            cache=MemoryCache() if redis is None else RedisCache(redis, settings.bus.prefix),
            redis=redis,
            tokens=Tokens(
                settings.auth.secret.get_secret_value(),
                *(older.get_secret_value() for older in settings.auth.older_secrets),
            ),
            supervisor=supervisor,
            stored=stored,
        )


def _metrics() -> Metrics:
    metrics = Metrics()
    metrics.watch("starling_loop", "The process's event loop", lambda: {"tasks": len(asyncio.all_tasks())})
    return metrics
