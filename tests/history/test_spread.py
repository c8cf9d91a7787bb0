"""Shards are spread over the replicas that live, and handed on without loss, doubling or disorder."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from services.history.access import AccessReader
from services.history.core.spread import ALIVE_MS, OWNER, STANDBY, Spread, ranking
from services.history.core.union import UnionWidth
from services.history.memory_marks import MemoryMarks
from services.history.replying import send_replies
from services.history.spreading import give_signs, hear_signs
from services.history.worker import ShardWorker
from shared.command_log import open_command_log
from shared.core.ids import IdSource
from shared.core.letters import DeadLetter
from shared.core.signs import Decoded, Sign, decode_sign, encode_sign
from shared.core.stream import Write
from shared.kept_access import KeptAccess
from shared.memory_bus import MemoryBus
from shared.memory_streams import MemoryStreams
from shared.publishing import publish_events
from shared.reach import Reach, always_there
from shared.rpc import Rpc
from shared.streams import StoreUnavailable
from tests.history.test_worker import send_of
from tests.history.world import NOW, TOPOLOGY, FaultyStreams, Lease
from tests.waiting import wait_until

names = st.lists(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=6, unique=True)


@given(names)
def test_every_replica_ranks_alike_and_a_death_moves_only_its_shards(replicas: list[str]) -> None:
    """Whoever hears the same replicas agrees on owner and standby; when the owner dies the standby is next."""
    for shard in range(16):
        owner, *others = ranking(shard, replicas)
        assert ranking(shard, replicas[::-1]) == [owner, *others]
        assert ranking(shard, others) == others


def test_shards_are_shared_out() -> None:
    """With a few replicas none is without work on 64 shards, none has most of it."""
    owners = Counter(ranking(shard, ["history-1", "history-2", "history-3"])[0] for shard in range(64))
    assert min(owners.values()) >= 10


def test_silence_is_death_and_leaving_is_known_at_once() -> None:
    """A replica counts until `ALIVE_MS` after its last sign, and no longer once it said that it leaves."""
    spread = Spread("a")
    spread.hear(Sign("b"), 0)
    assert spread.alive(ALIVE_MS - 1) == ["a", "b"]
    assert spread.alive(ALIVE_MS) == ["a"]
    spread.hear(Sign("b"), ALIVE_MS)
    spread.hear(Sign("b", leaves=True), ALIVE_MS)
    assert spread.alive(ALIVE_MS) == ["a"]


def test_signs_travel_and_nonsense_does_not() -> None:
    """What is sent is what is heard; unreadable bytes are nobody's sign."""
    for sign in (Sign("a", leaves=True), Decoded(5, 2)):
        assert decode_sign(encode_sign(sign)) == sign
    assert decode_sign(b"\xc1") is None


async def test_replicas_hear_each_other() -> None:
    """Signs go over the bus; a replica that ends says so."""
    bus, spread = MemoryBus(), Spread("a")
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
        hearing = tasks.create_task(hear_signs(bus, TOPOLOGY, "a", spread, UnionWidth(), lambda: 0))
        await asyncio.sleep(0)
        giving = tasks.create_task(give_signs(bus, TOPOLOGY, "b", always_there()))
        while spread.alive(0) != ["a", "b"]:
            await asyncio.sleep(0)
        giving.cancel()
        while spread.alive(0) != ["a"]:
            await asyncio.sleep(0)
        hearing.cancel()


async def test_what_nodes_say_makes_unions_narrower() -> None:
    """A node's report reaches every replica of history over the bus."""
    bus, width = MemoryBus(), UnionWidth(16)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
        hearing = tasks.create_task(hear_signs(bus, TOPOLOGY, "a", Spread("a"), width, lambda: 0))
        await asyncio.sleep(0)
        await bus.publish(TOPOLOGY.events, (TOPOLOGY.replicas_key("history"),), encode_sign(Decoded(100, 90)))
        while width.keys != 8:
            await asyncio.sleep(0)
        hearing.cancel()


async def test_a_replica_that_lost_the_database_says_that_it_leaves() -> None:
    """Others own its shards meanwhile: no sign says that it lives."""
    bus, spread = MemoryBus(), Spread("a")
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
        reach = Reach(unreached, lambda: 0, every_s=0.001)
        losing = tasks.create_task(reach.run())
        await wait_until(lambda: not reach.is_there)
        hearing = tasks.create_task(hear_signs(bus, TOPOLOGY, "a", spread, UnionWidth(), lambda: 0))
        await asyncio.sleep(0)
        spread.hear(Sign("b"), 0)
        giving = tasks.create_task(give_signs(bus, TOPOLOGY, "b", reach))
        while spread.alive(0) != ["a"]:
            await asyncio.sleep(0)
        for task in (giving, hearing, losing):
            task.cancel()


async def unreached() -> None:
    """Fail as a database that does not answer."""
    raise StoreUnavailable("told to fail")


async def no_letters(letters: Sequence[DeadLetter]) -> None:
    """Fail: nothing dies here."""
    raise AssertionError(letters)


def worker_on(
    bus: MemoryBus, streams: MemoryStreams, number: int, *, rank: Callable[[], int], reach: Reach | None = None
) -> ShardWorker:
    """Return a worker of the one shard, to which no permission is doubtful."""
    made = ShardWorker(
        0,
        bus=bus,
        topology=TOPOLOGY,
        streams=streams,
        marks=MemoryMarks(),
        access=AccessReader(Rpc(bus, TOPOLOGY), KeptAccess(streams, 0)),
        lease=Lease(IdSource(number)),
        now=lambda: NOW,
        publish=partial(publish_events, bus, TOPOLOGY),
        reply=partial(send_replies, bus, TOPOLOGY),
        observe=lambda commands, settled: None,
        bury=no_letters,
        rank=lambda shard: rank(),
        reach=reach,
    )
    made.shard.heard_at = NOW
    return made


async def test_a_shard_is_handed_on_under_load() -> None:
    """Owner and standby swap again and again while messages flow: each is stored once, in the order of the sends."""
    bus, streams = MemoryBus(), FaultyStreams()
    ranks = {"a": OWNER, "b": STANDBY}
    async with open_command_log(bus, TOPOLOGY, "history") as commands, asyncio.TaskGroup() as tasks:
        workers = [
            worker_on(bus, streams, number, rank=partial(ranks.__getitem__, name))
            for number, name in enumerate(ranks, 1)
        ]
        working = [tasks.create_task(worker.run()) for worker in workers]
        await asyncio.sleep(0)
        seqs = []
        for begin in range(0, 200, 20):
            if begin % 40 == 0:
                ranks["a"], ranks["b"] = ranks["b"], ranks["a"]
            sends = (commands.send(send_of(begin + n), timeout_s=5) for n in range(1, 21))
            seqs += [reply.seq for reply in await asyncio.gather(*sends)]
        assert seqs == list(range(1, 201))
        for task in working:
            task.cancel()


class FarStreams(MemoryStreams):
    """One worker's way to a store that it shares with another: it hangs while that is not there."""

    def __init__(self, store: MemoryStreams) -> None:
        vars(self).update(vars(store))  # the same dictionaries
        self.there = asyncio.Event()
        self.there.set()

    async def ping(self) -> None:
        """Answer, or fail."""
        if not self.there.is_set():
            raise StoreUnavailable("told to fail")

    async def commit(self, writes: Sequence[Write]) -> list[bool]:
        """Commit once it is there."""
        await self.there.wait()
        return await super().commit(writes)


async def test_a_worker_that_lost_the_database_leaves_its_shard_to_others() -> None:
    """What it has in hand, too: the next in line does it, each once and in the order of the sends."""
    bus, store = MemoryBus(), MemoryStreams()
    far = FarStreams(store)
    reach = Reach(far.ping, lambda: 0, every_s=0.001)
    sick, well = worker_on(bus, far, 1, rank=lambda: OWNER, reach=reach), worker_on(bus, store, 2, rank=lambda: OWNER)
    async with open_command_log(bus, TOPOLOGY, "history") as commands, asyncio.TaskGroup() as tasks:
        working = [tasks.create_task(work) for work in (sick.run(), well.run(), reach.run())]
        await asyncio.sleep(0)
        first = await commands.send(send_of(1), timeout_s=5)
        assert (sick.is_active, well.is_active) == (True, False)
        far.there.clear()
        replies = await asyncio.gather(*(commands.send(send_of(n), timeout_s=5) for n in range(2, 22)))
        assert [first.seq, *(reply.seq for reply in replies)] == list(range(1, 22))
        assert (sick.is_active, well.is_active) == (False, True)
        for task in working:
            task.cancel()
