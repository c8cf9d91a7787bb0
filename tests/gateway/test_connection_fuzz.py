"""A connection on a transport of the test: whatever bytes come, nothing raises and nothing is left."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.connection import Connection
from services.gateway.core.admission import Admission, Proxies
from services.gateway.core.replay import ReplayLog
from services.gateway.core.session import Action, Close, SessionRules
from services.gateway.core.websocket import text_frame
from services.gateway.fanout import Fanout
from services.gateway.flushing import Flusher
from shared.core.upgrade import Upgrade
from tests.gateway.raw import frame_of, head_of, upgrade_of


class FakeTransport(asyncio.Transport):
    """A socket whose peer reads at most `window` bytes until told to read on.

    With `has_socket` it may be written to without asking the transport, as long as that holds nothing.
    """

    def __init__(self, protocol: asyncio.Protocol, window: int, *, has_socket: bool) -> None:
        super().__init__()
        self._protocol: asyncio.Protocol | None = protocol
        self._window = window
        self._has_socket = has_socket
        self.sent = bytearray()
        self._waiting = bytearray()
        self.is_shut = False
        self.is_lost = False
        self._is_closing = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return self if self._has_socket else default
        return ("192.0.2.7", 1) if name == "peername" else default

    def fileno(self) -> int:
        return 7

    def take_nowait(self, fd: int, data: bytes) -> int:
        assert fd == self.fileno()
        assert not self._waiting, "overtaken"
        assert not self.is_lost, "the descriptor is another's by now"
        assert not self.is_shut, "written behind the end"
        if not self._window:
            raise BlockingIOError
        count = min(self._window, len(data))
        self._window -= count
        self.sent += data[:count]
        return count

    def get_write_buffer_size(self) -> int:
        return len(self._waiting)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_shut, "written behind the end"
        if self._is_closing:
            return
        was_empty = not self._waiting
        self._waiting += data
        self._pass_on()
        if was_empty and self._waiting and self._protocol is not None:
            self._protocol.pause_writing()

    def read_on(self, count: int) -> None:
        had = bool(self._waiting)
        if self._protocol is None:
            return
        self._window += count
        self._pass_on()
        if had and not self._waiting and self._protocol is not None:
            self._protocol.resume_writing()

    def _pass_on(self) -> None:
        count = min(self._window, len(self._waiting))
        self._window -= count
        self.sent += self._waiting[:count]
        del self._waiting[:count]
        if self._is_closing and not self._waiting:
            self.abort()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_shut = True

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True
        if not self._waiting:
            self.abort()

    def abort(self) -> None:
        self._is_closing = True
        if self._protocol is not None:
            asyncio.get_running_loop().call_soon(self._lose, self._protocol)
            self._protocol = None
            self._waiting.clear()

    def _lose(self, protocol: asyncio.Protocol) -> None:
        protocol.connection_lost(None)
        self.is_lost = True


class FakeHost:
    """A node that counts, and answers whatever is asked."""

    def __init__(self) -> None:
        self.rules = SessionRules()
        self.transport: FakeTransport
        self.flusher = Flusher(self.clock, lambda fd, data: self.transport.take_nowait(fd, data))
        self.fanout = Fanout(self.flusher, ReplayLog(100_000, 60.0), self.clock)
        self.origins: tuple[str, ...] = ()
        self.proxies = Proxies(("192.0.2.0/24",))
        self.admission = Admission(connections_per_address=1)
        self.send_buffer_bytes = 5_000
        self.send_buffer_s = 10.0
        self.now = 0.0
        self.inside: set[Connection] = set()
        self.talking: set[Connection] = set()

    def clock(self) -> float:
        return self.now

    def admit(self, connection: Connection) -> bool:
        self.inside.add(connection)
        self.talking.add(connection)
        return True

    def act(self, connection: Connection, action: Action) -> None:
        if isinstance(action, Close):
            connection.end(action)
        else:
            connection.answer(repr(action).encode())

    def leave(self, connection: Connection) -> None:
        self.talking.discard(connection)

    def lost(self, connection: Connection) -> None:
        assert connection not in self.talking, "lost before it left"
        self.inside.discard(connection)


messages = st.sampled_from(
    [b'{"op":1,"d":null}', b'{"op":2,"d":{"token":"x"}}', b'{"op":6}', b'{"op":100,"d":{}}', b"{", b"\xff", b""]
)
sound = st.builds(frame_of, st.sampled_from([1, 2]), messages)
any_frame = st.builds(
    frame_of, st.integers(0, 15), st.binary(max_size=130), fin=st.booleans(), reserved=st.sampled_from([0] * 9 + [1])
)
heads = st.builds(head_of, st.integers(0, 255), st.integers(0, 1 << 63), mask=st.booleans())
upgrades = st.sampled_from(
    [
        upgrade_of(),
        upgrade_of(),
        upgrade_of("/gateway?compress=zlib-stream&v=10"),
        upgrade_of("/gateway?v=2"),
        upgrade_of("/x"),
        upgrade_of("/gateway", "X-Forwarded-For: garbage, 203.0.113.9"),
        b"POST / HTTP/1.1\r\n\r\n",
        b"\x00 \xff\x00 \x00\r\n\xff:\xff" + b"\x00" * 20_000,
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return frames with some bytes changed, dropped or doubled."""
    data = bytearray(b"".join(draw(st.lists(sound | any_frame | heads, max_size=6))))
    for _ in range(draw(st.integers(0, 3)) if data else 0):
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.integers(0, 2)):
            case 0:
                data[at] = draw(st.integers(0, 255))
            case 1:
                del data[at : at + draw(st.integers(1, 9))]
                if not data:
                    break
            case _:
                data[at:at] = data[at : at + draw(st.integers(1, 9))]
    return bytes(data)


steps = st.lists(
    mutated()
    | st.sampled_from(["turn", "turn", "push", "read on", "tick", "close", "eof"])
    | st.sampled_from(["abort", "large push"]),
    max_size=15,
)


def parsed(request: bytes) -> Upgrade:
    """Return an upgrade request as the HTTP parser would, whatever stands in it."""
    first, *lines = request.split(b"\r\n")
    method, target, *_ = first.split(b" ")
    fields = (line.partition(b":") for line in lines if line)
    return Upgrade(method, target, [(name.lower(), value.strip()) for name, _, value in fields])


@settings(max_examples=400)
@given(upgrades, steps, st.integers(0, 10_000), st.booleans(), st.integers(0, 1 << 32))
def test_no_bytes_break_a_connection(
    upgrade: bytes, steps: list[bytes | str], window: int, has_socket: bool, seed: int
) -> None:
    """Nothing raises; the node is told once that it left, before it is lost; in the end no table holds it.

    What goes straight into the socket overtakes nothing that its transport holds, and stops before it is closed.
    """
    asyncio.run(_live(upgrade, steps, window, has_socket, random.Random(seed)))  # noqa: S311 (chance that repeats)


async def _live(upgrade: bytes, steps: list[bytes | str], window: int, has_socket: bool, chance: random.Random) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    host = FakeHost()
    connection = Connection(host)
    transport = host.transport = FakeTransport(connection, window, has_socket=has_socket)
    connection.connection_made(transport)
    connection.upgrade_received(parsed(upgrade))
    for step in steps:
        host.now += 0.01
        match step:
            case bytes():
                cut = chance.randrange(len(step) + 1)
                for piece in (step[:cut], step[cut:]):
                    if piece and not transport.is_closing():
                        connection.data_received(piece)
            case "turn":
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            case "push":
                connection.push(text_frame(b"hello"))
            case "large push":
                connection.push(text_frame(chance.randbytes(6_000)))
            case "read on":
                transport.read_on(3_000)
            case "tick":
                host.now += 6.0
                if (close := connection.session.tick(host.now)) is not None:
                    connection.end(close)
                elif connection.is_stuck(host.now):
                    connection.abort()
            case "close":
                connection.end(Close(4000, "x"))  # type: ignore[arg-type]
            case "eof" if not transport.is_closing():
                if not connection.eof_received():
                    transport.close()
            case "abort":
                connection.abort()
    connection.abort()
    for _ in range(3):
        await asyncio.sleep(0)
    await host.flusher.flushed()
    assert told == []
    assert host.inside == host.talking == set()
    assert host.admission.statistics()["addresses"] == 0
    assert connection.close_code
