"""Revoked tokens: their sessions end on every node, attached or not, and none of them opens another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest

from services.gateway.memory_registry import MemoryRegistry
from services.gateway.memory_trails import MemoryTrails
from shared.core.model import User
from tests.gateway.world import ServedNode, World, open_client, open_node, open_world


class Scene(NamedTuple):
    """Two nodes between which sessions can go, and a user in a group."""

    world: World
    one: ServedNode
    two: ServedNode
    ann: User


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Open the scene."""
    registry, trails = MemoryRegistry(), MemoryTrails()
    async with open_world() as world, AsyncExitStack() as stack:
        ann = world.register("ann")
        await world.create_group(ann)
        one, two = [
            await stack.enter_async_context(open_node(world, name=name, registry=registry, trails=trails))
            for name in ("one", "two")
        ]
        yield Scene(world, one, two, ann)


async def refused(node: ServedNode, op: int, d: dict[str, Any]) -> int:
    """Say something as the first frame; return the code that the connection is closed with."""
    async with open_client(node) as client:
        await client.send(op, d)
        return await client.closed()


async def test_sessions_of_a_token_end_on_every_node(scene: Scene) -> None:
    """All that began with the token are closed with 4004; another device of the same user goes on."""
    world, one, two, ann = scene
    phone, tablet = world.token(ann), world.token(ann)
    async with (
        open_client(one, phone) as here,
        open_client(two, phone) as there,
        open_client(one, tablet) as staying,
    ):
        await world.revoke(ann, phone)
        assert [await client.closed() for client in (here, there)] == [4004, 4004]
        await one.wait_sessions(1)
        await two.wait_sessions(0)
        await world.create_group(ann, "later")
        assert (await staying.until("GUILD_CREATE"))["d"]["name"] == "later"


async def test_all_that_were_issued_before(scene: Scene) -> None:
    """After a change of password only a newer token opens a session, on nodes that knew the user and on others."""
    world, one, two, ann = scene
    old = world.token(ann)
    before = world.tokens.verify(old).issued + 1
    async with open_client(one, old) as client:
        await world.revoke(ann, before=before)
        assert await client.closed() == 4004
    new = world.tokens.mint(ann.id, before)
    for node in (one, two):
        assert await refused(node, 2, {"token": old, "properties": {}}) == 4004
        async with open_client(node, new) as client:
            assert client.ready["user"]["username"] == "ann"


@pytest.mark.parametrize("asks", ["here", "elsewhere"])
async def test_a_session_that_waits_ends_too(scene: Scene, asks: str) -> None:
    """A detached session is over: its token is told so wherever it asks, another one finds no session."""
    world, one, two, ann = scene
    phone, tablet = world.token(ann), world.token(ann)
    node = one if asks == "here" else two
    async with open_client(one, phone) as client:
        client.socket.transport.abort()
        await one.wait_detached(1)
        await world.revoke(ann, phone)
        await one.wait_sessions(0)
        assert await refused(node, 6, client.resume_payload(phone)) == 4004
        async with open_client(node) as again:
            await again.send(6, client.resume_payload(tablet))
            assert (await again.until(9))["d"] is False
            assert await again.identify(tablet)


async def test_who_has_a_void_token_moves_no_session(scene: Scene) -> None:
    """A revoked token that knows of another token's session is kept out, and that session goes on where it is."""
    world, one, two, ann = scene
    stolen, phone = world.token(ann), world.token(ann)
    async with open_client(one, phone) as client:
        await world.revoke(ann, stolen)
        for node in (two, one):
            assert await refused(node, 6, client.resume_payload(stolen)) == 4004
        await client.send(1, None)
        assert await client.until(11)
        assert (one.sessions, two.sessions) == (1, 0)


@pytest.mark.parametrize("place", ["here", "elsewhere"])
async def test_a_session_is_of_the_token_that_resumed_it(scene: Scene, place: str) -> None:
    """A session that was resumed with another token ends with that one, and not with its first."""
    world, one, two, ann = scene
    first, second = world.token(ann), world.token(ann)
    async with open_client(one, first) as client, open_client(one if place == "here" else two) as again:
        await again.resume(client, second)
        await world.revoke(ann, first)
        await world.create_group(ann, "later")
        assert (await again.until("GUILD_CREATE"))["d"]["name"] == "later"
        await world.revoke(ann, second)
        assert await again.closed() == 4004


async def test_a_revocation_that_was_lost_is_found(scene: Scene) -> None:
    """What did not reach a node is read when the hole is seen, and ends the sessions then."""
    world, one, _, ann = scene
    phone = world.token(ann)
    async with open_client(one, phone) as client:
        world.losing = 1
        await world.revoke(ann, phone)
        await world.create_group(ann, "later")
        assert await client.closed() == 4004
