"""What happens while MongoDB or Redis is dead or hangs: each answer comes within its deadline and is honest."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from deploy.local.mongo import LocalMongo, start_mongo
from deploy.local.process import Child, NotInstalled, exchange_bytes, free_port, start_child
from services.gateway.checkpointing import Checkpointing
from services.gateway.core.positions import Followed, Moves
from services.gateway.redis_registry import RedisRegistry
from services.gateway.redis_trails import RedisTrails
from services.gateway.registry import NOT_LIFTED, Link, RegistryUnavailable, SessionEntry
from services.groups.mongo_store import MongoGroups
from services.groups.store import Claim
from shared.core.ids import IdSource
from shared.core.stream import Draft, Head, Limits, Tail, Write, plan
from shared.core.user_events import GroupLeft
from shared.metrics import Metrics
from shared.mongo import open_database
from shared.mongo_lease import MongoLeases
from shared.mongo_streams import MongoStreams
from shared.redis_cache import RedisCache
from shared.redis_client import CONNECTIONS, RedisAway, RedisClient, open_redis
from shared.settings import CacheSettings, MongoSettings
from shared.streams import StoreUnavailable
from tests.missing import go_without

pytestmark = pytest.mark.servers

NOW = 1_790_000_000_000
DEADLINE_S = 1.5
SLACK_S = 1.0
ENTRY = SessionEntry("s1", 1, 1, (Link("node-1", 0),))


@dataclass
class Target:
    """A server of this test's own, to be killed, halted and started again at the same place."""

    start: Callable[[], Child]
    child: Child
    url: str

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self.child.kill()

    def halt(self) -> None:
        """Let it hang with its connections open (SIGSTOP); return once it stands still, which a busy machine delays."""
        pid = self.child.process.pid
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def go_on(self) -> None:
        """Let it run again after `halt`."""
        os.kill(self.child.process.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Start it again after `kill`, with its data."""
        self.child = self.start()


@pytest.fixture
def mongo(tmp_path: Path) -> Iterator[Target]:
    """Run a MongoDB that nobody else uses."""
    port = free_port()
    started: list[LocalMongo] = []

    def start() -> Child:
        started.append(start_mongo(tmp_path / "mongo", port))
        return started[-1].child

    try:
        target = Target(start, start(), started[-1].url)
    except NotInstalled as missing:
        go_without(str(missing))
    yield target
    target.kill()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Target]:
    """Run a Redis that nobody else uses."""
    binary = shutil.which("redis-server")
    if binary is None:
        go_without("redis-server is not on the PATH (Debian package redis-server)")
    port = free_port()

    def start() -> Child:
        command = [binary, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(tmp_path)]
        child = start_child("redis", command, log=tmp_path / "redis.log")
        child.wait_ready(lambda: exchange_bytes(port, b"PING\r\n", b"+PONG"), 20)
        return child

    target = Target(start, start(), f"redis://127.0.0.1:{port}/0")
    yield target
    target.kill()


@pytest.fixture
async def streams(mongo: Target) -> AsyncIterator[MongoStreams]:
    """Yield streams on the MongoDB of this test, with a short deadline."""
    settings = MongoSettings(url=mongo.url, timeout=timedelta(seconds=DEADLINE_S))
    async with open_database(settings) as database:
        yield MongoStreams(database)


@pytest.fixture
async def client(redis: Target) -> AsyncIterator[RedisClient]:
    """Yield a client of the Redis of this test."""
    async with open_redis(CacheSettings(url=redis.url)) as opened:
        yield opened


def write(tail: Tail, number: int) -> Write:
    """Return a write of one event behind this tail."""
    planned, _ = plan(tail, (Draft(GroupLeft(number, number)),), NOW, IdSource(1), Limits(), dirty=True)
    return planned


def within_deadline(started: float) -> bool:
    """Return whether less has passed since than the deadline allows."""
    return time.monotonic() - started < DEADLINE_S + SLACK_S


async def until_stored(streams: MongoStreams, planned: Write) -> None:
    """Try a write until it is stored."""
    async with asyncio.timeout(20):
        while await streams.commit([planned]) != [True]:
            pass


@pytest.mark.parametrize("fault", ["kill", "halt"])
async def test_mongo_away(mongo: Target, streams: MongoStreams, fault: str) -> None:
    """While MongoDB is dead or hangs a commit is "not surely stored" and all else is StoreUnavailable, in time.

    Once it is back the same client goes on, and what was acknowledged before is there.
    """
    first = write(Tail("u:1"), 1)
    assert await streams.commit([first]) == [True]
    getattr(mongo, fault)()
    refused: list[Callable[[], Awaitable[object]]] = [
        lambda: streams.read_head("u:1"),
        lambda: streams.read_heads(["u:1"]),
        lambda: streams.read_bucket("u:1", 1),
        lambda: streams.find_bucket_of_seq("u:1", 1),
        lambda: streams.find_bucket_of_id("u:1", 1),
        lambda: streams.raise_heads([Head("u:1", seq=1)]),
        lambda: streams.find_dirty(NOW, 1),
        lambda: streams.clean("u:1", 1, 2),
    ]

    async def refuse(question: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(StoreUnavailable):
            await question()

    started = time.monotonic()
    bulk = [write(Tail(f"u:{number}"), number) for number in range(2, 5)]
    told, *_ = await asyncio.gather(streams.commit(bulk), *(refuse(question) for question in refused))
    assert told == [False, False, False]
    assert within_deadline(started)
    if fault == "kill":
        mongo.restart()
    else:
        mongo.go_on()
    await until_stored(streams, write(first.after, 9))
    bucket = await streams.read_bucket("u:1", 1)
    assert bucket is not None
    assert [record.seq for record in bucket.records()] == [1, 2]
    assert bucket.changes[0] == first.changes[0]


async def test_unknown_outcome_meets_the_fence(mongo: Target, streams: MongoStreams) -> None:
    """A write that was told as lost may have been stored after all: then the same place is taken, never twice."""
    first = write(Tail("u:1"), 1)
    mongo.halt()
    assert await streams.commit([first]) == [False]
    mongo.go_on()
    async with asyncio.timeout(20):
        bucket = None
        while bucket is None:
            # Whether the halted server still performs what stood in its socket is up to it; if not, write it.
            await streams.commit([first])
            try:
                bucket = await streams.read_bucket("u:1", 1)
            except StoreUnavailable:
                continue
    assert await streams.commit([first]) == [False]
    assert [record.seq for record in bucket.records()] == [1]


async def test_groups_and_leases_away(mongo: Target) -> None:
    """Nothing of the driver leaves the group store or the leases either."""
    settings = MongoSettings(url=mongo.url, timeout=timedelta(seconds=DEADLINE_S))
    async with open_database(settings) as database:
        groups, leases = MongoGroups(database), MongoLeases(database)
        await database.ping()
        mongo.kill()
        started = time.monotonic()
        questions: list[Awaitable[object]] = [
            groups.claim(Claim("g:x", 1, NOW)),
            groups.remove_member(1, 2, 3),
            groups.list_members(1, 0, 10),
            groups.read_users([1]),
            leases.take(1, "a", now=NOW, until=NOW),
            leases.renew(1, "a", until=NOW),
            database.ping(),
        ]
        outcomes = await asyncio.gather(*questions, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
        assert within_deadline(started)


@pytest.mark.parametrize("fault", ["kill", "halt"])
async def test_end_without_mongo(mongo: Target, fault: str) -> None:
    """A process that ends while the database is away ends all the same, and its loop goes on meanwhile."""
    settings = MongoSettings(url=mongo.url, timeout=timedelta(seconds=DEADLINE_S))
    async with open_database(settings) as database:
        await database.ping()
        getattr(mongo, fault)()
        ending = time.monotonic()
    assert time.monotonic() - ending < 2 * DEADLINE_S + SLACK_S


async def test_start_without_mongo() -> None:
    """A process that finds no database at its start is told so within the deadline."""
    settings = MongoSettings(
        url=f"mongodb://127.0.0.1:{free_port()}/?directConnection=true", timeout=timedelta(seconds=DEADLINE_S)
    )
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        async with open_database(settings):
            pass
    assert within_deadline(started)


@pytest.mark.parametrize("fault", ["kill", "halt"])
async def test_redis_away(redis: Target, client: RedisClient, fault: str) -> None:
    """While Redis is dead or hangs the cache is empty, the registry says so, nobody waits long, one line is logged.

    Once it is back both work again.
    """
    cache, registry = RedisCache(client), RedisRegistry(client)
    assert await cache.put("k", 1, b"one", ttl_s=60)
    assert await registry.claim(ENTRY, ttl_s=60)
    getattr(redis, fault)()
    with capture_logs() as logs:
        started = time.monotonic()
        for _ in range(200):
            assert await cache.get("k") is None
            assert not await cache.put("k", 2, b"two", ttl_s=60)
            await cache.drop("k", 3)
            with pytest.raises(RegistryUnavailable):
                await registry.read("s1")
            with pytest.raises(RegistryUnavailable):
                await registry.touch("s1", 1, NOT_LIFTED, ttl_s=60)
        assert time.monotonic() - started < DEADLINE_S
        if fault == "kill":
            redis.restart()
        else:
            redis.go_on()
        async with asyncio.timeout(10):
            while not await cache.put("k", 4, b"four", ttl_s=60):
                await asyncio.sleep(0.02)
        assert await cache.get("k") == (4, b"four")
        assert (await registry.read("s1") == ENTRY) is (fault == "halt")
    assert [line["event"] for line in logs] == ["redis_lost", "redis_found"]


async def test_restarted_redis_costs_nothing(redis: Target, client: RedisClient) -> None:
    """A pooled connection of before a restart is replaced within the same question."""
    cache = RedisCache(client)
    assert await cache.put("k", 1, b"one", ttl_s=60)
    redis.kill()
    redis.restart()
    assert await cache.put("k", 2, b"two", ttl_s=60)


async def test_a_crowd_opens_few_connections(redis: Target) -> None:
    """Of many questions at once some wait; and a connection says nothing before them that it need not say."""
    async with open_redis(CacheSettings(url=redis.url, timeout=timedelta(seconds=10))) as client:
        assert await asyncio.gather(*(client.get(f"k{number}") for number in range(1000))) == [None] * 1000
        info = (await client.script("return redis.call('INFO', 'everything')")((), ())).decode()
    told = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    assert int(told["connected_clients"]) <= CONNECTIONS
    said = {name.removeprefix("cmdstat_") for name in told if name.startswith("cmdstat_")}
    assert said - {"ping"} == {"hello", "get", "evalsha", "script|load"}


async def test_slow_answer_is_never_taken_for_the_next(redis: Target, client: RedisClient) -> None:
    """An answer that comes after its deadline is not read as the answer to a later question."""
    cache = RedisCache(client)
    for number in range(8):
        assert await cache.put(f"k{number}", number, b"%d" % number, ttl_s=60)
    redis.halt()
    late = [cache.get(f"k{number}") for number in range(8)]
    assert await asyncio.gather(*late) == [None] * 8
    redis.go_on()
    async with asyncio.timeout(10):
        while True:
            try:
                await client.get("nothing")
                break
            except RedisAway:
                await asyncio.sleep(0.02)
    assert [await cache.get(f"k{number}") for number in range(8)] == [(n, b"%d" % n) for n in range(8)]


async def test_a_trail_survives_redis(redis: Target, client: RedisClient) -> None:
    """A Redis that was killed and comes back empty is told the whole trail; a node that dies then is placed exactly."""
    trails, moves, sent, restored = RedisTrails(client), Moves("node.1", keep=100), 0, asyncio.Event()
    moves.begin("c:1", 0, 0)
    checkpointing = Checkpointing(
        moves,
        trails,
        "node.1",
        lambda: sent,
        interval_s=0.02,
        ttl_s=60,
        metrics=Metrics(),
        restored=restored.set,
        clock=time.monotonic,
    )

    def send() -> None:
        nonlocal sent
        sent += 1
        moves.note("c:1", sent)

    running = asyncio.ensure_future(checkpointing.run())
    try:
        for is_dead in (False, True, False):
            if is_dead:
                redis.kill()
                async with asyncio.timeout(10):
                    while checkpointing.statistics()["lag_seconds"] < 0.1:
                        send()
                        await asyncio.sleep(0.01)
                restored.clear()
                redis.restart()
                continue
            send()
            async with asyncio.timeout(20):
                await restored.wait()
            send()
            assert await checkpointing.write_now()
            trail = await trails.read("node.1")
            assert trail is not None
            placed = trail.place(sent)
            assert placed is not None
            assert (placed.s, placed.position_of("c:1")) == (sent, Followed(sent, 0))
            assert trail.place(1) is not None
    finally:
        running.cancel()
