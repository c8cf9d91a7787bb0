"""Contract of the cache: memory and Redis keep the newest version, forget on time, and lose nothing but speed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest

from shared.cache import Cache
from shared.memory_cache import ENTRY_BYTES, MemoryCache
from shared.redis_cache import RedisCache
from shared.redis_client import open_redis
from shared.settings import CacheSettings

LONG = 60.0
SHORT = 0.02


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Subject:
    """A cache, and how to let a hundredth of a second pass for it."""

    cache: Cache
    tick: Callable[[], Awaitable[None]]

    async def wait_gone(self, key: str) -> None:
        """Let time pass until nothing is under the key."""
        async with asyncio.timeout(5):
            while await self.cache.get(key) is not None:
                await self.tick()

    async def wait_put(self, key: str, version: int) -> None:
        """Let time pass until this version is taken."""
        async with asyncio.timeout(5):
            while not await self.cache.put(key, version, b"late", ttl_s=LONG):
                await self.tick()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """Yield an empty cache of either kind."""
    if request.param == "memory":
        clock = Clock()

        async def advance() -> None:
            clock.now += 0.01

        yield Subject(MemoryCache(clock=clock), advance)
        return
    async with open_redis(request.getfixturevalue("redis_settings")) as client:
        yield Subject(RedisCache(client, prefix=f"test-{uuid4().hex}"), lambda: asyncio.sleep(0.01))


async def test_value_is_kept_as_put(subject: Subject) -> None:
    """Any bytes come back with their version, under their own key only."""
    value = bytes(range(256)) * 40
    assert await subject.cache.get("g:{1}") is None
    assert await subject.cache.put("g:{1}", (1 << 63) - 1, value, ttl_s=LONG)
    assert await subject.cache.put("g:2", 0, b"", ttl_s=LONG)
    assert await subject.cache.get("g:{1}") == ((1 << 63) - 1, value)
    assert await subject.cache.get("g:2") == (0, b"")
    assert await subject.cache.get("g:3") is None


async def test_many_at_once(subject: Subject) -> None:
    """What is there comes with its version, what is not is left out."""
    for number in range(5):
        await subject.cache.put(f"k{number}", number, b"%d" % number, ttl_s=LONG)
    await subject.cache.drop("k3", 9)
    assert await subject.cache.get_many(["k1", "k3", "k9", "k4"]) == {"k1": (1, b"1"), "k4": (4, b"4")}
    assert await subject.cache.get_many([]) == {}


async def test_older_never_follows_newer(subject: Subject) -> None:
    """A slow reader cannot put an older version over a newer one, however close they are."""
    newest = (1 << 60) + 1
    assert await subject.cache.put("k", newest, b"new", ttl_s=LONG)
    assert not await subject.cache.put("k", newest - 1, b"old", ttl_s=LONG)
    assert not await subject.cache.put("k", 9, b"old", ttl_s=LONG)
    assert await subject.cache.get("k") == (newest, b"new")
    assert await subject.cache.put("k", newest, b"again", ttl_s=LONG)
    assert await subject.cache.put("k", newest + 1, b"newer", ttl_s=LONG)
    assert await subject.cache.get("k") == (newest + 1, b"newer")


async def test_drop_forgets_and_refuses(subject: Subject) -> None:
    """After a drop what was read before it cannot come back; what already knows of it can."""
    await subject.cache.put("k", 5, b"five", ttl_s=LONG)
    await subject.cache.drop("k", 7, ttl_s=LONG)
    assert await subject.cache.get("k") is None
    assert not await subject.cache.put("k", 6, b"six", ttl_s=LONG)
    await subject.cache.drop("k", 6, ttl_s=LONG)
    assert not await subject.cache.put("k", 6, b"six", ttl_s=LONG)
    assert await subject.cache.put("k", 7, b"seven", ttl_s=LONG)
    assert await subject.cache.get("k") == (7, b"seven")


async def test_late_drop_keeps_what_is_newer(subject: Subject) -> None:
    """A drop that comes after a value of its version or above does not take that value away."""
    await subject.cache.put("k", 7, b"seven", ttl_s=LONG)
    await subject.cache.drop("k", 5, ttl_s=LONG)
    await subject.cache.drop("k", 7, ttl_s=LONG)
    assert await subject.cache.get("k") == (7, b"seven")
    assert not await subject.cache.put("k", 6, b"six", ttl_s=LONG)


async def test_drop_before_any_put(subject: Subject) -> None:
    """A drop of a key that nobody put yet still refuses the older value that is on its way."""
    await subject.cache.drop("k", 3)
    assert not await subject.cache.put("k", 2, b"two", ttl_s=LONG)
    assert await subject.cache.put("k", 3, b"three", ttl_s=LONG)


async def test_value_expires(subject: Subject) -> None:
    """A value is gone after its time to live, and any version may be put then."""
    await subject.cache.put("k", 5, b"five", ttl_s=SHORT)
    await subject.cache.put("other", 5, b"five", ttl_s=LONG)
    await subject.wait_gone("k")
    assert await subject.cache.put("k", 1, b"one", ttl_s=LONG)
    assert await subject.cache.get("other") == (5, b"five")


async def test_refusal_expires(subject: Subject) -> None:
    """A drop refuses for its own time, no longer."""
    await subject.cache.drop("k", 5, ttl_s=SHORT)
    await subject.wait_put("k", 4)
    assert await subject.cache.get("k") == (4, b"late")


async def test_refusal_outlives_a_short_value(subject: Subject) -> None:
    """A value that is put and expires within the time of a drop does not end the refusal."""
    await subject.cache.drop("k", 5, ttl_s=LONG)
    await subject.cache.put("k", 6, b"six", ttl_s=SHORT)
    await subject.wait_gone("k")
    assert not await subject.cache.put("k", 4, b"four", ttl_s=LONG)


async def test_racing_puts_leave_the_newest(subject: Subject) -> None:
    """Of many at once the highest version stays."""
    await asyncio.gather(*(subject.cache.put("k", version, b"%d" % version, ttl_s=LONG) for version in range(40)))
    assert await subject.cache.get("k") == (39, b"39")


async def test_memory_is_bounded() -> None:
    """Beyond its bytes the memory cache loses what was used longest ago, and refuses what can never fit."""
    cache = MemoryCache(max_bytes=3 * (ENTRY_BYTES + 100))
    for key in "abc":
        assert await cache.put(key, 1, b"x" * 99, ttl_s=LONG)
    assert await cache.get("a") is not None
    assert await cache.put("d", 1, b"x" * 99, ttl_s=LONG)
    assert [key for key in "abcd" if await cache.get(key) is not None] == ["a", "c", "d"]
    assert not await cache.put("e", 1, b"x" * 2000, ttl_s=LONG)
    assert cache.statistics() == {"entries": 3, "bytes": 3 * (ENTRY_BYTES + 100)}
    for number in range(100):
        await cache.drop(f"{number}", 1)
    assert cache.statistics()["bytes"] <= 3 * (ENTRY_BYTES + 100)


@pytest.mark.servers
async def test_value_without_its_version_key_is_still_newer(redis_settings: CacheSettings) -> None:
    """When Redis evicts the version and keeps the value, an older value still cannot take its place."""
    prefix = f"test-{uuid4().hex}"
    async with open_redis(redis_settings) as client:
        cache = RedisCache(client, prefix)
        await cache.put("k", 9, b"nine", ttl_s=LONG)
        evict = client.script("return redis.call('DEL', KEYS[1])")
        assert await evict((f"{prefix}:cache:{{k}}:version",), ()) == 1
        assert not await cache.put("k", 8, b"eight", ttl_s=LONG)
        assert await cache.get("k") == (9, b"nine")
