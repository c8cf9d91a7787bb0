"""Blocked users: a node refuses what is written in their direct channels as soon as it heard of it."""

from __future__ import annotations

from tests.gateway.world import Client, open_client, open_node, open_world


async def refusal_of(client: Client, channel_id: int) -> int:
    """Send a message without a nonce, which the node answers by itself; return the code of a refusal, 0 if stored."""
    await client.send(100, {"channel_id": str(channel_id), "content": "hello"})
    while (answer := await client.receive())["op"] not in (101, 102):
        continue
    return int(answer["d"].get("code", 0))


async def test_nobody_writes_in_a_closed_direct_channel() -> None:
    """Neither who blocks nor who is blocked; opened again, both do. The channel and its messages stay."""
    async with open_world() as world, open_node(world) as node:
        ann, ben = world.register("ann"), world.register("ben")
        direct = await world.open_direct(ann, ben)
        async with open_client(node, world.token(ann)) as one, open_client(node, world.token(ben)) as other:
            for closed, code in ((False, 0), (True, 50007), (False, 0)):
                await world.close_direct(direct, closed=closed)
                for client, user in ((one, ann), (other, ben)):
                    await world.create_group(user, "heard")
                    await client.until("GUILD_CREATE")
                    assert await refusal_of(client, direct.id) == code
