"""Access kept in a process: never of before the head that was there when it was asked for, and bounded."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus import Batch
from shared.core.calls import Access
from shared.core.invalidation import SIGN_OF_LIFE, Invalidation, encode_invalidation
from shared.core.model import Channel, ChannelType, User
from shared.core.stream import Head, group_stream
from shared.invalidations import hear_invalidations, tell_moved
from shared.kept_access import ACCESS_S, KeptAccess
from shared.memory_bus import MemoryBus
from shared.memory_streams import MemoryStreams
from shared.streams import StoreUnavailable
from shared.topology import Topology

USER = User(7, "ann")
GROUP = 900
STREAM = group_stream(GROUP)
CHANNELS = [Channel(number, ChannelType.TEXT, "general", GROUP) for number in (1, 2)]
TOPOLOGY = Topology("test", shards=1)


def access_at(seq: int, channel: Channel = CHANNELS[0], *, lasts: bool = True) -> Access:
    """Return what the user may do by facts of this seq; the seq stands in the permissions, too."""
    return Access(channel, USER, seq, seq, lasts=lasts)


class SlowStreams(MemoryStreams):
    """Streams whose heads are read at once or late, and told late; as often as they are asked for."""

    def __init__(self, turns: list[int]) -> None:
        super().__init__()
        self.turns = turns
        self.asked = 0
        self.away = False

    async def _wait(self) -> None:
        for _ in range(self.turns.pop() if self.turns else 0):
            await asyncio.sleep(0)

    async def read_head(self, stream: str) -> Head:
        """Read after some turns, and answer after some more."""
        self.asked += 1
        if self.away:
            raise StoreUnavailable("told to fail")
        await self._wait()
        head = await super().read_head(stream)
        await self._wait()
        return head


steps = st.sampled_from(["move", "find", "find", "keep", "keep late", "told", "told late", "written", "turn", "pass"])


@given(st.lists(steps, max_size=40), st.lists(st.integers(0, 5), max_size=40))
def test_nobody_hears_older_than_the_head_was_when_they_asked(told: list[str], turns: list[int]) -> None:
    """Whatever slow readers keep, whichever drops come, late or never, and however the looks at the head overlap."""

    async def check() -> None:
        streams = SlowStreams(turns)
        clock = [0.0]
        kept = KeptAccess(streams, 1 << 16, clock=lambda: clock[0])
        seq = 0

        async def find(asked_at: int) -> None:
            found = await kept.find(1, USER.id)
            if found is not None:
                assert asked_at <= found.group_seq == found.permissions

        async with asyncio.TaskGroup() as finding:
            for step in told:
                match step:
                    case "move":
                        seq += 1
                        await streams.raise_heads([Head(STREAM, seq=seq, projected=seq)])
                    case "find":
                        finding.create_task(find(seq))
                    case "keep" | "keep late":
                        kept.keep(1, USER.id, access_at(seq if step == "keep" else max(seq - 1, 0)))
                    case "told" | "told late":
                        kept.drop_told(GROUP, seq if step == "told" else max(seq - 1, 0))
                    case "written":
                        kept.drop_written(GROUP, seq)
                    case "turn":
                        await asyncio.sleep(0)
                    case "pass":
                        clock[0] += ACCESS_S / 3

    asyncio.run(check())


async def test_what_is_kept_is_used_while_the_head_says_its_seq() -> None:
    """It is told for how long it was kept, and counted what came of each question."""
    streams = SlowStreams([])
    ages: list[float] = []
    now = [0.0]
    kept = KeptAccess(streams, 1 << 16, clock=lambda: now[0], observe=ages.append)
    await streams.raise_heads([Head(STREAM, seq=5, projected=5)])
    assert await kept.find(1, USER.id) is None
    kept.keep(1, USER.id, access_at(5))
    kept.keep(1, USER.id, access_at(4))
    now[0] = 7.0
    assert await kept.find(1, USER.id) == access_at(5)
    assert ages == [7.0]
    assert await kept.find(1, USER.id + 1) is await kept.find(2, USER.id) is None
    await streams.raise_heads([Head(STREAM, seq=6, projected=6)])
    assert await kept.find(1, USER.id) is None
    kept.keep(1, USER.id, access_at(6))
    now[0] += ACCESS_S
    assert await kept.find(1, USER.id) is None
    figures = kept.statistics()
    assert figures["cached_access_process_hits"] == 1
    assert figures["cached_access_process_outdated"] == 1
    assert figures["cached_access_process_misses"] == 4
    assert figures["cached_access_process_entries"] == 0


async def test_what_does_not_last_is_not_kept() -> None:
    """Not what ends by itself, not what no stream of a group tells, not that there is no such channel."""
    kept = KeptAccess(MemoryStreams(), 1 << 16)
    for access in (access_at(0, lasts=False), Access(None, USER, 0, 0, lasts=True)):
        kept.keep(1, USER.id, access)
    assert kept.statistics()["cached_access_process_entries"] == 0


async def test_questions_that_come_together_share_one_look_at_the_head() -> None:
    """A hundred who ask about one group at once cost the database two looks at most; an outage is told to all."""
    streams = SlowStreams([3] * 9)
    kept = KeptAccess(streams, 1 << 20)
    await streams.raise_heads([Head(STREAM, seq=5, projected=5)])
    for user_id in range(100):
        kept.keep(1, user_id, access_at(5))
    assert await asyncio.gather(*(kept.find(1, user_id) for user_id in range(100))) == [access_at(5)] * 100
    assert streams.asked <= 2
    streams.away = True
    with pytest.raises(StoreUnavailable):
        await kept.find(1, 0)


async def test_what_is_told_on_the_bus_is_dropped() -> None:
    """Each group with its seq; what is newer, of other groups, or after something unreadable stays or goes as told."""
    bus, kept = MemoryBus(), KeptAccess(MemoryStreams(), 1 << 16)
    elsewhere = Channel(3, ChannelType.TEXT, "general", GROUP + 1)
    kept.keep(1, USER.id, access_at(5, CHANNELS[0]))
    kept.keep(2, USER.id, access_at(6, CHANNELS[1]))
    kept.keep(3, USER.id, access_at(1, elsewhere))
    heard = asyncio.Event()

    def hear(batch: Batch) -> None:
        tell_moved(batch, kept.drop_told)
        if any(delivery.body == encode_invalidation(SIGN_OF_LIFE) for delivery in batch.deliveries):
            heard.set()

    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
        hearing = tasks.create_task(hear_invalidations(bus, TOPOLOGY, "a", hear))
        await asyncio.sleep(0)
        for body in (b"\xc1", encode_invalidation(Invalidation(GROUP, 6)), encode_invalidation(SIGN_OF_LIFE)):
            await bus.publish(TOPOLOGY.invalidate, ("",), body)
        await heard.wait()
        hearing.cancel()
    figures = kept.statistics()
    assert figures["cached_access_process_dropped_as_told"] == 1
    assert figures["cached_access_process_entries"] == 2
    kept.drop_written(GROUP, 7)
    assert kept.statistics()["cached_access_process_dropped_by_write"] == 1
