"""Contract of the trails: memory and Redis store a checkpoint and its table together, in order, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

import pytest

from services.gateway.core.positions import Changes, Followed, Moves, Trail
from services.gateway.memory_trails import MemoryTrails
from services.gateway.redis_trails import AT_ONCE, RedisTrails
from services.gateway.trails import Trails, TrailsUnavailable
from shared.core.ids import MAX_ID
from shared.redis_client import RedisClient, open_redis
from shared.settings import CacheSettings

LONG = 60.0
SHORT = 0.02
NODE = "node-1.☂"
STREAM = f"c:{MAX_ID}"


@dataclass
class Subject:
    """Trails, and how to let a hundredth of a second pass for them."""

    trails: Trails
    tick: Callable[[], Awaitable[None]]


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """Yield an empty store of either kind."""
    if request.param == "memory":
        now = 1000.0

        async def advance() -> None:
            nonlocal now
            now += 0.01

        yield Subject(MemoryTrails(clock=lambda: now), advance)
        return
    async with open_redis(request.getfixturevalue("redis_settings")) as client:
        yield Subject(RedisTrails(client, prefix=f"test-{uuid4().hex}"), lambda: asyncio.sleep(0.01))


@pytest.fixture
async def redis_client(redis_settings: CacheSettings) -> AsyncIterator[RedisClient]:
    """Yield a client of a real Redis."""
    async with open_redis(redis_settings) as client:
        yield client


def taken(moves: Moves, s: int) -> Changes:
    """Return the changes of the next checkpoint."""
    changes = moves.take(s, always=True)
    assert changes is not None
    return changes


async def test_a_trail_is_read_as_it_was_written(subject: Subject) -> None:
    """What was appended to a rewritten trail is what the node has: checkpoints in order, table, what is gone."""
    moves = Moves(NODE, keep=3)
    moves.begin(STREAM, 2**40, 7)
    moves.begin("u:1", 1, 7)
    written = moves.take_all(8)
    await subject.trails.rewrite(written, ttl_s=LONG)
    assert await subject.trails.read(NODE) == written
    assert await subject.trails.newest(NODE) == written.number
    assert await subject.trails.newest("nobody") is None
    moves.end("u:1")
    for seq in range(2**40 + 1, 2**40 + 13):
        moves.note(STREAM, seq)
        changes = taken(moves, seq % 100)
        written = written.after(changes)
        assert await subject.trails.append(NODE, changes, ttl_s=LONG)
        assert await subject.trails.newest(NODE) == written.number
        assert await subject.trails.read(NODE) == written
    assert written.table == {STREAM: Followed(2**40 + 12, 7)}
    assert [one.number for one in written.checkpoints] == [11, 12, 13]
    assert await subject.trails.read("node-1") is None


async def test_only_the_next_checkpoint_is_appended(subject: Subject) -> None:
    """What does not follow is refused and changes nothing; the newest may be told again."""
    moves = Moves(NODE, keep=10)
    moves.begin("c:1", 5, 0)
    first = taken(moves, 1)
    assert not await subject.trails.append(NODE, first, ttl_s=LONG)
    assert await subject.trails.read(NODE) is None
    await subject.trails.rewrite(Trail(NODE, (first.checkpoint,), first.changed), ttl_s=LONG)
    moves.note("c:1", 6)
    second = taken(moves, 2)
    moves.note("c:1", 7)
    third = taken(moves, 3)
    assert not await subject.trails.append(NODE, third, ttl_s=LONG)
    for _ in range(2):
        assert await subject.trails.append(NODE, second, ttl_s=LONG)
    assert await subject.trails.append(NODE, third, ttl_s=LONG)
    assert not await subject.trails.append(NODE, second, ttl_s=LONG)
    trail = await subject.trails.read(NODE)
    assert trail is not None
    assert (trail.number, trail.table) == (3, {"c:1": Followed(7, 0)})


async def test_a_rewrite_replaces_only_what_is_older(subject: Subject) -> None:
    """A rewrite that comes late changes nothing, and leaves nothing of what it replaces."""
    moves = Moves(NODE, keep=2)
    moves.begin("c:1", 1, 0)
    old = moves.take_all(1)
    moves.end("c:1")
    moves.begin("c:2", 1, 1)
    for s in (2, 3, 4):
        new = moves.take_all(s)
    await subject.trails.rewrite(old, ttl_s=LONG)
    for trail in (new, old, new):
        await subject.trails.rewrite(trail, ttl_s=LONG)
        assert await subject.trails.read(NODE) == new
    assert list(new.table) == ["c:2"]


async def test_a_large_trail_is_written_whole(subject: Subject) -> None:
    """A trail of more streams than are written at once is read as it was."""
    moves = Moves(NODE, keep=4)
    for number in range(2 * AT_ONCE + 1):
        moves.begin(f"c:{number}", number, number)
    written = moves.take_all(10_000)
    await subject.trails.rewrite(written, ttl_s=LONG)
    assert await subject.trails.read(NODE) == written


async def test_a_trail_is_read_as_of_one_moment(subject: Subject) -> None:
    """Whoever reads a trail while its node writes gets all of one checkpoint, or is told that it can't be had."""
    streams = [f"c:{number}" for number in range(2 * AT_ONCE)]
    moves = Moves(NODE, keep=100)
    for stream in streams:
        moves.begin(stream, 1, 0)
    await subject.trails.rewrite(moves.take_all(1), ttl_s=LONG)
    is_read = asyncio.Event()

    async def write() -> None:
        seq = 1
        while not is_read.is_set():
            seq += 1
            for stream in streams[:: AT_ONCE // 2]:
                moves.note(stream, seq)
            assert await subject.trails.append(NODE, taken(moves, seq), ttl_s=LONG)
            await asyncio.sleep(0.02)

    writing = asyncio.ensure_future(write())
    for _ in range(5):
        with suppress(TrailsUnavailable):
            trail = await subject.trails.read(NODE)
            assert trail is not None
            assert {trail.table[stream].seq for stream in streams[:: AT_ONCE // 2]} == {trail.checkpoints[-1].s}
        await asyncio.sleep(0)
    is_read.set()
    await writing


@pytest.mark.servers
async def test_what_can_not_be_understood_is_no_trail(redis_client: RedisClient) -> None:
    """A trail that another release wrote in another way ends in no trail, not in an error."""
    prefix = f"test-{uuid4().hex}"
    spoil = redis_client.script("return redis.call('HSET', KEYS[1], '#', '1', 'c:1', 'no row')")
    await spoil((f"{prefix}:trail:{{{NODE}}}",), ())
    assert await RedisTrails(redis_client, prefix).read(NODE) is None


async def test_a_trail_expires_unless_written(subject: Subject) -> None:
    """A trail is gone after its time to live, which each write begins anew; then it is to be rewritten."""
    moves = Moves(NODE, keep=4)
    await subject.trails.rewrite(moves.take_all(1), ttl_s=SHORT)
    assert await subject.trails.append(NODE, taken(moves, 1), ttl_s=LONG)
    for _ in range(5):
        await subject.tick()
    assert await subject.trails.append(NODE, taken(moves, 1), ttl_s=SHORT)
    async with asyncio.timeout(5):
        while await subject.trails.read(NODE) is not None:
            await subject.tick()
    assert not await subject.trails.append(NODE, taken(moves, 1), ttl_s=LONG)


async def test_memory_is_bounded() -> None:
    """Beyond its bound the memory loses the trail that was written longest ago."""
    trails = MemoryTrails(max_nodes=2)
    for node in ("a", "b"):
        await trails.rewrite(Moves(node, keep=2).take_all(1), ttl_s=LONG)
    moves = Moves("a", keep=2)
    for s in (2, 3):
        await trails.rewrite(moves.take_all(s), ttl_s=LONG)
    await trails.rewrite(Moves("c", keep=2).take_all(1), ttl_s=LONG)
    assert [node for node in "abc" if await trails.read(node) is not None] == ["a", "c"]
