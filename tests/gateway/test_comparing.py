"""What was missed without a hole to show it is found by comparing heads, and told in order, once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

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
        assert [type(call).__name__ for call in world.asked] == ["ReadHeads"]
