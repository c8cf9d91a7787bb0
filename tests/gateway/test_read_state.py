"""How far a user has read: READY says it to people, and MESSAGE_ACK to the user's other sessions."""

from __future__ import annotations

import asyncio

from services.history.signalling import tell_ack
from shared.core.calls import Marker, ReadMarkers
from shared.core.commands import Acked
from tests.gateway.world import open_client, open_node, open_world


async def test_ready_tells_it_to_people_and_acks_follow() -> None:
    """A person gets its markers and every ack of its own; a bot gets neither key nor question, others no ack."""
    async with open_world() as world:
        ann, ben, bot = world.register("ann"), world.register("ben"), world.register("helper", bot=True)
        world.markers[ann.id] = (Marker(7, 70), Marker(8, 60))
        async with (
            open_node(world) as node,
            open_client(node, world.token(ann)) as phone,
            open_client(node, world.token(ann)) as laptop,
            open_client(node, world.token(ben)) as other,
            open_client(node, world.token(bot)) as program,
        ):
            told = [{"id": "7", "last_message_id": "70"}, {"id": "8", "last_message_id": "60"}]
            assert [client.ready["read_state"] for client in (phone, laptop, other)] == [told, told, []]
            assert "read_state" not in program.ready
            assert not any(bot.id in call.user_ids for call in world.asked if isinstance(call, ReadMarkers))
            await tell_ack(world.bus, world.topology, Acked(ann.id, 7, 71))
            await tell_ack(world.bus, world.topology, Acked(ben.id, 9, 90))
            for client in (phone, laptop):
                assert (await client.until("MESSAGE_ACK"))["d"] == {"channel_id": "7", "message_id": "71"}
            assert (await other.until("MESSAGE_ACK"))["d"] == {"channel_id": "9", "message_id": "90"}


async def test_a_session_begins_without_it_where_history_is_away() -> None:
    """What nobody can tell at the moment is left out; everything else is there."""
    async with open_world() as world:
        ann = world.register("ann")
        world.failing[ReadMarkers] = 1
        async with open_node(world) as node, open_client(node, world.token(ann)) as client:
            assert "read_state" not in client.ready


async def test_one_alone_waits_for_a_history_that_does_not_answer() -> None:
    """Who comes behind is not held up: nobody is asked about them, for a while."""
    async with open_world() as world:
        ann, ben = world.register("ann"), world.register("ben")
        world.gates[ReadMarkers] = asyncio.Event()
        async with open_node(world) as node:
            for user in (ann, ben):
                async with open_client(node, world.token(user)) as client:
                    assert "read_state" not in client.ready
        assert [call.user_ids for call in world.asked if isinstance(call, ReadMarkers)] == [(ann.id,)]
        world.gates[ReadMarkers].set()
