"""Edits and deletions through a node: told live, from a repair, from the replay log and at a take-over."""

from __future__ import annotations

from typing import Any

from shared.core.stream import Event
from tests.gateway.nodes import Cluster, cluster
from tests.gateway.world import Client, World, open_client, open_node, open_world

__all__ = ["cluster"]

CHANGES = ("MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE", "MESSAGE_DELETE_BULK")


def told(client: Client) -> list[tuple[str, int, Any]]:
    """Return what a client was told of messages: name, seq, and the content or the ids."""
    found = []
    for frame in client.dispatches:
        if frame["t"] in CHANGES:
            d = frame["d"]
            found.append((frame["t"], d["seq"], d.get("content") or d.get("ids") or d["id"]))
    return found


async def write(world: World, ann: Any, channel: Any) -> list[Event]:
    """Write four messages, edit one, delete one, then two at once, and write one more."""
    events = [await world.say(ann, channel, f"said {number}") for number in range(4)]
    await world.edit(events[0], "edited")
    await world.delete(events[1])
    await world.delete(events[2], events[3])
    await world.say(ann, channel, "last")
    return events


async def test_changes_are_told_live() -> None:
    """To every session that may see the channel: the whole message, or the ids of what is gone."""
    async with open_world() as world, open_node(world) as node:
        ann, ben, eve = (world.register(name) for name in ("ann", "ben", "eve"))
        group, channel = await world.create_group(ann)
        await world.join(ben, group)
        async with open_client(node, world.token(ben)) as client, open_client(node, world.token(eve)) as stranger:
            ids = [str(event.record.id) for event in await write(world, ann, channel)]
            await client.until_content("last")
            assert told(client) == [
                *(("MESSAGE_CREATE", number + 1, f"said {number}") for number in range(4)),
                ("MESSAGE_UPDATE", 5, "edited"),
                ("MESSAGE_DELETE", 6, ids[1]),
                ("MESSAGE_DELETE_BULK", 7, ids[2:]),
                ("MESSAGE_CREATE", 8, "last"),
            ]
            (update,) = client.got("MESSAGE_UPDATE")
            (created, *_) = client.got("MESSAGE_CREATE")
            assert {name for name in update if update[name] != created[name]} == {
                "content",
                "edited_timestamp",
                "seq",
            }
            assert told(stranger) == []


async def test_a_repair_tells_changes_too() -> None:
    """What got lost on its way is read: a message in today's content, nothing of a deleted one, and each change."""
    async with open_world() as world, open_node(world) as node:
        ann = world.register("ann")
        _, channel = await world.create_group(ann)
        async with open_client(node, world.token(ann)) as client:
            await world.say(ann, channel, "first")
            await client.until_content("first")
            world.losing = 7
            ids = [str(event.record.id) for event in await write(world, ann, channel)]
            await client.until_content("last")
            assert told(client) == [
                ("MESSAGE_CREATE", 1, "first"),
                ("MESSAGE_CREATE", 2, "edited"),
                ("MESSAGE_UPDATE", 6, "edited"),
                ("MESSAGE_DELETE", 7, ids[1]),
                ("MESSAGE_DELETE_BULK", 8, ids[2:]),
                ("MESSAGE_CREATE", 9, "last"),
            ]


async def test_a_resumed_session_is_told_changes(cluster: Cluster) -> None:
    """On its own node as they were dispatched, from the replay log."""
    world = cluster.world
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    one = await cluster.start("one")
    async with open_client(one, world.token(ann)) as witness:
        async with open_client(one, world.token(ann)) as client:
            client.socket.transport.abort()
        await one.wait_detached(1)
        await write(world, ann, channel)
        await witness.until_content("last")
        async with open_client(one) as again:
            await again.resume(client, world.token(ann))
            assert told(again) == told(witness)
            assert len(told(again)) == 8


async def test_a_session_taken_over_from_a_dead_node_is_told_changes(cluster: Cluster) -> None:
    """From the streams: what was deleted meanwhile is not shown at all, and its deletion is told."""
    world = cluster.world
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    one, two = await cluster.start("one"), await cluster.start("two")
    async with open_client(one, world.token(ann)) as client:
        await world.say(ann, channel, "first")
        await client.until_content("first")
        client.socket.transport.abort()
    await cluster.checkpoint("one")
    await cluster.kill("one")
    ids = [str(event.record.id) for event in await write(world, ann, channel)]
    async with open_client(two) as again:
        await again.resume(client, world.token(ann))
        assert told(again) == [
            ("MESSAGE_CREATE", 2, "edited"),
            ("MESSAGE_UPDATE", 6, "edited"),
            ("MESSAGE_DELETE", 7, ids[1]),
            ("MESSAGE_DELETE_BULK", 8, ids[2:]),
            ("MESSAGE_CREATE", 9, "last"),
        ]
        await world.say(ann, channel, "live")
        assert (await again.until_content("live"))["d"]["seq"] == 10
