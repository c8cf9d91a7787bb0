"""A WebSocket client made of bytes, for what no library does: hand-made frames, pieces of them, not reading."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

KEY = "AAAAAAAAAAAAAAAAAAAAAA=="
MASK = b"\x01\x02\x03\x04"

TEXT, BINARY, CONT, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA


def upgrade_of(path: str = "/gateway", *more: str) -> bytes:
    """Return the bytes of an upgrade request."""
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: x",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
        *more,
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def frame_of(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bool = True, reserved: int = 0) -> bytes:
    """Return the bytes of a client's frame, sound or not."""
    first = (0x80 if fin else 0) | (reserved << 4) | opcode
    return head_of(first, len(payload), mask=mask) + (masked(payload) if mask else payload)


def head_of(first: int, length: int, *, mask: bool = True) -> bytes:
    """Return the head of a frame that says this length, whether the payload follows or not."""
    flag = 0x80 if mask else 0
    if length < 126:
        head = bytes((first, flag | length))
    elif length < 65536:
        head = struct.pack("!BBH", first, flag | 126, length)
    else:
        head = struct.pack("!BBQ", first, flag | 127, length)
    return head + (MASK if mask else b"")


def masked(payload: bytes) -> bytes:
    """Return a payload under `MASK`."""
    return bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))


class RawClient:
    """One TCP connection to a node."""

    def __init__(self, socket: sockets.socket) -> None:
        self.socket = socket
        self._got = bytearray()

    async def send(self, *pieces: bytes) -> None:
        """Send bytes, each piece as a packet of its own as far as TCP lets it."""
        loop = asyncio.get_running_loop()
        for piece in pieces:
            await loop.sock_sendall(self.socket, piece)

    async def say(self, op: int, d: Any = None) -> None:
        """Send a frame of the gateway's protocol."""
        await self.send(frame_of(TEXT, json.dumps({"op": op, "d": d}).encode()))

    async def upgrade(self, path: str = "/gateway", *more: str) -> int:
        """Ask for the upgrade and return the status of the answer."""
        await self.send(upgrade_of(path, *more))
        return await self.status()

    async def status(self) -> int:
        """Return the status of the next HTTP answer, whose head is taken away."""
        while b"\r\n\r\n" not in self._got:
            await self._more()
        head, _, rest = bytes(self._got).partition(b"\r\n\r\n")
        self._got[:] = rest
        return int(head.split(b" ", 2)[1])

    async def frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame. Raises `EOFError` at the end of the stream."""
        await self._have(2)
        size, start = self._got[1] & 0x7F, 2
        if size == 126:
            await self._have(4)
            size, start = int.from_bytes(self._got[2:4], "big"), 4
        elif size == 127:
            await self._have(10)
            size, start = int.from_bytes(self._got[2:10], "big"), 10
        await self._have(start + size)
        opcode, payload = self._got[0] & 0x0F, bytes(self._got[start : start + size])
        del self._got[: start + size]
        return opcode, payload

    async def until(self, op: int | str) -> dict[str, Any]:
        """Return the next frame of the gateway's protocol with this opcode or name."""
        while True:
            opcode, payload = await self.frame()
            if opcode == TEXT:
                frame: dict[str, Any] = json.loads(payload)
                if op in (frame["op"], frame["t"]):
                    return frame

    async def ended(self) -> int:
        """Return the close code that comes, whatever comes before; 0 if the stream just ends, 1005 if it is bare."""
        code = 0
        try:
            while not code:
                opcode, payload = await self.frame()
                if opcode == CLOSE:
                    code = int.from_bytes(payload[:2], "big") if payload else 1005
        except (EOFError, ConnectionError):
            pass
        return code

    async def _have(self, count: int) -> None:
        while len(self._got) < count:
            await self._more()

    async def _more(self) -> None:
        async with asyncio.timeout(10):
            data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
        if not data:
            raise EOFError
        self._got += data


@asynccontextmanager
async def open_raw(port: int, *, receive_buffer: int = 0) -> AsyncIterator[RawClient]:
    """Open a TCP connection to a node of this machine; a small `receive_buffer` soon fills when nobody reads."""
    with sockets.socket() as socket:
        if receive_buffer:
            socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, receive_buffer)
        socket.setblocking(False)
        await asyncio.get_running_loop().sock_connect(socket, ("127.0.0.1", port))
        yield RawClient(socket)


@asynccontextmanager
async def open_raw_session(port: int, token: str, *, query: str = "", **options: int) -> AsyncIterator[RawClient]:
    """Open a connection that has said IDENTIFY; with a compressing query READY is not waited for."""
    async with open_raw(port, **options) as client:
        assert await client.upgrade(f"/gateway{query}") == 101
        await client.say(2, {"token": token})
        if not query:
            await client.until("READY")
        yield client
