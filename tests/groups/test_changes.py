"""Beside each change: who caches facts learns of it, and what is left over is found."""

from __future__ import annotations

import asyncio

from shared.core.invalidation import Invalidation, decode_invalidation
from shared.core.stream import group_stream
from shared.topology import Binding
from tests.groups.fuse import Crash, Fuse
from tests.groups.world import Replica, World


async def test_caches_learn_of_each_change(world: World, groups: Replica) -> None:
    """When a change of a group is answered, its newest seq is with everybody who caches facts about it."""
    bindings = (Binding(world.topology.invalidate),)
    async with world.bus.subscribe(world.topology.invalidation_queue("test"), bindings) as subscription:
        ann, _ = await groups.register("ann")
        _, bob = await groups.register("bob")
        group, _ = await groups.create_group(ann, "Room")
        await groups.groups.memberships.join(bob, "room")
        await groups.groups.memberships.leave(bob, group)
        batch = await subscription.take(10)
        told = [decode_invalidation(delivery.body) for delivery in batch.deliveries]
    assert told == [Invalidation(group, seq) for seq in (1, 2, 3)]


async def test_the_sweeper_finishes_what_another_process_left(world: World, groups: Replica) -> None:
    """What a dead process stored and did not publish is published by any replica a second later, not earlier."""
    ann, _ = await groups.register("ann")
    _, bob = await groups.register("bob")
    group, _ = await groups.create_group(ann, "Room")
    await world.follow(f"g.{group}", f"u.{bob}")
    step = 0
    while not await world.streams.find_dirty(world.now + 1, 1):
        step += 1
        async with world.open_replica(fuse=Fuse(step, "after")) as dying:
            try:
                await dying.groups.memberships.join(bob, "room")
            except Crash:
                continue
    assert await groups.groups.changes.sweep() == 0
    assert world.seqs_heard(group_stream(group)) == []
    world.now += 1_500
    sweeper = asyncio.create_task(groups.groups.changes.run_sweeper())
    async with asyncio.timeout(5):
        while await world.streams.find_dirty(world.now, 1) or not world.seqs_heard(f"u:{bob}"):
            await asyncio.sleep(0)
    sweeper.cancel()
    assert world.seqs_heard(group_stream(group)) == [2]
    assert len(world.seqs_heard(f"u:{bob}")) == 1
