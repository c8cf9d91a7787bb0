"""Presence: who is here is told in small groups, on every node, to those who asked; and stops when nobody is."""

from __future__ import annotations

import asyncio
from typing import Any

from services.gateway.core.intents import ALL_INTENTS, Intent
from shared.core.commands import Presences, Present, decode_for_node, encode_envelope
from shared.core.model import ONLINE, Presence
from tests.gateway.nodes import Cluster, cluster
from tests.gateway.world import Client, open_client

__all__ = ["cluster"]

SMALL: dict[str, Any] = {"presence_members": 100}


async def until_status(client: Client, user_id: int, status: str) -> dict[str, Any]:
    """Wait until a client is told that a user is so."""
    while True:
        d: dict[str, Any] = (await client.until("PRESENCE_UPDATE"))["d"]
        if (d["user"]["id"], d["status"]) == (str(user_id), status):
            return d


async def test_presence_is_told_across_nodes(cluster: Cluster) -> None:
    """Who comes, says something of itself and goes; who comes later sees it in GUILD_CREATE."""
    world = cluster.world
    ann, ben, group, _ = await world.create_pair()
    one, two = await cluster.start("one", **SMALL), await cluster.start("two", **SMALL)
    async with open_client(one, world.token(ann)) as watching:
        async with open_client(two) as client:
            await client.identify(world.token(ben), presence={"status": "idle", "activities": [{"name": "chess"}]})
            told = await until_status(watching, ben.id, "idle")
            assert told["guild_id"] == str(group.id)
            assert told["activities"][0]["name"] == "chess"
            await until_status(client, ann.id, "online")
            async with open_client(two, world.token(ann)) as late:
                shown = late.got("GUILD_CREATE")[0]["presences"]
                assert {(one["user"]["id"], one["status"]) for one in shown} == {
                    (str(ann.id), "online"),
                    (str(ben.id), "idle"),
                }
            await watching.send(8, {"guild_id": str(group.id), "query": "", "limit": 0, "presences": True})
            chunk = (await watching.until("GUILD_MEMBERS_CHUNK"))["d"]
            assert sorted(one["user"]["id"] for one in chunk["presences"]) == sorted([str(ann.id), str(ben.id)])
            await client.send(3, {"since": None, "activities": [], "status": "dnd", "afk": False})
            await until_status(watching, ben.id, "dnd")
            await client.send(3, {"status": "invisible"})
            await until_status(watching, ben.id, "offline")
            await client.send(3, {"status": "online"})
            await until_status(watching, ben.id, "online")
            await client.socket.close(1000)
        await until_status(watching, ben.id, "offline")


async def test_what_was_said_before_a_node_came_is_read(cluster: Cluster) -> None:
    """A node that begins to follow a group reads the leases of its members."""
    world = cluster.world
    ann, ben, _, _ = await world.create_pair()
    await world.leases.put("elsewhere", {ben.id: Presence("dnd")}, ttl_s=60)
    one = await cluster.start("one", **SMALL)
    async with open_client(one, world.token(ann)) as client:
        await until_status(client, ben.id, "dnd")


async def test_who_joins_sees_who_is_there_and_is_seen(cluster: Cluster) -> None:
    """A group that one comes into while one is online tells its presences, and is told one's own."""
    world = cluster.world
    ann, ben = world.register("ann"), world.register("ben")
    group, _ = await world.create_group(ann)
    one, two = await cluster.start("one", **SMALL), await cluster.start("two", **SMALL)
    async with open_client(one, world.token(ann)) as watching, open_client(two, world.token(ben)) as client:
        await until_status(watching, ann.id, "online")
        await two.gateway.showing.turn()
        await world.join(ben, group)
        await client.until("GUILD_CREATE")
        await until_status(watching, ben.id, "online")
        await until_status(client, ann.id, "online")


async def test_who_did_not_ask_is_told_nothing_where_it_joins_and_asks_for_members(cluster: Cluster) -> None:
    """Of two sessions of one who comes into a group the one with the intent alone hears who is there."""
    world = cluster.world
    ann, ben = world.register("ann"), world.register("ben")
    group, _ = await world.create_group(ann)
    one = await cluster.start("one", **SMALL)
    async with open_client(one, world.token(ann)) as watching, open_client(one) as client, open_client(one) as deaf:
        await until_status(watching, ann.id, "online")
        await client.identify(world.token(ben))
        await deaf.identify(world.token(ben), intents=ALL_INTENTS & ~int(Intent.GUILD_PRESENCES))
        await world.join(ben, group)
        for hearer, is_told in ((client, True), (deaf, False)):
            created = (await hearer.until("GUILD_CREATE"))["d"]
            assert (str(ann.id) in {one["user"]["id"] for one in created["presences"]}) == is_told
            await hearer.send(8, {"guild_id": str(group.id), "query": "ann", "limit": 0, "presences": True})
            chunk = (await hearer.until("GUILD_MEMBERS_CHUNK"))["d"]
            assert len(chunk["presences"]) == is_told


async def test_who_did_not_ask_and_large_groups_are_told_nothing(cluster: Cluster) -> None:
    """Without the intent there is neither PRESENCE_UPDATE nor anybody in GUILD_CREATE; in a group too large nobody."""
    world = cluster.world
    ann, ben, cleo = (world.register(name) for name in ("ann", "ben", "cleo"))
    small, _ = await world.create_group(ann)
    large, _ = await world.create_group(ben)
    await world.join(ben, small)
    await world.join(ann, large)
    await world.join(cleo, large)
    one = await cluster.start("one", presence_members=2)
    async with open_client(one, world.token(ann)) as watching, open_client(one) as deaf:
        await deaf.identify(world.token(ann), intents=ALL_INTENTS & ~int(Intent.GUILD_PRESENCES))
        async with open_client(one, world.token(ben)):
            told = await until_status(watching, ben.id, "online")
            assert told["guild_id"] == str(small.id)
            async with open_client(one) as late:
                await late.identify(world.token(ann), intents=1)
                assert [d["presences"] for d in late.got("GUILD_CREATE")] == [[], []]
        await world.rename(ann, "anna")
        await watching.until("USER_UPDATE")
        await deaf.until("USER_UPDATE")
    assert not deaf.got("PRESENCE_UPDATE")
    assert {d["guild_id"] for d in watching.got("PRESENCE_UPDATE")} == {str(small.id)}


async def test_a_lost_connection_is_no_absence_at_once(cluster: Cluster) -> None:
    """Who resumes soon was never away."""
    world = cluster.world
    ann, ben, _, channel = await world.create_pair()
    one = await cluster.start("one", **SMALL)
    async with open_client(one, world.token(ann)) as watching:
        async with open_client(one, world.token(ben)) as client:
            await until_status(watching, ben.id, "online")
            client.socket.transport.abort()
        await one.wait_detached(1)
        for _ in range(3):
            await one.gateway.showing.turn()
        async with open_client(one) as again:
            await again.resume(client, world.token(ben))
            await one.gateway.showing.turn()
            await world.say(ann, channel, "still there")
            await watching.until_content("still there")
    assert [d["status"] for d in watching.got("PRESENCE_UPDATE") if d["user"]["id"] == str(ben.id)] == ["online"]


async def test_strangers_are_not_kept(cluster: Cluster) -> None:
    """A node that is told of users whom nobody there may see keeps nothing of them."""
    world = cluster.world
    ann = world.register("ann")
    group, _ = await world.create_group(ann)
    one = await cluster.start("one", **SMALL)
    async with open_client(one, world.token(ann)) as client:
        await until_status(client, ann.id, "online")
        said = Presences("elsewhere", (Present(99, (group.id,), ONLINE), Present(98, (4,), ONLINE)))
        assert decode_for_node(encode_envelope(said)) == said
        keys = (world.topology.group_key(group.id),)
        await world.bus.publish(world.topology.events, keys, encode_envelope(said))
        await asyncio.wait_for(world.join(world.register("ben"), group), 5)
        await client.until("GUILD_MEMBER_ADD")
        assert one.metrics.registry.get_sample_value("starling_gateway_presence_users") == 1
