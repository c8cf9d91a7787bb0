"""A client's session at a gateway that says what a test wants: when it resumes and when it begins anew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from deploy.replay.frames import Frame, Ready
from deploy.replay.rest import Counts, GaveUp
from deploy.replay.session import Session, Ways
from tests.waiting import running

DEADLINE_S = 10.0


class Heard:
    """A listener that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def begin(self, ready: Ready) -> None:
        """Take in that a new session begins."""
        self.told.append(f"begin {','.join(group.id for group in ready.guilds)}")

    async def take(self, frame: Frame) -> None:
        """Take in a frame."""
        self.told.append(frame.t or str(frame.op))

    def positions(self) -> Mapping[str, int]:
        """Return one position."""
        return {"7": 3}

    def lost(self) -> None:
        """Take in that the connection is gone."""
        self.told.append("lost")

    def resumed(self) -> None:
        """Take in that all that was missed has come."""
        self.told.append("resumed")

    def invalid(self) -> None:
        """Take in that the session can't go on."""
        self.told.append("invalid")


class Stub:
    """A gateway: each connection is given to the next of `parts`, with its first frame."""

    def __init__(self) -> None:
        self.url = ""
        self.parts: list[Callable[[ServerConnection, Any], Awaitable[None]]] = []
        self.opened: list[Any] = []
        self.codes: list[int | None] = []

    async def serve(self, connection: ServerConnection) -> None:
        """Serve one connection."""
        first = json.loads(await connection.recv())
        self.opened.append(first)
        await self.parts[min(len(self.opened), len(self.parts)) - 1](connection, first["d"])
        await connection.wait_closed()
        self.codes.append(connection.close_code)

    async def say(self, connection: ServerConnection, op: int, t: str | None = None, s: int | None = None) -> None:
        """Send a frame."""
        ready = {"session_id": "abc", "resume_gateway_url": f"{self.url}/gateway", "guilds": [{"id": "5"}]}
        d = ready if t == "READY" else False if op == 9 else {}
        await connection.send(json.dumps({"op": op, "d": d, "s": s, "t": t}))


@asynccontextmanager
async def open_stub() -> AsyncIterator[Stub]:
    """Serve a stub."""
    stub = Stub()
    async with serve(stub.serve, "127.0.0.1", 0) as server:
        stub.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield stub


def session_at(stub: Stub, heard: Heard, counts: Counts, *, tells_positions: bool = True) -> Session:
    """Return a session whose home is the stub."""
    ways = Ways((stub.url.replace("ws", "http"),), tells_positions, anew_s=(0.0, 0.01))
    return Session("token", 0, ways, heard, counts, asyncio.Semaphore(1))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that nobody tells us."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("tells_positions", [True, False])
async def test_a_lost_session_resumes_from_where_it_was(tells_positions: bool) -> None:
    """After a cut, a close and RECONNECT it resumes, with the last `s` and, if it is to tell them, its positions."""
    heard, counts = Heard(), Counts()
    async with open_stub() as stub:

        async def begin(connection: ServerConnection, d: Any) -> None:
            await stub.say(connection, 0, "READY", 1)
            await stub.say(connection, 0, "GUILD_CREATE", 2)
            await until(lambda: "GUILD_CREATE" in heard.told)
            connection.transport.abort()

        async def close(connection: ServerConnection, d: Any) -> None:
            await stub.say(connection, 0, "MISSED", 2)
            await stub.say(connection, 0, "RESUMED", 9)
            await connection.close(4000)

        async def tell(connection: ServerConnection, d: Any) -> None:
            await stub.say(connection, 0, "RESUMED", 11)
            await stub.say(connection, 7)

        async def stay(connection: ServerConnection, d: Any) -> None:
            await stub.say(connection, 0, "RESUMED", 12)

        stub.parts = [begin, close, tell, stay]
        session = session_at(stub, heard, counts, tells_positions=tells_positions)
        async with running(session.run()):
            await until(lambda: counts.resumes == 3)
            await session.hang_up()
    assert [one["op"] for one in stub.opened] == [2, 6, 6, 6]
    told: dict[str, Any] = {"token": "token", "session_id": "abc", "positions": {"7": 3}}
    if not tells_positions:
        del told["positions"]
    assert [one["d"] for one in stub.opened[1:]] == [{**told, "seq": s} for s in (2, 9, 11)]
    assert stub.codes == [1006, 4000, 4900, 1000]
    assert heard.told == [
        "begin 5", "GUILD_CREATE", "lost", "MISSED", "resumed", "lost", "resumed", "lost", "resumed", "lost",
    ]  # fmt: skip
    assert (counts.reconnects, counts.told_to_reconnect, counts.begun_anew) == (3, 1, 0)


async def test_a_session_that_is_over_begins_anew() -> None:
    """After INVALID_SESSION, and codes that say so, the next connection identifies."""
    heard, counts = Heard(), Counts()
    async with open_stub() as stub:

        async def begin(connection: ServerConnection, d: Any) -> None:
            await stub.say(connection, 0, "READY", 1)
            await connection.close(4000)

        async def refuse(connection: ServerConnection, d: Any) -> None:
            await stub.say(connection, 9)

        async def time_out(connection: ServerConnection, d: Any) -> None:
            await stub.say(connection, 0, "READY", 1)
            await connection.close(4009)

        async def stay(connection: ServerConnection, d: Any) -> None:
            await stub.say(connection, 0, "READY", 1)

        stub.parts = [begin, refuse, time_out, stay]
        session = session_at(stub, heard, counts)
        async with running(session.run()):
            await until(lambda: len(stub.opened) == 4)
            await session.wait_ready()
            await session.hang_up()
    assert [one["op"] for one in stub.opened] == [2, 6, 2, 2]
    assert (counts.resumes, counts.begun_anew) == (0, 1)
    assert heard.told.count("begin 5") == 3


async def test_a_client_that_is_refused_for_good_gives_up() -> None:
    """A token that is not valid is not tried again."""
    async with open_stub() as stub:

        async def refuse(connection: ServerConnection, d: Any) -> None:
            await connection.close(4004)

        stub.parts = [refuse]
        with pytest.raises(GaveUp, match="4004"):
            await session_at(stub, Heard(), Counts()).run()
