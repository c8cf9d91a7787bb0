"""Clients without a WebSocket: one that reads server-sent events, one that polls. Both keep what they got."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.gateway.world import ServedNode


def events_url(node: ServedNode) -> str:
    """Return where a node's events are."""
    return f"http://127.0.0.1:{node.port}/api/v10/gateway/events"


class Got:
    """Dispatches that a client got."""

    def __init__(self) -> None:
        self.dispatches: list[dict[str, Any]] = []

    def got(self, name: str) -> list[dict[str, Any]]:
        """Return the payloads of all dispatches of a name so far."""
        return [frame["d"] for frame in self.dispatches if frame["t"] == name]

    @property
    def contents(self) -> list[str]:
        """What messages said so far, in order."""
        return [d["content"] for d in self.got("MESSAGE_CREATE")]


class StreamClient(Got):
    """A reader of one stream."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        self.response = response
        self.last_id = ""
        self.signs = 0
        self._lines = response.aiter_lines()

    async def event(self) -> dict[str, Any] | None:
        """Return the next frame; None at the end of the stream. Ids are taken in as the format's standard says."""
        data = None
        async with asyncio.timeout(10):
            async for line in self._lines:
                name, _, value = line.partition(":")
                match name:
                    case "id":
                        self.last_id = value.removeprefix(" ")
                    case "data":
                        data = value.removeprefix(" ")
                    case "" if line:
                        self.signs += 1
                    case "" if data is not None:
                        frame: dict[str, Any] = json.loads(data)
                        if frame["op"] == 0:
                            self.dispatches.append(frame)
                        return frame
        return None

    async def until(self, wanted: int | str) -> dict[str, Any]:
        """Return the next frame with this opcode, or the next dispatch of this name. Raises `EOFError` at the end."""
        while (frame := await self.event()) is not None:
            if wanted in (frame["op"], frame["t"]):
                return frame
        raise EOFError

    async def ended(self) -> None:
        """Read to the end of the stream."""
        while await self.event() is not None:
            pass


@asynccontextmanager
async def open_stream(
    node: ServedNode, token: str, last_id: str = "", *, headers: dict[str, str] | None = None, **query: str | int
) -> AsyncIterator[StreamClient]:
    """Ask for a stream, which must be given; from the last id on, if there is one."""
    asked = {"Authorization": token, **({"Last-Event-ID": last_id} if last_id else {}), **(headers or {})}
    async with (
        httpx.AsyncClient(timeout=20) as http,
        http.stream("GET", events_url(node), headers=asked, params=query) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        yield StreamClient(response)


@asynccontextmanager
async def open_listening(node: ServedNode, token: str) -> AsyncIterator[StreamClient]:
    """Open a stream with a new session, and read what that begins with."""
    async with open_stream(node, token) as client:
        ready = (await client.until("READY"))["d"]
        for _ in ready["guilds"]:
            await client.until("GUILD_CREATE")
        yield client


class PollClient(Got):
    """A client that polls, and tells each time what it has."""

    def __init__(self, node: ServedNode, token: str) -> None:
        super().__init__()
        self.node = node
        self.token = token
        self.session_id: str | None = None
        self.s: int | None = None
        self.answers: list[dict[str, Any]] = []

    async def ask(self, wait: float = 10, **query: str | int) -> httpx.Response:
        """Poll once, without taking in the answer."""
        told = {"session_id": self.session_id, "seq": self.s} if self.session_id is not None else {}
        async with httpx.AsyncClient(timeout=30) as http:
            return await http.get(
                events_url(self.node),
                headers={"Authorization": self.token},
                params={"wait": wait, **told, **query},
            )

    async def poll(self, wait: float = 10, **query: str | int) -> list[dict[str, Any]]:
        """Poll once and return the frames."""
        response = await self.ask(wait, **query)
        assert response.status_code == 200, response.text
        answer = response.json()
        self.answers.append(answer)
        self.session_id, self.s = answer["session_id"], answer["s"]
        frames: list[dict[str, Any]] = answer["events"]
        self.dispatches += [frame for frame in frames if frame["op"] == 0]
        return frames

    async def until_content(self, content: str) -> None:
        """Poll until a message says this."""
        async with asyncio.timeout(20):
            while content not in self.contents:
                await self.poll()
