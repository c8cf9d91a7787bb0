"""A session with the gateway: one WebSocket after the other, on which it resumes for as long as the gateway lets it.

A client's shell. It knows `session_id` and the last `s`; who listens knows what was said, and tells its positions.
One task reads the socket and deals with its frames one by one, so `s` and what the listener has seen agree whenever
the connection breaks. Read `member` next.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from deploy.replay.frames import (
    HEARTBEAT,
    IDENTIFY,
    INVALID_SESSION,
    RECONNECT,
    RESUME,
    Frame,
    Ready,
    decode_frame,
    decode_ready,
    encode_frame,
)
from deploy.replay.rest import Counts, GaveUp

BEAT_S: Final = 15
"""How often a heartbeat is sent; if nothing was heard between one and the next, the connection is dead."""
_OPEN_S: Final = 25.0
"""From connect to READY or RESUMED; the gateway gives itself 20 s."""
_FIRST_WAIT_S: Final = 0.1
_LAST_WAIT_S: Final = 3.0
_MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
_CLOSE_S: Final = 2.0
_COMING_BACK: Final = 4900
"""What a client closes with that will resume: 1000 and 1001 would end the session."""
_ANEW: Final = frozenset({4003, 4007, 4009})
_FINAL: Final = frozenset({4004, 4010, 4011, 4012, 4013, 4014})

_spread = random.Random()  # noqa: S311 (spreads clients, no secret)


@dataclass(frozen=True)
class Ways:
    """How clients behave. `gateways`: base addresses; who lost one of several comes back to another.

    With one, a session is resumed where READY said. `tells_positions`: RESUME says how far the client is in channels.
    After INVALID_SESSION a client waits between `anew_s`, as Discord asks for, before it identifies anew.
    """

    gateways: tuple[str, ...]
    tells_positions: bool = True
    anew_s: tuple[float, float] = (1.0, 5.0)


class Listener(Protocol):
    """Who listens to a session."""

    def begin(self, ready: Ready) -> None:
        """Take in that a new session begins; the last one is over, if there was any."""

    async def take(self, frame: Frame) -> None:
        """Take in a frame. The next one waits for it."""

    def positions(self) -> Mapping[str, int]:
        """Return the last seq seen, by channel id."""

    def lost(self) -> None:
        """Take in that the connection is gone; what was sent may not have come."""

    def resumed(self) -> None:
        """Take in that all that was missed has come."""

    def invalid(self) -> None:
        """Take in that the session can't go on: a new one will begin."""


class _InvalidSession(Exception):
    """The gateway can't go on with the session."""


class _ToldToReconnect(Exception):
    """The gateway asks to come back on another connection."""


class Session:
    """One user's session, or several of them one after the other. `gate` bounds how many connect at the same time."""

    def __init__(
        self,
        token: str,
        home: int,
        ways: Ways,
        listener: Listener,
        counts: Counts,
        gate: asyncio.Semaphore,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._token = token
        self._ways = ways
        self._homes = tuple(f"{url.replace('http', 'ws', 1)}/gateway" for url in ways.gateways)
        self.address = self._homes[home % len(self._homes)]
        """Where it connects to."""
        self._listener = listener
        self._counts = counts
        self._gate = gate
        self._clock = clock
        self._connection: ClientConnection | None = None
        self._ready = asyncio.Event()
        self._id = ""
        self._resume_at = ""
        self._s = 0
        self._was_lost = False
        self._heard_at = 0.0
        self._beat_at = 0.0
        self._is_done = False

    async def run(self) -> None:
        """Be connected until `hang_up`; come back whenever the connection ends. Raises `GaveUp` if that is refused."""
        wait_s = _FIRST_WAIT_S
        while not self._is_done:
            try:
                async with self._gate, asyncio.timeout(_OPEN_S):
                    connection = await self._open()
                wait_s = _FIRST_WAIT_S
                self._counts.reconnects += self._was_lost
                await self._use(connection)
            except _InvalidSession:
                self._forget()
                self._counts.begun_anew += 1
                await asyncio.sleep(_spread.uniform(*self._ways.anew_s))
            except ConnectionClosed as closed:
                self._heed(closed)
            except _ToldToReconnect:
                self._counts.told_to_reconnect += 1
            except (OSError, TimeoutError, WebSocketException, msgspec.MsgspecError):
                wait_s = min(2 * wait_s, _LAST_WAIT_S)
            self._was_lost = True
            await asyncio.sleep(wait_s * _spread.uniform(0.5, 1))

    async def hang_up(self) -> None:
        """Close the connection and stay away."""
        self._is_done = True
        if (connection := self._connection) is not None:
            await connection.close()

    async def wait_ready(self) -> None:
        """Wait until the session is open and nothing missed is under way."""
        await self._ready.wait()

    @property
    def is_open(self) -> bool:
        """Whether the session is open and nothing missed is under way."""
        return self._ready.is_set()

    async def send(self, op: int, d: object) -> bool:
        """Send a frame; False if the connection is lost."""
        if (connection := self._connection) is None:
            return False
        try:
            await connection.send(encode_frame(op, d), text=True)
        except (WebSocketException, OSError):
            return False
        return True

    def cut(self) -> None:
        """Reset the connection."""
        if self._connection is not None:
            self._connection.transport.abort()

    async def beat(self) -> None:
        """Send a heartbeat, or cut the connection if nothing was heard since the last one."""
        if self._connection is None:
            return
        if self._heard_at < self._beat_at:
            self.cut()
            return
        self._beat_at = self._clock()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self.send(HEARTBEAT, self._s)

    def _forget(self) -> None:
        if self._id:
            self._listener.invalid()
        self._id = ""

    def _heed(self, closed: ConnectionClosed) -> None:
        """Do as a close code says."""
        code = closed.rcvd.code if closed.rcvd is not None else 0
        if code in _FINAL:
            raise GaveUp(f"{self.address} closed for good: {closed}")
        if code in _ANEW:
            self._forget()

    # Opening.

    def _choose(self) -> None:
        """Choose where to connect: after a loss at another gateway, or where READY said, if there is only one."""
        if len(self._homes) > 1:
            if self._was_lost:
                self.address = _spread.choice([one for one in self._homes if one != self.address])
        else:
            self.address = self._resume_at if self._id else self._homes[0]

    async def _open(self) -> ClientConnection:
        """Connect, and resume or identify. Raises what `connect` does and this module's own exceptions."""
        self._choose()
        connection = await connect(
            f"{self.address}?v=10&encoding=json",
            compression=None,
            ping_interval=None,
            max_size=_MAX_FRAME_BYTES,
            close_timeout=_CLOSE_S,
            proxy=None,
            open_timeout=None,
        )
        try:
            await (self._resume if self._id else self._identify)(connection)
        except BaseException:
            connection.transport.abort()
            self._listener.lost()
            raise
        return connection

    async def _identify(self, connection: ClientConnection) -> None:
        await connection.send(encode_frame(IDENTIFY, {"token": self._token, "properties": {}}), text=True)
        while (frame := decode_frame(await connection.recv(decode=False))).t != "READY":
            pass
        ready = decode_ready(frame.d)
        self._id, self._s = ready.session_id, frame.s or 0
        self._resume_at = ready.resume_gateway_url
        self._listener.begin(ready)

    async def _resume(self, connection: ClientConnection) -> None:
        d: dict[str, object] = {"token": self._token, "session_id": self._id, "seq": self._s}
        if self._ways.tells_positions:
            d["positions"] = self._listener.positions()
        await connection.send(encode_frame(RESUME, d), text=True)
        while (frame := decode_frame(await connection.recv(decode=False))).t != "RESUMED":
            await self._deal(frame)
        self._s = frame.s or self._s
        self._counts.resumes += 1
        self._listener.resumed()

    # Being open.

    async def _use(self, connection: ClientConnection) -> None:
        """Take in frames until the connection ends, which is raised."""
        self._connection = connection
        self._heard_at = self._clock()
        self._beat_at = 0.0
        self._ready.set()
        try:
            while True:
                await self._deal(decode_frame(await connection.recv(decode=False)))
        except _ToldToReconnect:
            await connection.close(_COMING_BACK)
            raise
        finally:
            self._ready.clear()
            self._connection = None
            connection.transport.abort()
            self._listener.lost()

    async def _deal(self, frame: Frame) -> None:
        self._heard_at = self._clock()
        if frame.op == INVALID_SESSION:
            raise _InvalidSession
        if frame.op == RECONNECT:
            raise _ToldToReconnect
        await self._listener.take(frame)
        if frame.s is not None:
            self._s = frame.s
