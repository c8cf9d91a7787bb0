"""Resuming on the node that has the session: real sockets, one node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from shared.core.model import Channel
from tests.gateway.world import (
    Client,
    ServedNode,
    World,
    open_client,
    open_node,
    open_world,
    settings_of,
)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Yield a world with its services."""
    async with open_world() as world:
        yield world


@pytest.fixture
async def node(world: World) -> AsyncIterator[ServedNode]:
    """Yield a node of it."""
    async with open_node(world) as node:
        yield node


def contents(client: Client) -> list[str]:
    """Return what a client was told of messages, in order."""
    return [d["content"] for d in client.got("MESSAGE_CREATE")]


async def say_all(world: World, channel: Channel, *contents: str) -> None:
    """Store and publish messages."""
    author = next(iter(world.users.values()))
    for content in contents:
        await world.say(author, channel, content)


async def test_a_cut_connection_resumes_with_exactly_what_it_missed(world: World, node: ServedNode) -> None:
    """What came while nobody was there comes behind RESUME, in order, once, under the same `s`; then RESUMED."""
    ann, ben, _, channel = await world.create_pair()
    async with open_client(node, world.token(ann)) as witness, open_client(node, world.token(ben)) as client:
        await say_all(world, channel, "before")
        await client.until("MESSAGE_CREATE")
        client.socket.transport.abort()
        await node.wait_detached(1)
        await say_all(world, channel, "one", "two")
        await witness.until_content("two")
        async with open_client(node) as again:
            resumed = await again.resume(client, world.token(ben))
            assert resumed["d"] == {"_trace": []}
            assert contents(again) == ["one", "two"]
            of_witness = {
                frame["d"]["id"]: frame["s"] for frame in witness.dispatches if frame["t"] == "MESSAGE_CREATE"
            }
            assert all(
                of_witness[frame["d"]["id"]] == frame["s"] for frame in again.dispatches if frame["t"] != "RESUMED"
            )
            await say_all(world, channel, "live")
            assert (await again.until("MESSAGE_CREATE"))["d"]["content"] == "live"
            assert node.sessions == 2


async def test_frames_lost_on_the_way_are_sent_again(world: World, node: ServedNode) -> None:
    """What we wrote to the socket is not what the client has: its own last `s` counts."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    async with open_client(node, world.token(ann)) as client:
        await say_all(world, channel, "one", "two", "three")
        await client.until_content("one")
        told = client.last_s
        await client.until_content("three")
        client.dispatches = [frame for frame in client.dispatches if frame["s"] <= told]
        async with open_client(node) as again:
            await again.resume(client, world.token(ann))
            assert contents(again) == ["two", "three"]
            assert await client.closed() == 4000


async def test_a_removed_member_sees_its_removal_and_nothing_after(world: World, node: ServedNode) -> None:
    """A session whose permissions changed meanwhile: what was sent before the removal, GUILD_DELETE, no more."""
    ann, ben, group, channel = await world.create_pair()
    async with open_client(node, world.token(ann)) as witness, open_client(node, world.token(ben)) as client:
        client.socket.transport.abort()
        await node.wait_detached(1)
        await say_all(world, channel, "before")
        await world.leave(ben, group)
        await say_all(world, channel, "after")
        await witness.until_content("after")
        async with open_client(node) as again:
            await again.resume(client, world.token(ben))
            assert contents(again) == ["before"]
            assert [d["id"] for d in again.got("GUILD_DELETE")] == [str(group.id)]


@pytest.mark.parametrize(
    "wrong", ["unknown session", "another user", "an s that was never sent", "no s", "a session that was closed"]
)
async def test_what_cant_be_resumed_identifies_on_the_same_socket(world: World, node: ServedNode, wrong: str) -> None:
    """INVALID_SESSION and never a silent hole; then IDENTIFY works on the same connection."""
    ann, ben = world.register("ann"), world.register("ben")
    await world.create_group(ann)
    async with open_client(node, world.token(ann)) as client:
        if wrong == "a session that was closed":
            await client.socket.close(1000)
        async with open_client(node) as again:
            await again.send(
                6,
                {
                    "token": world.token(ben if wrong == "another user" else ann),
                    "session_id": "gone" if wrong == "unknown session" else client.ready["session_id"],
                    "seq": {"an s that was never sent": 10**6, "no s": None}.get(wrong, client.last_s),
                },
            )
            assert (await again.until(9))["d"] is False
            assert (await again.identify(world.token(ann)))["user"]["username"] == "ann"
        if wrong in ("another user", "unknown session"):
            await client.send(1, client.last_s)
            assert await client.until(11)  # it lives on


async def test_a_bad_token_ends_the_connection(world: World, node: ServedNode) -> None:
    """4004, as for IDENTIFY."""
    ann = world.register("ann")
    async with open_client(node, world.token(ann)) as client, open_client(node) as again:
        await again.send(6, client.resume_payload("x.y.z"))
        assert await again.closed() == 4004


async def test_a_session_waits_for_the_window_and_no_longer(world: World) -> None:
    """After the window the session is over, and what nobody else follows is let go."""
    ann = world.register("ann")
    await world.create_group(ann)
    settings = settings_of(
        resume_window=timedelta(seconds=0.3),
        unbind_linger=timedelta(0),
        heartbeat_interval=timedelta(seconds=0.2),
    )
    async with open_node(world, settings) as node:
        async with open_client(node, world.token(ann)) as client:
            client.socket.transport.abort()
        await node.wait_sessions(0)
        async with asyncio.timeout(10):
            while node.metrics.registry.get_sample_value("starling_gateway_bindings_bound"):
                await asyncio.sleep(0.01)
        async with open_client(node) as again:
            await again.send(6, client.resume_payload(world.token(ann), seq=1))
            assert (await again.until(9))["d"] is False


async def test_a_log_that_has_let_go_says_so(world: World) -> None:
    """Where the replay log no longer has what the client lacks: INVALID_SESSION."""
    ann, ben, _, channel = await world.create_pair()
    async with (
        open_node(world, settings_of(replay_log_bytes=2_000)) as node,
        open_client(node, world.token(ann)) as witness,
        open_client(node, world.token(ben)) as client,
    ):
        client.socket.transport.abort()
        await node.wait_detached(1)
        await say_all(world, channel, *map(str, range(20)))
        await witness.until_content("19")
        async with open_client(node) as again:
            await again.send(6, client.resume_payload(world.token(ben)))
            assert (await again.until(9))["d"] is False


async def test_a_quiet_session_resumes_however_much_others_were_sent(world: World) -> None:
    """A client that lacks nothing needs nothing of the log: also with an `s` from long before it begins."""
    ann, ben = world.register("ann"), world.register("ben")
    _, channel = await world.create_group(ann)
    async with (
        open_node(world, settings_of(replay_log_bytes=2_000)) as node,
        open_client(node, world.token(ann)) as witness,
        open_client(node, world.token(ben)) as client,
    ):
        told = client.last_s
        await say_all(world, channel, *map(str, range(20)))
        await witness.until_content("19")
        await client.send(1, told)
        await client.until(11)
        direct = await world.open_direct(ann, ben)  # this it lacks, but all between it does not
        await witness.until("CHANNEL_CREATE")
        async with open_client(node) as again:
            await again.resume(client, world.token(ben), seq=told)
            assert [d["id"] for d in again.got("CHANNEL_CREATE")] == [str(direct.id)]


async def test_only_so_many_sessions_of_a_user_wait(world: World, node: ServedNode) -> None:
    """Identifying again and again leaves a bounded number of sessions behind: the newest ones."""
    ann = world.register("ann")
    clients = []
    for _ in range(25):
        async with open_client(node, world.token(ann)) as client:
            client.socket.transport.abort()
            clients.append(client)
    await node.wait_detached(20)
    async with open_client(node) as again:
        await again.resume(clients[-1], world.token(ann))
        await again.send(1, None)
        await again.until(11)
