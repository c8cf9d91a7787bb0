"""A TCP proxy that misbehaves on demand: the network as a fixture."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Forwards connections to one server. `port` stays the same for its whole life."""

    def __init__(self, host: str, port: int, listen: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._listen = listen
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._stranded: set[asyncio.StreamWriter] = set()
        self._marker = b""
        self._seen = asyncio.Event()
        self._released = asyncio.Event()
        self._latency_s = 0.0
        self.port = 0
        self.connects = 0
        """Connections so far that reached the server."""

    async def accept(self) -> None:
        """Take new connections (again)."""
        self._server = await asyncio.start_server(self._connect, self._listen, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Refuse new connections; those that are open stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def cut(self) -> None:
        """Reset all open connections, on both sides."""
        for writer in self._writers:
            writer.transport.abort()

    def silence(self) -> None:
        """Forward nothing more, on old connections and new ones, and close nothing: all are half-open."""
        self._flowing.clear()

    def delay(self, latency_s: float) -> None:
        """Hold back for so long what comes from now on, in either direction; 0 for no more."""
        self._latency_s = latency_s

    def strand(self) -> None:
        """Swallow all that comes on the open connections from now on, also that an end has closed: new ones work."""
        self._stranded |= self._writers

    def watch(self, marker: bytes, *, hold: bool) -> asyncio.Event:
        """Return an event that tells when a client sends this; `hold` it back then, and what is behind it."""
        self._marker = marker
        self._seen = asyncio.Event()
        self._released = asyncio.Event()
        if not hold:
            self._released.set()
        return self._seen

    def release(self) -> None:
        """Forward what `watch` held back, and watch no more."""
        self._marker = b""
        self._released.set()

    def resume(self) -> None:
        """Forward again, also what was held back."""
        self._flowing.set()

    async def close(self) -> None:
        """End the proxy and all that goes through it."""
        self.refuse()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self.connects += 1
        self._writers.add(far_writer)
        if writer in self._stranded:
            self._stranded.add(far_writer)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                while data := await source.read(65536):
                    if self._marker and self._marker in data:
                        self._seen.set()
                        await self._released.wait()
                    await self._flowing.wait()
                    if self._latency_s:
                        await asyncio.sleep(self._latency_s)
                    if sink not in self._stranded:
                        sink.write(data)
                        await sink.drain()
        finally:
            if sink not in self._stranded:  # else it learns nothing, and stays until the proxy ends
                sink.transport.abort() if sink.is_closing() else sink.close()
                self._writers.discard(sink)


@asynccontextmanager
async def open_proxy(port: int, host: str = "127.0.0.1", listen: str = "127.0.0.1") -> AsyncIterator[Proxy]:
    """Open a proxy to a server, taking connections at the address `listen`."""
    proxy = Proxy(host, port, listen)
    await proxy.accept()
    try:
        yield proxy
    finally:
        await proxy.close()
