"""Blocks: no direct channel is opened and nothing written in one, whoever races or dies; nobody else is concerned."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.groups.bodies import RelationshipBody
from services.groups.jobs import LEASE_MS, UNSURE_MS
from services.groups.memory_store import MemoryGroups
from shared.core.sending import place_of_access
from shared.core.stream import user_stream
from shared.core.user_events import DirectChanged, UserBlocked
from tests.groups.fuse import Crash, Fuse, Moment
from tests.groups.test_rest import error_of, reasons_of
from tests.groups.world import Replica, World, open_world

MOST_STEPS = 120


async def refusal_of(replica: Replica, channel_id: int, user_id: int) -> str:
    """Return why a user may not write in a channel, as a gateway or the shard is told."""
    place = place_of_access(await replica.groups.views.read_access(channel_id, user_id))
    assert place is not None
    return place.refusal


async def block(replica: Replica, token: str, user_id: int, kind: Any = 2) -> Any:
    """Block a user."""
    return await replica.call("PUT", f"/users/@me/relationships/{user_id}", token, {"type": kind})


async def open_direct(replica: Replica, token: str, user_id: int) -> Any:
    """Open a direct channel."""
    return await replica.call("POST", "/users/@me/channels", token, {"recipient_id": str(user_id)})


async def test_neither_writes_to_the_other(world: World, groups: Replica, rival: Replica) -> None:
    """When a block is answered both are refused; it can be taken back; own sessions hear of it, the other's do not."""
    ann, ann_id = await groups.register("ann")
    bob, bob_id = await groups.register("bob")
    channel = int((await open_direct(groups, ann, bob_id)).json()["id"])
    await world.follow(f"u.{ann_id}", f"u.{bob_id}")
    for _ in range(2):
        assert (await block(rival, ann, bob_id)).status_code == 204
    assert [await refusal_of(groups, channel, one) for one in (ann_id, bob_id)] == ["CannotMessageUser"] * 2
    assert (await open_direct(groups, bob, ann_id)).json()["id"] == str(channel)
    listed = (await groups.call("GET", "/users/@me/relationships", ann)).json()
    RelationshipBody.model_validate(listed[0], extra="forbid")
    assert [(one["id"], one["type"], one["user"]["username"]) for one in listed] == [(str(bob_id), 2, "bob")]
    assert (await groups.call("GET", "/users/@me/relationships", bob)).json() == []
    for _ in range(2):
        answer = await groups.call("DELETE", f"/users/@me/relationships/{bob_id}", ann)
        assert answer.status_code == 204
    assert [await refusal_of(rival, channel, one) for one in (ann_id, bob_id)] == ["", ""]
    told = [body for body in world.bodies_heard(user_stream(ann_id)) if isinstance(body, UserBlocked)]
    assert [(body.user.id, body.present) for body in told] == [(bob_id, True), (bob_id, False)]
    others = [body for body in world.bodies_heard(user_stream(bob_id)) if isinstance(body, DirectChanged)]
    assert len(others) == len(world.bodies_heard(user_stream(bob_id)))
    assert [others[0].closed, others[-1].closed] == [True, False]


async def test_both_must_take_it_back(groups: Replica) -> None:
    """As long as one of the two blocks the other nothing is written."""
    ann, ann_id = await groups.register("ann")
    bob, bob_id = await groups.register("bob")
    channel = int((await open_direct(groups, ann, bob_id)).json()["id"])
    await block(groups, ann, bob_id)
    await block(groups, bob, ann_id)
    await groups.call("DELETE", f"/users/@me/relationships/{bob_id}", ann)
    assert await refusal_of(groups, channel, ann_id) == "CannotMessageUser"
    await groups.call("DELETE", f"/users/@me/relationships/{ann_id}", bob)
    assert await refusal_of(groups, channel, ann_id) == ""


async def test_no_direct_channel_is_opened(groups: Replica) -> None:
    """From either side, as Discord says; groups of both are not concerned."""
    ann, ann_id = await groups.register("ann")
    bob, bob_id = await groups.register("bob")
    await block(groups, ann, bob_id)
    assert error_of(await open_direct(groups, bob, ann_id)) == (403, 50007)
    assert error_of(await open_direct(groups, ann, bob_id)) == (403, 50007)
    assert (await groups.call("GET", "/users/@me/channels", bob)).json() == []
    _, general = await groups.create_group(ann, "Room")
    assert (await groups.call("POST", "/guilds/join", bob, {"name": "Room"})).status_code == 200
    assert await refusal_of(groups, general, bob_id) == ""


async def test_what_can_not_be_blocked(groups: Replica) -> None:
    """Oneself, nobody, and as anything but blocked."""
    ann, ann_id = await groups.register("ann")
    _, bob_id = await groups.register("bob")
    assert reasons_of(await block(groups, ann, ann_id), "user_id")
    assert error_of(await block(groups, ann, 4242)) == (404, 10013)
    for wrong in (1, "2", None, {"$gt": 0}, True, 2.5):
        assert reasons_of(await block(groups, ann, bob_id, wrong), "type")
    assert (await groups.call("GET", "/users/@me/relationships", ann)).json() == []


async def test_how_many_may_be_blocked(world: World, groups: Replica) -> None:
    """One more than the limit is refused; who is blocked already is no more."""
    ann, ann_id = await groups.register("ann")
    _, bob_id = await groups.register("bob")
    assert isinstance(world.store, MemoryGroups)
    for number in range(1, 1001):
        await world.store.put_block(ann_id, number, 1, at=world.now, present=True)
    assert error_of(await block(groups, ann, bob_id)) == (400, 30002)
    await world.store.put_block(ann_id, 7, 2, at=world.now, present=False)
    for _ in range(2):
        assert (await block(groups, ann, bob_id)).status_code == 204


async def test_a_channel_that_is_opened_meanwhile_is_closed() -> None:
    """Whatever step of the opening the block falls into: there is no channel, or nobody writes in it."""
    for step in range(1, MOST_STEPS):
        async with open_world() as world, world.open_replica() as healthy:
            ann, ann_id = await healthy.register("ann")
            _, bob_id = await healthy.register("bob")
            fuse = Fuse(step, "before", pauses=True)
            async with world.open_replica(fuse=fuse) as slow:
                opening = asyncio.create_task(slow.groups.directs.open(bob_id, ann_id))
                reached = asyncio.create_task(fuse.reached.wait())
                await asyncio.wait((opening, reached), return_when=asyncio.FIRST_COMPLETED)
                reached.cancel()
                assert (await block(healthy, ann, bob_id)).status_code == 204
                fuse.go_on.set()
                (opened,) = await asyncio.gather(opening, return_exceptions=True)
            if not isinstance(opened, BaseException):
                assert await refusal_of(healthy, opened.id, bob_id) == "CannotMessageUser"
            if not fuse.reached.is_set():
                assert step > 6, "the fuse did not guard"
                return
    pytest.fail("an opening takes more steps than expected")


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_block_that_dies_anywhere_is_finished_or_did_not_happen(moment: Moment) -> None:
    """Whatever step it dies at: who is blocked and whether the channel is closed are one, and every node hears it."""
    for step in range(1, MOST_STEPS):
        async with open_world() as world, world.open_replica() as healthy:
            ann, ann_id = await healthy.register("ann")
            _, bob_id = await healthy.register("bob")
            channel = int((await open_direct(healthy, ann, bob_id)).json()["id"])
            await world.follow(f"u.{bob_id}")
            died = False
            async with world.open_replica(fuse=Fuse(step, moment)) as dying:
                try:
                    await dying.groups.blocks.change(ann_id, bob_id, present=True)
                except Crash:
                    died = True
            world.now += UNSURE_MS + LEASE_MS + 1
            await healthy.groups.changes.sweep()
            await healthy.groups.jobs.sweep()
            blocked = bool((await healthy.call("GET", "/users/@me/relationships", ann)).json())
            assert (await refusal_of(healthy, channel, bob_id) != "") == blocked
            heard = [body.closed for body in world.bodies_heard(user_stream(bob_id))]
            assert heard[-1:] == [True] if blocked else True not in heard
            if not died:
                assert blocked
                return
    pytest.fail("a block takes more steps than expected")
