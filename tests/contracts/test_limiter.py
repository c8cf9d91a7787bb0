"""Contract of the limiter: memory and Redis count the same; Redis counts for all processes, or each does alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest

from shared.limiter import Limiter, LocalLimiter
from shared.redis_client import open_redis
from shared.redis_limiter import RedisLimiter
from shared.settings import CacheSettings

NOW = 1_790_000_000_000
PER_MINUTE = 6


@dataclass
class Clock:
    """A time that tests set."""

    now: int = NOW

    def __call__(self) -> int:
        """Return it."""
        return self.now


@dataclass
class Scene:
    """A clock, and limiters of processes that go by it."""

    clock: Clock
    open: Callable[[str], Limiter]


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """Yield limiters of either kind."""
    clock = Clock()
    if request.param == "memory":
        yield Scene(clock, lambda name: LocalLimiter(PER_MINUTE, clock))
        return
    prefix = uuid4().hex
    async with open_redis(request.getfixturevalue("redis_settings")) as client:
        yield Scene(clock, lambda name: RedisLimiter(client, prefix, name, PER_MINUTE, clock))


async def wait(limiter: Limiter, key: str) -> float:
    """Spend once; return how long to wait."""
    return (await limiter.spend(key)).wait_s


async def test_what_is_left_is_told(scene: Scene) -> None:
    """After each use and refusal: how many are left, and when all are there again; a part of one is none."""
    limiter = scene.open("logins")
    for left in reversed(range(PER_MINUTE)):
        told = await limiter.spend("ann")
        assert (told.limit, told.remaining) == (PER_MINUTE, left)
        assert told.reset_s == pytest.approx(10 * (PER_MINUTE - left), abs=0.01)
    scene.clock.now += 5_000
    told = await limiter.spend("ann")
    assert told == pytest.approx((5.0, PER_MINUTE, 0, 55.0), abs=0.01)
    scene.clock.now += 10_000
    told = await limiter.spend("ann")
    assert told == pytest.approx((0.0, PER_MINUTE, 0, 55.0), abs=0.01)
    scene.clock.now += 30_000
    assert (await limiter.spend("ann")).remaining == 2


async def test_so_many_at_once_then_one_after_the_other(scene: Scene) -> None:
    """A full budget is used at once; then each wait that is told is enough, and no less is."""
    limiter = scene.open("logins")
    assert [await wait(limiter, "ann") for _ in range(PER_MINUTE)] == [0.0] * PER_MINUTE
    assert await wait(limiter, "ann") == pytest.approx(10, abs=0.01)
    scene.clock.now += 9_900
    assert await wait(limiter, "ann") == pytest.approx(0.1, abs=0.01)
    scene.clock.now += 101
    assert [await wait(limiter, "ann"), (await wait(limiter, "ann")) > 0] == [0.0, True]
    scene.clock.now += 60_001
    assert [await wait(limiter, "ann") for _ in range(PER_MINUTE)] == [0.0] * PER_MINUTE


async def test_keys_do_not_know_of_each_other(scene: Scene) -> None:
    """Whoever used a budget up is refused, and nobody else; any text is a key."""
    limiter = scene.open("logins")
    for _ in range(PER_MINUTE):
        await limiter.spend("ann")
    assert await wait(limiter, "ann") > 0
    for key in ("bob", "", "ann ", "x" * 5_000, "☂ {a}:b\n"):
        assert await wait(limiter, key) == 0.0
    assert await wait(scene.open("registrations"), "ann") == 0.0


async def test_at_once(scene: Scene) -> None:
    """Of many that come together as many get through as there is room for."""
    limiter = scene.open("logins")
    waits = await asyncio.gather(*(wait(limiter, "ann") for _ in range(PER_MINUTE * 3)))
    assert sum(one == 0.0 for one in waits) == PER_MINUTE


@pytest.mark.servers
async def test_processes_count_together(redis_settings: CacheSettings) -> None:
    """What one used up is used up for all."""
    prefix, clock = uuid4().hex, Clock()
    async with open_redis(redis_settings) as one, open_redis(redis_settings) as two:
        limiters = [RedisLimiter(client, prefix, "logins", PER_MINUTE, clock) for client in (one, two)]
        waits = [await wait(limiters[place % 2], "ann") for place in range(PER_MINUTE + 2)]
    assert [one > 0 for one in waits] == [False] * PER_MINUTE + [True] * 2


async def test_without_redis_each_process_counts_alone() -> None:
    """An outage neither lets everything through nor nothing."""
    async with open_redis(CacheSettings(url="redis://127.0.0.1:1/0")) as client:
        limiter = RedisLimiter(client, "test", "logins", PER_MINUTE, Clock())
        waits = [await wait(limiter, "ann") for _ in range(PER_MINUTE + 2)]
    assert [one > 0 for one in waits] == [False] * PER_MINUTE + [True] * 2
