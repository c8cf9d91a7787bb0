"""What was missed without a hole to show it is found by comparing heads, and told in order, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import chain
from typing import Any

import pytest

from services.gateway import comparing
from shared.bus import Batch, Delivery
from shared.core.calls import ReadHeads
from shared.core.errors import Unavailable
from shared.memory_bus import MemoryBus, MemorySubscription
from shared.topology import Binding, Queue
from tests.gateway.world import ServedNode, World, open_client, open_node, open_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Open a world."""
    async with open_world() as opened:
        yield opened


@pytest.fixture
async def node(world: World) -> AsyncIterator[ServedNode]:
    """Open a node without limits."""
    async with open_node(world) as opened:
        yield opened


async def test_the_last_words_before_silence_are_found(world: World, node: ServedNode) -> None:
    """Messages whose publishes were lost leave no hole; the next comparison brings them, in a group and in a DM."""
    ann, ben = world.register("ann"), world.register("ben")
    _, channel = await world.create_group(ann)
    direct = await world.open_direct(ann, ben)
    async with open_client(node, world.token(ann)) as client:
        world.losing = 3
        for content in ("lost one", "lost two"):
            await world.say(ann, channel, content)
        await world.say(ben, direct, "lost three")
        assert await node.gateway.comparing.compare(0) == 2
        heard = [(await client.until("MESSAGE_CREATE"))["d"]["content"] for _ in range(3)]
        assert [content for content in heard if content != "lost three"] == ["lost one", "lost two"]
        assert await node.gateway.comparing.compare(0) == 0
        await world.say(ann, channel, "and on")
        assert (await client.until("MESSAGE_CREATE"))["d"]["content"] == "and on"


async def test_all_is_compared_a_part_at_a_time(world: World, node: ServedNode, monkeypatch: Any) -> None:
    """Each round asks for every stream once, in parts; what a failed part would have shown, the next does."""
    monkeypatch.setattr(comparing, "_PART_S", 0.05)
    monkeypatch.setattr(comparing, "_ON_ITS_WAY_S", 0.01)
    ann = world.register("ann")
    channels = [channel for _, channel in [await world.create_group(ann) for _ in range(8)]]
    async with open_client(node, world.token(ann)) as client:
        world.losing = len(channels)
        for channel in channels:
            await world.say(ann, channel, channel.name)
        world.asked.clear()
        world.failing[ReadHeads] = 1
        running = asyncio.create_task(node.gateway.comparing.run(0.2))
        heard = {(await client.until("MESSAGE_CREATE"))["d"]["channel_id"] for _ in channels}
        running.cancel()
        assert heard == {str(channel.id) for channel in channels}
        parts = [call.streams for call in world.asked if isinstance(call, ReadHeads)]
        assert all(4 <= len(streams) <= 5 for streams in parts)
        assert len(set(chain(*parts[:4]))) == 17, "eight groups, their channels and a user"


async def test_a_missed_join_is_found(world: World, node: ServedNode) -> None:
    """A user whose join was never heard of gets the group all the same."""
    ann, ben = world.register("ann"), world.register("ben")
    group, _ = await world.create_group(ann)
    async with open_client(node, world.token(ben)) as client:
        world.losing = 2
        await world.join(ben, group)
        assert await node.gateway.comparing.compare(0) == 1
        assert (await client.until("GUILD_CREATE"))["d"]["id"] == str(group.id)


async def test_what_is_on_its_way_is_not_repaired(world: World, node: ServedNode) -> None:
    """When all is well, comparing finds nothing and asks for nothing but heads."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    async with open_client(node, world.token(ann)) as client:
        await world.say(ann, channel, "heard")
        await client.until("MESSAGE_CREATE")
        world.asked.clear()
        assert await node.gateway.comparing.compare(0) == 0
        assert {type(call) for call in world.asked} == {ReadHeads}


class LateSubscription:
    """A subscription whose bindings are confirmed at once, and come into force when the test says so."""

    def __init__(self, subscription: MemorySubscription) -> None:
        self._subscription = subscription
        self._late: list[Binding] = []

    async def take(self, limit: int) -> Batch:
        """See `shared.bus.Subscription`."""
        return await self._subscription.take(limit)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """See `shared.bus.Subscription`."""
        await self._subscription.ack(deliveries)

    async def bind(self, bindings: Sequence[Binding]) -> None:
        """Confirm, and keep for later."""
        self._late += bindings

    async def unbind(self, bindings: Sequence[Binding]) -> None:
        """See `shared.bus.Subscription`."""
        await self._subscription.unbind(bindings)

    async def come_into_force(self) -> None:
        """Bind what was confirmed."""
        late, self._late = self._late, []
        await self._subscription.bind(late)


class LateBus(MemoryBus):
    """A bus on which the bindings of node queues come into force late, as on a cluster of brokers."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[LateSubscription] = []

    @property
    def binds_everywhere(self) -> bool:
        """No."""
        return False

    @asynccontextmanager
    async def subscribe(
        self, queue: Queue, bindings: Sequence[Binding] = (), *, prefetch: int = 256
    ) -> AsyncIterator[Any]:
        """Subscribe; late if it is a node's."""
        async with super().subscribe(queue, bindings, prefetch=prefetch) as subscription:
            if queue.exclusive:
                self.nodes.append(LateSubscription(subscription))
            yield self.nodes[-1] if queue.exclusive else subscription


async def test_what_came_before_a_binding_was_in_force_is_found() -> None:
    """What was said between the read heads and a binding in force is told soon, not after the large comparison only.

    Of a group, of a direct channel and of the user's own stream, in order.
    """
    bus = LateBus()
    async with open_world(bus) as world, open_node(world) as node:
        ann, ben = world.register("ann"), world.register("ben")
        _, channel = await world.create_group(ann)
        other, _ = await world.create_group(ben)
        direct = await world.open_direct(ann, ben)
        async with open_client(node, world.token(ann)) as client:
            for content in ("one", "two"):
                await world.say(ben, channel, content)
            await world.say(ben, direct, "three")
            await world.join(ann, other)
            await bus.nodes[0].come_into_force()
            await node.gateway.comparing.compare_fresh(0, 0)  # unless the node did it by itself just now
            while len(client.got("MESSAGE_CREATE")) < 3 or len(client.got("GUILD_CREATE")) < 2:
                await client.receive()
            contents = [message["content"] for message in client.got("MESSAGE_CREATE")]
            assert [one for one in contents if one != "three"] == ["one", "two"]


async def test_fresh_units_that_could_not_be_compared_are_tried_again() -> None:
    """While the heads can't be read nothing is forgotten."""
    async with open_world(LateBus()) as world, open_node(world) as node:
        ann = world.register("ann")
        _, channel = await world.create_group(ann)
        async with open_client(node, world.token(ann)) as client:
            await world.say(ann, channel, "lost")
            world.failing[ReadHeads] = 1
            with suppress(Unavailable):  # the node may have asked by itself just now
                await node.gateway.comparing.compare_fresh(0, 0)
            await node.gateway.comparing.compare_fresh(0, 0)
            assert (await client.until("MESSAGE_CREATE"))["d"]["content"] == "lost"


async def test_where_binds_are_everywhere_at_once_nothing_is_asked_twice(world: World, node: ServedNode) -> None:
    """On such a bus what was bound a moment ago is not compared by itself."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    async with open_client(node, world.token(ann)) as client:
        await world.say(ann, channel, "heard")
        assert (await client.until("MESSAGE_CREATE"))["d"]["content"] == "heard"
        world.asked.clear()
        assert await node.gateway.comparing.compare_fresh(0, 0) == 0
        assert ReadHeads not in {type(call) for call in world.asked}
