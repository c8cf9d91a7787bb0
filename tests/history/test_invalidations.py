"""Invalidations and the signs of life beside them: few signs, no silence unnoticed, no permission out of date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.history.core.pulse import SILENCE_MS, Pulse
from services.history.core.shard import Shard
from services.history.invalidations import keep_pulse, tell_shards
from shared.bus import BusUnavailable
from shared.core.commands import COMMAND_LIFETIME_MS
from shared.core.invalidation import SIGN_OF_LIFE, Invalidation, decode_invalidation, encode_invalidation
from shared.core.stream import Head, group_stream
from shared.memory_bus import MemoryBus, MemorySubscription
from shared.topology import Binding, Queue
from tests.history.test_worker import send_of
from tests.history.world import EVE, GROUP, NOW, TOPOLOGY, World, open_world

LATENCY_MS = 5


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a history service in memory."""
    async with open_world() as opened:
        yield opened


@given(
    processes=st.integers(1, 40),
    deaths=st.lists(st.integers(0, 60_000), max_size=30),
    random=st.randoms(use_true_random=True),
)
def test_a_sign_or_two_a_second_however_many_there_are(processes: int, deaths: list[int], random: Random) -> None:
    """Over a minute in which many die nobody alive hears nothing for as long as counts as silence."""
    alive = [Pulse() for _ in range(processes)]
    dying = sorted(deaths[: processes - 1], reverse=True)
    arriving: list[int] = []
    heard: list[int] = []
    now = 0
    while now < 60_000:
        for pulse in alive:
            if not pulse.wait_ms(now):
                pulse.hear(now, random.random())
                arriving.append(now + LATENCY_MS)
        now = min(now + min(pulse.wait_ms(now) for pulse in alive), arriving[0] if arriving else 60_000)
        while dying and dying[-1] <= now:
            dying.pop()
            alive.pop(random.randrange(len(alive)))
        while arriving and arriving[0] <= now:
            heard.append(arriving.pop(0))
            for pulse in alive:
                pulse.hear(now, random.random())
    assert sum(at > LATENCY_MS for at in heard) <= 2 * 60, "but for the beginning, when all speak"
    assert max(after - before for before, after in pairwise([0, *heard])) < SILENCE_MS


def test_the_release_before_takes_nothing_from_a_sign() -> None:
    """A sign reads as an invalidation of a group that is none, whose facts are never older than that."""
    sign = decode_invalidation(encode_invalidation(SIGN_OF_LIFE))
    assert sign == Invalidation(0, 0)
    shard = Shard()
    shard.note_group_seq(sign.group_id, sign.seq)
    assert shard.group_seqs == {}


async def test_in_silence_groups_are_looked_up(world: World) -> None:
    """A change that nobody tells of is found by its head with each batch while nothing is heard."""
    world.now += SILENCE_MS + 1
    permitted = await world.commands.send(send_of(1, EVE), timeout_s=5)
    assert permitted.seq == 1, "the sender's node has said so, and nobody the contrary"
    await world.streams.raise_heads([Head(group_stream(GROUP), seq=6)])
    refused = await world.commands.send(send_of(2, EVE), timeout_s=5)
    assert refused.error == "MissingAccess"
    assert (await world.commands.send(send_of(3), timeout_s=5)).seq == 2
    await world.invalidate()
    assert (await world.commands.send(send_of(4, EVE), timeout_s=5)).error == "MissingAccess", "it was found before"


async def test_unreadable_invalidations_put_all_in_doubt(world: World) -> None:
    """What the next release may say is not understood, and so every group is looked up."""
    await world.bus.publish(TOPOLOGY.invalidate, ("",), b"\xc1")
    async with asyncio.timeout(5):
        while world.worker.shard.doubt.until != NOW + COMMAND_LIFETIME_MS:
            await asyncio.sleep(0)
    await world.invalidate(GROUP + 1, 1)
    await world.streams.raise_heads([Head(group_stream(GROUP), seq=6)])
    assert (await world.commands.send(send_of(1, EVE), timeout_s=5)).error == "MissingAccess"


class CutBus(MemoryBus):
    """A bus that is cut when invalidations are acked, once, and then tells a gap."""

    def __init__(self) -> None:
        super().__init__()
        self.subscribed = 0

    @asynccontextmanager
    async def subscribe(
        self, queue: Queue, bindings: Sequence[Binding] = (), *, prefetch: int = 256
    ) -> AsyncIterator[Any]:
        """Subscribe to what will be cut."""
        async with super().subscribe(queue, bindings, prefetch=prefetch) as subscription:
            self.subscribed += 1
            yield CutSubscription(subscription)


class CutSubscription:
    """See `CutBus`."""

    def __init__(self, subscription: MemorySubscription) -> None:
        self._subscription = subscription
        self.take = subscription.take
        self._is_cut = False

    async def ack(self, deliveries: Sequence[Any]) -> None:
        """Fail once."""
        if self._is_cut:
            await self._subscription.ack(deliveries)
            return
        self._is_cut = True
        self._subscription.lose()
        raise BusUnavailable("cut")


async def test_a_cut_while_acking_is_a_gap_and_no_new_beginning() -> None:
    """The adapter repairs the subscription and tells a gap: what was permitted before it is looked up."""
    bus, shard = CutBus(), Shard()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
        hearing = tasks.create_task(
            tell_shards(bus, TOPOLOGY, "a", (shard,), Pulse(), now=lambda: NOW, clock_ms=lambda: 0)
        )
        await asyncio.sleep(0)
        await bus.publish(TOPOLOGY.invalidate, ("",), encode_invalidation(Invalidation(GROUP, 6)))
        while shard.doubt.until != NOW + COMMAND_LIFETIME_MS:
            await asyncio.sleep(0)
        assert bus.subscribed == 1
        hearing.cancel()


async def test_a_process_that_begins_is_heard_at_once() -> None:
    """With nobody else there, signs are given; what was permitted before is looked up, what is from then on is not."""
    bus, shard, pulse = MemoryBus(), Shard(), Pulse()
    clock = asyncio.get_running_loop().time

    def clock_ms() -> int:
        return int(clock() * 1000)

    assert shard.is_in_doubt(NOW)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
        hearing = tasks.create_task(
            tell_shards(bus, TOPOLOGY, "a", (shard,), pulse, now=lambda: NOW, clock_ms=clock_ms)
        )
        await asyncio.sleep(0)
        giving = tasks.create_task(keep_pulse(bus, TOPOLOGY, pulse, clock_ms))
        while shard.heard_at != NOW:
            await asyncio.sleep(0)
        assert shard.doubt.until == NOW + COMMAND_LIFETIME_MS, "a change before the first sign was not heard"
        shard.heard_at = NOW + COMMAND_LIFETIME_MS
        assert not shard.is_in_doubt(NOW + COMMAND_LIFETIME_MS)
        giving.cancel()
        hearing.cancel()
