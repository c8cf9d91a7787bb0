"""Contract of the leases of presence: memory and Redis keep what each node says of a user, for the time of a lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest

from services.gateway.presence_leases import LeasesUnavailable, MemoryPresenceLeases, PresenceLeases
from services.gateway.redis_presence_leases import AT_ONCE, RedisPresenceLeases
from shared.core.ids import MAX_ID
from shared.core.model import OFFLINE, ONLINE, Activity, Presence
from shared.redis_client import open_redis
from shared.settings import CacheSettings

LONG, SHORT = 60.0, 0.02
BUSY = Presence("dnd", (Activity("chess ☂", 2, "won", None, 1_700_000_000_123),))


@dataclass
class Subject:
    """Leases, and how to let a hundredth of a second pass for them."""

    leases: PresenceLeases
    tick: Callable[[], Awaitable[None]]


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """Yield an empty store of either kind."""
    if request.param == "memory":
        now = 1000.0

        async def advance() -> None:
            nonlocal now
            now += 0.01

        yield Subject(MemoryPresenceLeases(lambda: now), advance)
        return
    async with open_redis(request.getfixturevalue("redis_settings")) as client:
        yield Subject(RedisPresenceLeases(client, prefix=f"test-{uuid4().hex}"), lambda: asyncio.sleep(0.01))


async def test_each_node_says_its_own(subject: Subject) -> None:
    """What one node says replaces what it said; who is offline there is dropped there, and nowhere else."""
    leases = subject.leases
    await leases.put("one.1", {7: ONLINE, MAX_ID: BUSY}, ttl_s=LONG)
    await leases.put("two.☂", {7: BUSY, 9: OFFLINE}, ttl_s=LONG)
    assert await leases.read([7, 8, 9, MAX_ID]) == {7: {"one.1": ONLINE, "two.☂": BUSY}, MAX_ID: {"one.1": BUSY}}
    await leases.put("one.1", {7: OFFLINE, MAX_ID: ONLINE}, ttl_s=LONG)
    assert await leases.read([7, MAX_ID]) == {7: {"two.☂": BUSY}, MAX_ID: {"one.1": ONLINE}}
    assert await leases.read([]) == {}


async def test_what_a_dead_node_said_runs_out(subject: Subject) -> None:
    """Also where a living one goes on saying something of the same user."""
    leases = subject.leases
    await leases.put("dead", {7: BUSY, 8: BUSY}, ttl_s=SHORT)
    await leases.put("alive", {7: ONLINE}, ttl_s=LONG)
    async with asyncio.timeout(10):
        while "dead" in (await leases.read([7])).get(7, {}):
            await subject.tick()
            await leases.put("alive", {7: ONLINE}, ttl_s=LONG)
    assert await leases.read([7, 8]) == {7: {"alive": ONLINE}}


async def test_many_at_once(subject: Subject) -> None:
    """As many as a node has."""
    many = {user_id: BUSY if user_id % 2 else ONLINE for user_id in range(1, 2 * AT_ONCE + 2)}
    await subject.leases.put("one", many, ttl_s=LONG)
    assert await subject.leases.read(many) == {user_id: {"one": presence} for user_id, presence in many.items()}


@pytest.mark.servers
async def test_what_ran_out_does_not_stay_in_redis(redis_settings: CacheSettings) -> None:
    """Each restart of a node leaves something said of a user who is always there; it goes with the next renewal."""
    prefix = f"test-{uuid4().hex}"
    async with open_redis(redis_settings) as client:
        leases = RedisPresenceLeases(client, prefix=prefix)
        fields = client.script("return redis.call('HKEYS', KEYS[1])")
        await leases.put("alive", {7: ONLINE}, ttl_s=LONG)
        await leases.put("dead", {7: BUSY}, ttl_s=SHORT)
        await leases.put("alive", {7: ONLINE}, ttl_s=LONG)
        async with asyncio.timeout(10):
            while await fields([f"{prefix}:presence:7"], []) != [b"alive"]:
                await asyncio.sleep(0.01)
                await leases.put("alive", {7: ONLINE}, ttl_s=LONG)


async def test_a_redis_that_is_away_is_told_as_such() -> None:
    """Presence waits; nothing else does."""
    async with open_redis(CacheSettings(url="redis://127.0.0.1:1")) as client:
        leases = RedisPresenceLeases(client)
        with pytest.raises(LeasesUnavailable):
            await leases.put("one", {7: ONLINE}, ttl_s=LONG)
        with pytest.raises(LeasesUnavailable):
            await leases.read([7])
