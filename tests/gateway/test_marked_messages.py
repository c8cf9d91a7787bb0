"""Reactions and pins through a node: told live, from a repair, from the replay log and at a take-over."""

from __future__ import annotations

import msgspec

from shared.core.message_events import (
    MessageCreated,
    MessagePinned,
    MessageUnpinned,
    Reaction,
    ReactionAdded,
    ReactionRemoved,
    ReactionsCleared,
    Target,
)
from shared.core.model import Channel, User
from tests.gateway.nodes import Cluster, cluster
from tests.gateway.world import AT, Client, World, open_client, open_node, open_world

__all__ = ["cluster"]

NAMES = (
    "MESSAGE_CREATE",
    "MESSAGE_UPDATE",
    "MESSAGE_REACTION_ADD",
    "MESSAGE_REACTION_REMOVE",
    "MESSAGE_REACTION_REMOVE_EMOJI",
    "MESSAGE_REACTION_REMOVE_ALL",
    "CHANNEL_PINS_UPDATE",
)
MARKED = [
    ("MESSAGE_CREATE", 1),
    ("MESSAGE_REACTION_ADD", 2),
    ("MESSAGE_REACTION_REMOVE", 3),
    ("MESSAGE_REACTION_REMOVE_EMOJI", 4),
    ("MESSAGE_REACTION_REMOVE_ALL", 5),
    ("MESSAGE_UPDATE", 6),
    ("CHANNEL_PINS_UPDATE", None),
    ("MESSAGE_UPDATE", 7),
    ("CHANNEL_PINS_UPDATE", None),
    ("MESSAGE_CREATE", 8),
]
STORED = [one for one in MARKED if one[0] != "CHANNEL_PINS_UPDATE"]


def told(client: Client) -> list[tuple[str, int | None]]:
    """Return what a client was told of messages: name and seq."""
    return [(one["t"], one["d"].get("seq")) for one in client.dispatches if one["t"] in NAMES]


async def mark(world: World, user: User, channel: Channel) -> None:
    """Write a message, react to it in all ways, pin it, unpin it, and write one more."""
    event = await world.say(user, channel, "first")
    body = event.record.body
    assert isinstance(body, MessageCreated)
    target = Target(event.record.id, event.record.seq, 1, user.id, 1, 0)
    member = world.members[channel.group_id].get(user.id)
    pinned = msgspec.structs.replace(body, pinned=True)
    for change in (
        ReactionAdded(target, "👍", user, member, (Reaction("👍", 1, 5),)),
        ReactionRemoved(target, "👍", user.id, ()),
        ReactionsCleared(target, "👍", ()),
        ReactionsCleared(target, "", ()),
        MessagePinned(target, event.record.at, pinned, user.id, AT),
        MessageUnpinned(target, event.record.at, body, user.id, 0),
    ):
        await world.happen(event.stream, change)
    await world.say(user, channel, "last")


async def test_marks_are_told_live() -> None:
    """To every session that may see the channel, with Discord's fields."""
    async with open_world() as world, open_node(world) as node:
        ann, eve = world.register("ann"), world.register("eve")
        group, channel = await world.create_group(ann)
        async with open_client(node, world.token(ann)) as client, open_client(node, world.token(eve)) as stranger:
            await mark(world, ann, channel)
            await client.until_content("last")
            assert told(client) == MARKED
            (added,) = client.got("MESSAGE_REACTION_ADD")
            where = {"channel_id": str(channel.id), "guild_id": str(group.id)}
            assert where.items() <= added.items()
            assert added["member"]["user"]["id"] == added["user_id"] == added["message_author_id"] == str(ann.id)
            assert added["emoji"] == {"id": None, "name": "👍", "animated": False}
            assert [update["pinned"] for update in client.got("MESSAGE_UPDATE")] == [True, False]
            hints = client.got("CHANNEL_PINS_UPDATE")
            assert [hint["last_pin_timestamp"] is None for hint in hints] == [False, True]
            assert all(where.items() <= hint.items() for hint in hints)
            assert told(stranger) == []


async def test_a_direct_channel_has_no_members() -> None:
    """Libraries take a member for one of a group."""
    async with open_world() as world, open_node(world) as node:
        ann, ben = world.register("ann"), world.register("ben")
        channel = await world.open_direct(ann, ben)
        async with open_client(node, world.token(ben)) as client:
            await mark(world, ann, channel)
            await client.until_content("last")
            (added,) = client.got("MESSAGE_REACTION_ADD")
            assert not added.keys() & {"member", "guild_id"}


async def test_a_repair_tells_marks_too() -> None:
    """What got lost on its way is read, and told as it would have been."""
    async with open_world() as world, open_node(world) as node:
        ann = world.register("ann")
        _, channel = await world.create_group(ann)
        async with open_client(node, world.token(ann)) as client:
            world.losing = 7
            await mark(world, ann, channel)
            await client.until_content("last")
            assert told(client) == MARKED


async def test_a_resumed_session_is_told_marks(cluster: Cluster) -> None:
    """On its own node as they were dispatched, from the replay log; from a dead node's streams without hints."""
    world = cluster.world
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    one, two = await cluster.start("one"), await cluster.start("two")
    async with open_client(one, world.token(ann)) as witness:
        async with open_client(one, world.token(ann)) as client, open_client(one, world.token(ann)) as other:
            for gone in (client, other):
                gone.socket.transport.abort()
        await one.wait_detached(2)
        await cluster.checkpoint("one")
        await mark(world, ann, channel)
        await witness.until_content("last")
        async with open_client(one) as again:
            await again.resume(client, world.token(ann))
            assert told(again) == told(witness) == MARKED
    await cluster.kill("one")
    async with open_client(two) as again:
        await again.resume(other, world.token(ann))
        assert told(again) == STORED
