"""zlib-stream: one deflate stream per connection, read back as client libraries read it."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect

from services.gateway.compressing import Compressor
from services.gateway.core.websocket import payload_of, text_frame
from tests.gateway.world import ServedNode, World, open_client, open_node, open_world

SYNC = b"\x00\x00\xff\xff"


class Inflating:
    """A client's side of the stream: each binary message ends at a sync point and is one frame."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._inflate = zlib.decompressobj()

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            data = await self.socket.recv()
        assert isinstance(data, bytes)
        assert data.endswith(SYNC)
        frame: dict[str, Any] = json.loads(self._inflate.decompress(data))
        return frame

    async def until(self, wanted: int | str) -> dict[str, Any]:
        while True:
            frame = await self.receive()
            if wanted in (frame["op"], frame["t"]):
                return frame


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Open a world."""
    async with open_world() as opened:
        yield opened


@pytest.fixture
async def node(world: World) -> AsyncIterator[ServedNode]:
    """Open a node without limits."""
    async with open_node(world) as opened:
        yield opened


@given(st.lists(st.binary(max_size=70_000), max_size=8), st.data())
def test_what_is_packed_in_turns_is_read_back_in_order(payloads: list[bytes], data: st.DataObject) -> None:
    """Whatever the sizes and turns: the client's inflater yields each payload, and other frames stay in their place."""
    compressor, inflate = Compressor(), zlib.decompressobj()
    pong = b"\x8a\x00"
    frames = [frame for payload in payloads for frame in (text_frame(payload), pong)]
    sent: list[bytes] = []
    while frames:
        packed, frames = compressor.pack(frames)
        assert packed
        sent += packed
    assert sent[1::2] == [pong] * len(payloads)
    for payload, frame in zip(payloads, sent[::2], strict=True):
        assert frame[0] == 0x82
        assert bytes(payload_of(frame)).endswith(SYNC)
        assert inflate.decompress(payload_of(frame)) == payload


def test_one_turn_takes_a_bounded_piece() -> None:
    """A long READY is packed in several turns, between which others get theirs."""
    frames = [text_frame(bytes(10_000))] * 10
    packed, left = Compressor().pack(frames)
    assert len(packed) == 4
    assert len(left) == 6


async def test_everything_is_compressed_from_hello_on(world: World, node: ServedNode) -> None:
    """HELLO, acks, READY, dispatches and replies come through the stream; what the client sends stays plain."""
    ann, ben, _, channel = await world.create_pair()
    async with (
        connect(f"{node.url}&compress=zlib-stream", compression=None) as socket,
        open_client(node, world.token(ben)) as plain,
    ):
        client = Inflating(socket)
        assert (await client.receive())["op"] == 10
        await socket.send('{"op":1,"d":null}')
        assert (await client.receive())["op"] == 11
        await socket.send(json.dumps({"op": 2, "d": {"token": world.token(ann)}}))
        await client.until("GUILD_CREATE")
        contents = [("x" * 1900) + str(number) for number in range(100)]
        for content in contents:
            await world.say(ben, channel, content)
        seen = [(await client.until("MESSAGE_CREATE")) for _ in contents]
        other = [(await plain.until("MESSAGE_CREATE")) for _ in contents]
        await (await socket.ping())
        await socket.send("{")
        with pytest.raises(Exception, match="4002"):
            await client.receive()
    assert seen == other
    assert [frame["d"]["content"] for frame in seen] == contents
