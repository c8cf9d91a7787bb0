"""Two workers that both believe to own a shard: only one of them can write, whichever is late, and nobody notices.

Here each has a bus of its own, as if RabbitMQ had given both of them everything; the stream store is one. The same
with processes that are halted: tests/cluster/test_halted_worker.py.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest

from services.history.access import AccessReader
from services.history.memory_marks import MemoryMarks
from services.history.replying import send_replies
from services.history.worker import ShardWorker
from shared.command_log import CommandLog, open_command_log
from shared.core.commands import Reply, SendMessage
from shared.core.ids import IdSource
from shared.core.stream import Event, Head, Record, Write, channel_stream
from shared.kept_access import KeptAccess
from shared.memory_bus import MemoryBus
from shared.memory_streams import MemoryStreams
from shared.rpc import Rpc
from tests.history.test_spread import no_letters
from tests.history.test_worker import send_of
from tests.history.world import CHANNEL, NOW, TOPOLOGY, Lease

STREAM = channel_stream(CHANNEL.id)
STEPS = ("commit", "committed", "heads", "publish", "published")


class Halting:
    """Stops whoever passes a step, once, until it is let go on."""

    def __init__(self) -> None:
        self.at = ""
        self.halted = asyncio.Event()
        self.go_on = asyncio.Event()

    async def pass_by(self, step: str) -> None:
        """Wait if this is the step."""
        if step == self.at:
            self.at = ""
            self.halted.set()
            await self.go_on.wait()


class SharedStreams(MemoryStreams):
    """One worker's way to a store that it shares with another."""

    def __init__(self, store: MemoryStreams, halting: Halting, jitter: random.Random) -> None:
        vars(self).update(vars(store))  # the same dictionaries
        self._halting = halting
        self._jitter = jitter

    async def _wander(self) -> None:
        for _ in range(self._jitter.randrange(4)):
            await asyncio.sleep(0)

    async def read_head(self, stream: str) -> Head:
        """Read after a while."""
        await self._wander()
        return await super().read_head(stream)

    async def commit(self, writes: Sequence[Write]) -> list[bool]:
        """Commit after a while, and tell it after a while."""
        await self._halting.pass_by("commit")
        await self._wander()
        stored = await super().commit(writes)
        await self._halting.pass_by("committed")
        await self._wander()
        return stored

    async def raise_heads(self, heads: Sequence[Head]) -> None:
        """Raise after a while."""
        await self._halting.pass_by("heads")
        await self._wander()
        await super().raise_heads(heads)


class Side:
    """One of the two, with its own broker, and what it made public."""

    def __init__(self, number: int, store: MemoryStreams, seed: int) -> None:
        self.halting = Halting()
        self.published: list[Event] = []
        self.replies: dict[int, Reply] = {}
        self.bus = MemoryBus()
        self.commands: CommandLog
        self.worker = ShardWorker(
            0,
            bus=self.bus,
            topology=TOPOLOGY,
            streams=SharedStreams(store, self.halting, random.Random(seed)),  # noqa: S311 (no secret)
            marks=MemoryMarks(),
            access=AccessReader(Rpc(self.bus, TOPOLOGY), KeptAccess(store, 0)),
            lease=Lease(IdSource(number)),
            now=lambda: NOW,
            publish=self._publish,
            reply=partial(send_replies, self.bus, TOPOLOGY),
            observe=lambda commands, settled: None,
            bury=no_letters,
        )
        self.worker.shard.heard_at = NOW

    async def _publish(self, events: Sequence[Event]) -> None:
        await self.halting.pass_by("publish")
        self.published += events
        await self.halting.pass_by("published")

    async def give(self, *commands: SendMessage) -> None:
        """Deliver commands and wait for their replies."""
        replies = await asyncio.gather(*(self.commands.send(one, timeout_s=10) for one in commands))
        self.replies |= {reply.command_id: reply for reply in replies}


@asynccontextmanager
async def two_sides(seed: int = 0) -> AsyncIterator[tuple[MemoryStreams, Side, Side]]:
    """Run two workers of one shard."""
    store = MemoryStreams()
    sides = (Side(1, store, 2 * seed), Side(2, store, 2 * seed + 1))
    async with AsyncExitStack() as stack:
        for side in sides:
            side.commands = await stack.enter_async_context(open_command_log(side.bus, TOPOLOGY, "history"))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        running = [tasks.create_task(side.worker.run()) for side in sides]
        await asyncio.sleep(0)
        yield store, *sides
        for task in running:
            task.cancel()


async def stored_in(store: MemoryStreams) -> list[Record]:
    """Return everything in the channel, in its order."""
    records: list[Record] = []
    bucket = await store.read_bucket(STREAM, 1)
    while bucket is not None:
        records += bucket.records()
        bucket = await store.read_bucket(STREAM, bucket.next_seq)
    return records


def require_one_truth(records: Sequence[Record], count: int, *sides: Side) -> None:
    """Hold the store to density, and all that was told and published to the store."""
    assert [record.seq for record in records] == list(range(1, count + 1))
    assert sorted(record.command_id for record in records) == list(range(1, count + 1)), "each once"
    ids = [record.id for record in records]
    assert ids == sorted(set(ids))
    by_seq: dict[int, Any] = {record.seq: record for record in records}
    for side in sides:
        for command_id, reply in side.replies.items():
            assert (by_seq[reply.seq].command_id, by_seq[reply.seq].id) == (command_id, reply.id)
        for event in side.published:
            assert event.record == by_seq[event.record.seq]
    assert {event.record.seq for side in sides for event in side.published} == set(by_seq)


@pytest.mark.parametrize("step", STEPS)
async def test_who_comes_late_has_lost(step: str) -> None:
    """One is halted in the middle of a batch, the other gets the same and goes on; then the first goes on, too.

    A late write meets the fence; what was stored before is found. Both tell the same seqs and ids.
    """
    async with two_sides() as (store, late, other), asyncio.TaskGroup() as tasks:
        await late.give(send_of(1))
        late.halting.at = step
        halted = tasks.create_task(late.give(*(send_of(n) for n in (2, 3, 4))))
        await late.halting.halted.wait()
        await other.give(*(send_of(n) for n in (2, 3, 4, 5)))
        late.halting.go_on.set()
        await halted
        await late.give(send_of(6))
        require_one_truth(await stored_in(store), 6, late, other)
        assert [late.replies[n] for n in (2, 3, 4)] == [other.replies[n] for n in (2, 3, 4)]


@pytest.mark.parametrize("seed", range(20))
async def test_two_at_the_same_time_write_one_history(seed: int) -> None:
    """Both are given everything at once, in batches of their own: one order, each message once."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    async with two_sides(seed) as (store, *sides), asyncio.TaskGroup() as tasks:

        async def feed(side: Side) -> None:
            given = 0
            while given < 60:
                count = min(chance.randrange(1, 12), 60 - given)
                await side.give(*(send_of(given + n) for n in range(1, count + 1)))
                given += count

        feeding = [tasks.create_task(feed(side)) for side in sides]
        await asyncio.gather(*feeding)
        require_one_truth(await stored_in(store), 60, *sides)
        assert sides[0].replies == sides[1].replies
