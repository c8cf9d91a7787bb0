"""How far a user has read: READY says it to people, and MESSAGE_ACK to the user's other sessions."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from services.history.signalling import tell_ack
from shared.core.calls import Marker, ReadMarkers, ReadSessions
from shared.core.commands import Acked
from tests.gateway.world import open_client, open_node, open_world
from tests.waiting import wait_until


async def test_ready_tells_it_to_people_and_acks_follow() -> None:
    """A person gets its markers and every ack of its own; a bot gets no key, others no ack."""
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
            await tell_ack(world.bus, world.topology, Acked(ann.id, 7, 71))
            await tell_ack(world.bus, world.topology, Acked(ben.id, 9, 90))
            for client in (phone, laptop):
                assert (await client.until("MESSAGE_ACK"))["d"] == {"channel_id": "7", "message_id": "71"}
            assert (await other.until("MESSAGE_ACK"))["d"] == {"channel_id": "9", "message_id": "90"}


async def test_who_comes_anew_is_asked_about_while_the_body_is_read() -> None:
    """One question beside the body's; who is followed already is asked about alone."""
    async with open_world() as world:
        ann = world.register("ann")
        world.markers[ann.id] = (Marker(7, 70),)
        gate = world.gates.setdefault(ReadSessions, asyncio.Event())
        async with open_node(world) as node, open_client(node) as phone:
            await phone.send(2, {"token": world.token(ann)})
            await wait_until(lambda: ReadMarkers((ann.id,)) in world.asked)
            gate.set()
            ready = await phone.until("READY")
            assert ready["d"]["read_state"] == [{"id": "7", "last_message_id": "70"}]
            assert world.asked.count(ReadMarkers((ann.id,))) == 1
            async with open_client(node, world.token(ann)) as laptop:
                assert laptop.ready["read_state"] == ready["d"]["read_state"]
        assert world.asked.count(ReadMarkers((ann.id,))) == 2


@pytest.mark.parametrize("slow", [ReadSessions, ReadMarkers])
async def test_what_is_acked_before_ready_is_in_it(slow: type[ReadSessions | ReadMarkers]) -> None:
    """Markers that were read, or are on their way, before an ack came are read again; whatever READY waits for."""
    async with open_world() as world:
        ann, ben = world.register("ann"), world.register("ben")
        world.markers[ann.id] = (Marker(7, 70),)
        async with open_node(world) as node, open_client(node, world.token(ben)) as other, open_client(node) as client:
            gate = world.gates.setdefault(slow, asyncio.Event())
            await client.send(2, {"token": world.token(ann)})
            await wait_until(lambda: ReadMarkers((ann.id,)) in world.asked)
            if slow is ReadMarkers:
                await wait_until(lambda: not node.gateway.node.statistics()["units_at_work"])
            world.markers[ann.id] = (Marker(7, 71),)
            await tell_ack(world.bus, world.topology, Acked(ann.id, 7, 71))
            await tell_ack(world.bus, world.topology, Acked(ben.id, 7, 71))
            await other.until("MESSAGE_ACK")  # behind the other one
            gate.set()
            ready = await client.until("READY")
            assert ready["d"]["read_state"] == [{"id": "7", "last_message_id": "71"}]


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


async def test_who_waits_behind_a_question_without_answer_waits_no_longer() -> None:
    """Devices of those who are here come while history hangs: one question is tried, for all of them."""
    async with open_world() as world:
        people = [world.register(name) for name in ("ann", "ben", "cid", "dan")]
        async with open_node(world) as node, contextlib.AsyncExitStack() as clients:
            for user in people:
                await clients.enter_async_context(open_client(node, world.token(user)))
            world.asked.clear()
            gate = world.gates[ReadMarkers] = asyncio.Event()
            devices = [await clients.enter_async_context(open_client(node)) for _ in people]
            for user, device in zip(people, devices, strict=True):
                await device.send(2, {"token": world.token(user)})
                await wait_until(lambda: bool(world.asked))
            told = [await device.until("READY") for device in devices]
            assert all("read_state" not in ready["d"] for ready in told)
            assert sum(isinstance(call, ReadMarkers) for call in world.asked) == 1
            gate.set()
