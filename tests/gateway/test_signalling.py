"""Typing: who sees the channel is told, nobody else, and nothing is kept of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from shared.core.model import Channel, User
from shared.settings import LimitSettings
from tests.gateway.world import ServedNode, World, open_client, open_node, open_world, settings_of


@dataclass
class Typing:
    """The route that tells that somebody types."""

    world: World
    node: ServedNode
    http: httpx.AsyncClient

    async def begin(self, user: User, channel: Channel) -> httpx.Response:
        """Tell that a user types."""
        url = f"http://127.0.0.1:{self.node.port}/api/v10/channels/{channel.id}/typing"
        return await self.http.post(url, headers={"Authorization": self.world.token(user)})


@pytest.fixture
async def typing() -> AsyncIterator[Typing]:
    """Return the route of a node of a new world."""
    async with open_world() as world, open_node(world) as node, httpx.AsyncClient() as http:
        yield Typing(world, node, http)


async def test_members_are_told_who_types(typing: Typing) -> None:
    """TYPING_START has Discord's fields, the member inside; strangers may neither tell nor hear."""
    world = typing.world
    ann, ben, eve = (world.register(name) for name in ("ann", "ben", "eve"))
    group, channel = await world.create_group(ann)
    await world.join(ben, group)
    async with (
        open_client(typing.node, world.token(ann)) as client,
        open_client(typing.node, world.token(eve)) as other,
    ):
        assert (await typing.begin(ben, channel)).status_code == 204
        told = (await client.until("TYPING_START"))["d"]
        assert told["member"]["user"]["username"] == "ben"
        assert {key: told[key] for key in ("channel_id", "guild_id", "user_id")} == {
            "channel_id": str(channel.id),
            "guild_id": str(group.id),
            "user_id": str(ben.id),
        }
        refused = await typing.begin(eve, channel)
        assert (refused.status_code, refused.json()["code"]) == (403, 50001)
        await world.open_direct(ben, eve)
        await other.until("CHANNEL_CREATE")
        assert not other.got("TYPING_START")


async def test_who_resumes_is_not_told_who_typed(typing: Typing) -> None:
    """A session that was away is told what was said, not who typed meanwhile."""
    world = typing.world
    ann, ben = world.register("ann"), world.register("ben")
    channel = await world.open_direct(ann, ben)
    async with open_client(typing.node, world.token(ann)) as client:
        await typing.begin(ben, channel)
        assert (await client.until("TYPING_START"))["d"].get("guild_id") is None
        client.socket.transport.abort()
        await typing.node.wait_detached(1)
    async with open_client(typing.node) as again:
        await typing.begin(ben, channel)
        await world.say(ben, channel, "hello")
        await again.resume(client, world.token(ann))
        assert [one["content"] for one in again.got("MESSAGE_CREATE")] == ["hello"]
        assert not again.got("TYPING_START")


async def test_typing_has_a_budget() -> None:
    """Who tells it more often than people type is refused for a while."""
    async with (
        open_world() as world,
        open_node(world, settings_of(limits=LimitSettings())) as node,
        httpx.AsyncClient() as http,
    ):
        ann = world.register("ann")
        _, channel = await world.create_group(ann)
        typing = Typing(world, node, http)
        answers = [await typing.begin(ann, channel) for _ in range(8)]
        assert [answer.status_code for answer in answers[:5]] == [204] * 5
        assert answers[-1].status_code == 429
        assert answers[-1].json()["retry_after"] > 0
