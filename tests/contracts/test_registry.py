"""Contract of the session registry: memory and Redis hand a session to one claimant per epoch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

import msgspec
import pytest

from services.gateway.memory_registry import MemoryRegistry
from services.gateway.redis_registry import RedisRegistry
from services.gateway.registry import MOST_LINKS, NOT_LIFTED, Link, SessionEntry, SessionRegistry
from shared.core.ids import MAX_ID
from shared.redis_client import open_redis

LONG = 60.0
SHORT = 0.02
ENTRY = SessionEntry("s1", MAX_ID, 1, (Link("node-1.☂", 0),), b"\x00\xff")


def claimed_by(node: str, epoch: int) -> SessionEntry:
    """Return the entry of a later claim on the same session."""
    return msgspec.structs.replace(ENTRY, links=(*ENTRY.links, Link(node, 100)), epoch=epoch)


@dataclass
class Subject:
    """A registry, and how to let a hundredth of a second pass for it."""

    registry: SessionRegistry
    tick: Callable[[], Awaitable[None]]

    async def wait_gone(self, session_id: str) -> None:
        """Let time pass until the session is not found."""
        async with asyncio.timeout(5):
            while await self.registry.read(session_id) is not None:
                await self.tick()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """Yield an empty registry of either kind."""
    if request.param == "memory":
        now = 1000.0

        async def advance() -> None:
            nonlocal now
            now += 0.01

        yield Subject(MemoryRegistry(clock=lambda: now), advance)
        return
    async with open_redis(request.getfixturevalue("redis_settings")) as client:
        yield Subject(RedisRegistry(client, prefix=f"test-{uuid4().hex}"), lambda: asyncio.sleep(0.01))


async def test_claims_follow_each_other(subject: Subject) -> None:
    """A claim counts only one epoch above the stored one; a lower, equal or skipping one loses."""
    registry = subject.registry
    assert await registry.read("s1") is None
    assert not await registry.claim(claimed_by("b", 2), ttl_s=LONG)
    assert await registry.claim(ENTRY, ttl_s=LONG)
    assert await registry.read("s1") == ENTRY
    assert not await registry.claim(claimed_by("b", 1), ttl_s=LONG)
    assert not await registry.claim(claimed_by("b", 3), ttl_s=LONG)
    assert await registry.claim(claimed_by("b", 2), ttl_s=LONG)
    assert not await registry.claim(ENTRY, ttl_s=LONG)
    assert await registry.read("s1") == claimed_by("b", 2)


async def test_claim_is_idempotent(subject: Subject) -> None:
    """The same claim again, its answer having been lost, is ours still."""
    assert await subject.registry.claim(ENTRY, ttl_s=LONG)
    assert await subject.registry.touch("s1", 1, (5, 7), ttl_s=LONG)
    for name, value in (("user_id", 5), ("extra", b""), ("links", (Link("node-1.☂", 1),))):
        other = msgspec.structs.replace(ENTRY, **{name: value})
        assert not await subject.registry.claim(other, ttl_s=LONG), name
        assert not await subject.registry.restore(other, ttl_s=LONG), name
    assert (await subject.registry.read("s1")) == msgspec.structs.replace(ENTRY, lifted=(5, 7))
    again = msgspec.structs.replace(ENTRY, lifted=(6, 8))
    assert await subject.registry.claim(again, ttl_s=LONG)
    assert await subject.registry.read("s1") == again


async def test_a_lost_entry_is_restored_by_its_last_claim(subject: Subject) -> None:
    """Whatever its epoch a lost entry can be written again; of two nodes that do, the later claim wins."""
    registry = subject.registry
    later = msgspec.structs.replace(claimed_by("b", 3), lifted=(2**31 - 1, 2**31))
    assert await registry.restore(ENTRY, ttl_s=LONG)
    assert await registry.restore(later, ttl_s=LONG)
    assert await registry.restore(later, ttl_s=LONG)
    assert not await registry.restore(ENTRY, ttl_s=LONG)
    assert await registry.read("s1") == later
    assert not await registry.claim(claimed_by("c", 3), ttl_s=LONG)
    assert await registry.claim(claimed_by("c", 4), ttl_s=LONG)


async def test_touches_tell_how_far_a_client_is(subject: Subject) -> None:
    """What a touch says is read with the entry, until the session moves."""
    await subject.registry.claim(ENTRY, ttl_s=LONG)
    assert await subject.registry.touch("s1", 1, (500, 9_000), ttl_s=LONG)
    entry = await subject.registry.read("s1")
    assert entry is not None
    assert [entry.lift(s) for s in (499, 500, 501)] == [499, 9_000, 501]
    moved = entry.moved_to("b", 70_000, 9)
    assert await subject.registry.claim(moved, ttl_s=LONG)
    assert await subject.registry.read("s1") == moved
    assert (moved.node, moved.epoch, moved.lift(500), moved.extra) == ("b", 2, 500, ENTRY.extra)


async def test_many_at_once(subject: Subject) -> None:
    """Each of many is claimed, touched and read for itself, as if it had been alone."""
    registry = subject.registry
    others = [msgspec.structs.replace(ENTRY, session_id=f"s{number}") for number in range(2, 5)]
    await registry.claim(claimed_by("b", 1), ttl_s=LONG)
    assert await registry.claim_many([ENTRY, *others], ttl_s=LONG) == [False, True, True, True]
    assert await registry.claim_many([], ttl_s=LONG) == []
    moved = others[2].moved_to("c", 9, 9)
    assert await registry.claim(moved, ttl_s=LONG)
    told = [msgspec.structs.replace(one, lifted=(5, 7)) for one in others]
    assert await registry.touch_many(told, ttl_s=LONG) == [True, True, False]
    assert [await registry.read(one.session_id) for one in others] == [told[0], told[1], moved]
    ids = ["s4", "nobody", "s2"]
    assert await registry.read_many(ids) == {"s4": moved, "s2": told[0]}
    assert await registry.read_many([]) == {}


def test_the_newest_places_are_known() -> None:
    """A session that moves on and on is known at its last places only."""
    entry = ENTRY
    for number in range(1, 20):
        entry = entry.moved_to(f"node-{number}", number, number)
    assert entry.links == tuple(Link(f"node-{number}", number, number) for number in range(20 - MOST_LINKS, 20))
    assert entry.epoch == 20


async def test_racing_claims_have_one_winner(subject: Subject) -> None:
    """Of the nodes that take over one session at once, exactly one has it then."""
    await subject.registry.claim(ENTRY, ttl_s=LONG)
    rivals = [claimed_by(f"node{number}", 2) for number in range(12)]
    told = await asyncio.gather(*(subject.registry.claim(rival, ttl_s=LONG) for rival in rivals))
    assert told.count(True) == 1
    assert await subject.registry.read("s1") == rivals[told.index(True)]


async def test_touch_and_release_need_the_epoch(subject: Subject) -> None:
    """Whoever lost a session by a later claim can neither keep it alive nor remove it."""
    registry = subject.registry
    assert not await registry.touch("s1", 1, NOT_LIFTED, ttl_s=LONG)
    assert await registry.release_many([("s1", 1)]) == [False]
    await registry.claim(ENTRY, ttl_s=LONG)
    await registry.claim(claimed_by("b", 2), ttl_s=LONG)
    assert not await registry.touch("s1", 1, NOT_LIFTED, ttl_s=LONG)
    assert await registry.touch("s1", 2, NOT_LIFTED, ttl_s=LONG)
    other = msgspec.structs.replace(ENTRY, session_id="s2")
    await registry.claim(other, ttl_s=LONG)
    assert await registry.release_many([("s1", 1), ("s3", 1), ("s2", 1)]) == [False, False, True]
    assert await registry.read_many(["s1", "s2"]) == {"s1": claimed_by("b", 2)}
    assert await registry.release_many([("s1", 2)]) == [True]
    assert await registry.read("s1") is None
    assert await registry.claim(ENTRY, ttl_s=LONG)


async def test_entry_expires_unless_touched(subject: Subject) -> None:
    """An entry is gone after its time to live, which a touch begins anew; then the session can't be resumed."""
    registry = subject.registry
    other = msgspec.structs.replace(ENTRY, session_id="s2")
    await registry.claim(ENTRY, ttl_s=SHORT)
    await registry.claim(other, ttl_s=LONG)
    assert await registry.touch("s2", 1, NOT_LIFTED, ttl_s=SHORT)
    await subject.wait_gone("s2")
    await subject.wait_gone("s1")
    assert not await registry.touch("s1", 1, NOT_LIFTED, ttl_s=LONG)
    assert not await registry.claim(claimed_by("b", 2), ttl_s=LONG)
    assert await registry.claim(ENTRY, ttl_s=SHORT)
    assert await registry.touch("s1", 1, NOT_LIFTED, ttl_s=LONG)
    for _ in range(5):
        await subject.tick()
    assert await registry.read("s1") == ENTRY


async def test_memory_is_bounded() -> None:
    """Beyond its bound the memory registry loses the session that was touched longest ago."""
    registry = MemoryRegistry(max_sessions=2)
    for session_id in ("a", "b"):
        await registry.claim(msgspec.structs.replace(ENTRY, session_id=session_id), ttl_s=LONG)
    await registry.touch("a", 1, NOT_LIFTED, ttl_s=LONG)
    await registry.claim(msgspec.structs.replace(ENTRY, session_id="c"), ttl_s=LONG)
    assert [session_id for session_id in "abc" if await registry.read(session_id) is not None] == ["a", "c"]
