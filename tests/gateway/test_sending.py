"""MESSAGE_SEND: what a message carries, and what it costs to know it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.core import calls
from tests.gateway.world import ServedNode, World, open_client, open_node, open_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return users and groups to be."""
    async with open_world() as opened:
        yield opened


@pytest.fixture
async def node(world: World) -> AsyncIterator[ServedNode]:
    """Return a node of that world."""
    async with open_node(world) as opened:
        yield opened


async def test_members_are_mentioned_as_users(world: World, node: ServedNode) -> None:
    """Who is mentioned is looked up once, where somebody is; a stranger is text, and so is @everyone without leave."""
    ann, ben, eve = (world.register(name) for name in ("ann", "ben", "eve"))
    group, channel = await world.create_group(ann)
    await world.join(ben, group)
    async with open_client(node, world.token(ben)) as client:
        await client.post(channel, "hello @everyone")
        told = await client.until_content("hello @everyone")
        assert (told["d"]["mentions"], told["d"]["mention_everyone"]) == ([], False)
        assert not [call for call in world.asked if isinstance(call, calls.ReadMentionable)]
        content = f"<@{ann.id}> <@{eve.id}>"
        await client.post(channel, content, allowed_mentions={"parse": ["users"]})
        told = await client.until_content(content)
        assert [user["username"] for user in told["d"]["mentions"]] == ["ann"]
        await client.post(channel, f"{content}!", allowed_mentions={"parse": []})
        assert (await client.until_content(f"{content}!"))["d"]["mentions"] == []
        assert len([call for call in world.asked if isinstance(call, calls.ReadMentionable)]) == 1


async def test_who_is_looked_up_delays_what_is_sent_behind(world: World, node: ServedNode) -> None:
    """Sends keep their order while groups is asked whom the first of them mentions."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    async with open_client(node, world.token(ann)) as client:
        gate = world.gates[calls.ReadMentionable] = asyncio.Event()
        await client.post(channel, f"<@{ann.id}>")
        await client.post(channel, "behind")
        async with asyncio.timeout(10):
            while not any(isinstance(call, calls.ReadMentionable) for call in world.asked):
                await asyncio.sleep(0)
        gate.set()
        await client.until_content("behind")
        assert [one["content"] for one in client.got("MESSAGE_CREATE")] == [f"<@{ann.id}>", "behind"]


async def test_groups_away_is_told_as_retryable(world: World, node: ServedNode) -> None:
    """Nothing is sent without those whom it mentions: try again with the same nonce."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    async with open_client(node, world.token(ann)) as client:
        world.failing[calls.ReadMentionable] = 100
        nonce = await client.post(channel, f"<@{ann.id}>")
        reject = (await client.until(102))["d"]
        assert (reject["nonce"], "retry_after" in reject) == (nonce, True)
        assert world.commands == []


async def test_a_direct_message_mentions_its_users(world: World, node: ServedNode) -> None:
    """From what the node holds, without a question."""
    ann, ben, eve = (world.register(name) for name in ("ann", "ben", "eve"))
    channel = await world.open_direct(ann, ben)
    async with open_client(node, world.token(ann)) as client:
        content = f"<@{ben.id}> <@{eve.id}>"
        await client.post(channel, content)
        told = await client.until_content(content)
        assert [user["username"] for user in told["d"]["mentions"]] == ["ben"]
        assert not [call for call in world.asked if isinstance(call, calls.ReadMentionable)]


async def test_embeds_and_flags_come_over_the_gateway_too(world: World, node: ServedNode) -> None:
    """Op 100 and REST are one judge."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    async with open_client(node, world.token(ann)) as client:
        await client.post(channel, "x", embeds=[{"title": "t"}], flags=4)
        told = (await client.until_content("x"))["d"]
        assert (told["embeds"], told["flags"]) == ([{"type": "rich", "title": "t"}], 4)
        await client.post(channel, "x", embeds=[{"title": 5}])
        reject = (await client.until(102))["d"]
        assert reject["code"] == 50035
        assert reject["message"].startswith("embeds.0.title")
