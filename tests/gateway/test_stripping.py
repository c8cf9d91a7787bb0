"""Who was removed from a group keeps the session and loses the group: nothing that was sequenced after the answer."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.nodes import Cluster, cluster, contents, say_all
from tests.gateway.world import Client, open_client

__all__ = ["cluster"]


async def everything(client: Client) -> None:
    """Wait until all that the server has sent so far is here."""
    await client.send(1, None)
    await client.until(11)


@pytest.mark.parametrize("then", ["stays", "resumes here", "resumes elsewhere", "resumes after a kill"])
async def test_a_removed_member(cluster: Cluster, then: str) -> None:
    """GUILD_DELETE and nothing after; whether attached, or away and back somewhere.

    What was said before is told, unless its node died: another one reads it by what the user may see today.
    """
    world = cluster.world
    ann, ben = world.register("ann"), world.register("ben")
    group, channel = await world.create_group(ann)
    other, elsewhere = await world.create_group(ben, "other")
    await world.join(ben, group)
    one, two = await cluster.start("one"), await cluster.start("two")
    async with open_client(one, world.token(ben)) as client, open_client(two, world.token(ann)) as witness:
        await cluster.known("one")
        if then != "stays":
            client.socket.transport.abort()
            await one.wait_detached(1)
        await say_all(world, ann, channel, "before")
        await world.leave(ben, group)
        await say_all(world, ann, channel, "after")
        await witness.until_content("after")
        await say_all(world, ben, elsewhere, "in the other group")
        await cluster.checkpoint("one")
        if then == "resumes after a kill":
            await cluster.kill("one")
        node = one if then == "resumes here" else two
        async with open_client(node) as again:
            if then == "stays":
                again = client
            else:
                await again.resume(client, world.token(ben))
            await world.create_channel(group, "not for ben")
            await say_all(world, ann, channel, "much later")
            await witness.until_content("much later")
            await world.create_channel(other, "for ben")
            async with asyncio.timeout(10):
                while not any(one["name"] == "for ben" for one in again.got("CHANNEL_CREATE")):
                    await again.receive()
            await everything(again)
            before = [] if then == "resumes after a kill" else ["before"]
            assert contents(again) == [*before, "in the other group"]
            assert [one["id"] for one in again.got("GUILD_DELETE")] == [str(group.id)]
            assert [one["name"] for one in again.got("CHANNEL_CREATE")] == ["for ben"]
