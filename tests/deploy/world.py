"""A front door as in a deployment: real nginx before small services that tell what reached them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.front_door import FrontDoor, render
from deploy.local.process import exchange_bytes, free_port, start_child
from deploy.routes import ALIVE, READY, SERVICES
from tests.missing import go_without

DEADLINE_S = 20.0


def require_nginx() -> str:
    """Return the binary; without it the test is skipped, or fails where servers are required."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if found is None:
        go_without("nginx is not installed (Debian package nginx-light)")
    return found


@dataclass(frozen=True)
class Answer:
    """What the front door answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        """The body; for an echo: which service, and what it saw."""
        value: dict[str, object] = json.loads(self.body)
        return value


@dataclass
class Service:
    """Answers each request with what it saw of it; an upgrade with 101, and then each byte with itself.

    Who accepts an event stream gets one event, and no end.
    """

    name: str
    port: int = 0
    ready: bool = True
    breaks: bool = False
    """Reads a request, then closes without an answer."""
    seen: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while await self._serve_one(reader, writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        line, headers = _head_of(await reader.readuntil(b"\r\n\r\n"))
        method, target, _ = line.split(" ")
        await reader.readexactly(int(headers.get("content-length", "0")))
        self.seen.append(f"{method} {target}")
        if self.breaks:
            return False
        if headers.get("upgrade") == "websocket":
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            while data := await reader.read(4096):
                writer.write(data)
            return False
        if headers.get("accept") == "text/event-stream":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
            await reader.read()
            return False
        status = 503 if target == READY and not self.ready else 200
        body = json.dumps({"service": self.name, "port": self.port, "target": target, "headers": headers}).encode()
        writer.write(f"HTTP/1.1 {status} Said\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return True


@dataclass(frozen=True)
class World:
    """nginx on a port of 127.0.0.1, and the services behind it by name."""

    port: int
    services: Mapping[str, Sequence[Service]]

    async def ask(
        self, target: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """Send a request with its target as it stands."""
        sent = {"Host": "starling.test", "Content-Length": str(len(body)), **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        return await self.exchange(f"{method} {target} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode() + body)

    async def exchange(self, request: bytes) -> Answer:
        """Send bytes and return the answer."""
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(request)
                line, headers = _head_of(await reader.readuntil(b"\r\n\r\n"))
                body = await reader.readexactly(int(headers["content-length"]))
                return Answer(int(line.split(" ")[1]), headers, body)
            finally:
                writer.close()


def _head_of(head: bytes) -> tuple[str, dict[str, str]]:
    line, *fields = head.decode("latin1").strip().split("\r\n")
    return line, {name.lower(): value for name, value in (one.split(": ", 1) for one in fields)}


@asynccontextmanager
async def open_services(replicas: int = 1) -> AsyncIterator[Mapping[str, Sequence[Service]]]:
    """Start processes of each service, by name."""
    async with AsyncExitStack() as stack:
        services = {name: [Service(name) for _ in range(replicas)] for name in SERVICES}
        for service in (one for several in services.values() for one in several):
            server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
            stack.callback(server.close)
            service.port = server.sockets[0].getsockname()[1]
        yield services


@asynccontextmanager
async def open_world(folder: Path, *, replicas: int = 1, behind: Sequence[str] = ()) -> AsyncIterator[World]:
    """Start the services and nginx; nothing is left of them after."""
    binary = require_nginx()
    port = free_port()
    async with open_services(replicas) as services:
        door = FrontDoor(
            listen=(f"127.0.0.1:{port}",),
            upstreams={name: [f"127.0.0.1:{one.port}" for one in several] for name, several in services.items()},
            scratch=str(folder),
            access_log=str(folder / "access.log"),
            error_log=str(folder / "error.log"),
            behind=behind,
            user="root" if os.geteuid() == 0 else "",
            connections=512,
        )
        config = folder / "nginx.conf"
        config.write_text(render(door))
        command = [binary, "-e", str(folder / "error.log"), "-c", str(config), "-g", "daemon off;"]
        child = start_child("nginx", command, log=folder / "nginx.log")
        try:
            asked = f"GET {ALIVE} HTTP/1.0\r\n\r\n".encode()
            child.wait_ready(lambda: exchange_bytes(port, asked, b"HTTP/1.1 200"), DEADLINE_S)
            yield World(port, services)
        finally:
            child.terminate(5)
