"""Readers who are slow or stuck, on real sockets, beside one who reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from services.gateway.core.limits import Unread
from shared.core.model import Channel, User
from tests.gateway.raw import CLOSE, RawClient, frame_of, open_raw_session
from tests.gateway.world import Client, ServedNode, World, open_client, open_node, open_world, settings_of

SMALL = 4096


@asynccontextmanager
async def open_pair(
    world: World, node: ServedNode, *, query: str = ""
) -> AsyncIterator[tuple[User, Channel, Client, RawClient]]:
    """Open a reader and beside it a client with a small window that reads only when told."""
    ann, ben, _, channel = await world.create_pair()
    async with (
        open_raw_session(node.port, world.token(ben), query=query, receive_buffer=SMALL) as stuck,
        open_client(node, world.token(ann)) as reader,
    ):
        await node.wait_sessions(2)
        yield ann, channel, reader, stuck


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Open a world."""
    async with open_world() as opened:
        yield opened


def random_text(number: int) -> str:
    """Return a content that does not compress well."""
    return "".join(chr(0x4E00 + (number * 7919 + index * index * 31) % 20_000) for index in range(1_500))


@pytest.mark.parametrize("query", ["", "?compress=zlib-stream"])
async def test_the_bound_in_bytes(world: World, query: str) -> None:
    """Who leaves too many bytes unread is closed with 4000, compressed or not; the other reads each message at once."""
    async with (
        open_node(world, settings_of(send_buffer_bytes=100_000)) as node,
        open_pair(world, node, query=query) as (ann, channel, reader, stuck),
    ):
        sent = 0
        async with asyncio.timeout(40):
            while node.attached == 2:
                await world.say(ann, channel, random_text(sent))
                sent += 1
                await reader.until("MESSAGE_CREATE")
        assert len(reader.got("MESSAGE_CREATE")) == sent
        assert await stuck.ended() == 4000


async def test_the_bound_in_seconds(world: World) -> None:
    """Who leaves anything unread for too long is closed, however little it is, and reads why in the end."""
    settings = settings_of(send_buffer_time=timedelta(seconds=0.3), identify_timeout=timedelta(seconds=0.4))
    async with open_node(world, settings) as node, open_pair(world, node) as (ann, channel, reader, stuck):
        sent = 0
        async with asyncio.timeout(40):
            while node.attached == 2:
                if sent < 1_500:  # more than the kernel takes, far less than the bound in bytes
                    await world.say(ann, channel, random_text(sent))
                    sent += 1
                    await reader.until("MESSAGE_CREATE")
                else:
                    await asyncio.sleep(0.01)
        assert await stuck.ended() == 4000


async def test_who_closes_and_does_not_read_is_dropped(world: World) -> None:
    """The closing handshake waits behind what is unread, for 5 s; then the socket and all that it held are gone."""
    async with open_node(world) as node, open_pair(world, node) as (ann, channel, reader, stuck):
        for number in range(1_200):  # more than the kernel takes, less than the bound in bytes
            await world.say(ann, channel, random_text(number))
            await reader.until("MESSAGE_CREATE")
        assert node.sessions == 2
        await stuck.send(frame_of(CLOSE, b"\x03\xe8"))
        await node.wait_sessions(1)
        assert node.gateway.node.statistics()["connections"] == 2
        async with asyncio.timeout(10):
            while node.gateway.node.statistics()["connections"] == 2:
                await asyncio.sleep(0.01)


def test_old_bytes_count_not_having_some_unread() -> None:
    """Whoever has read all that was there a while ago is behind, but goes on; who reads nothing grows old."""
    unread = Unread(0.0)
    assert unread.age(100, 1.0) == 1.0
    unread.written += 50
    assert unread.age(150, 2.0) == 2.0
    assert unread.age(51, 3.0) == 3.0  # one byte of the first hundred is still there
    assert unread.age(50, 4.0) == 0.0
    unread.written += 1_000
    assert unread.age(1_050, 5.0) == 1.0
    assert unread.age(1_000, 5.0) == 0.0
