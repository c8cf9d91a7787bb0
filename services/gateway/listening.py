"""Listening: a session over plain HTTP, as server-sent events or by long poll, for where no WebSocket gets through.

Ring 4 (shell). `Listener` is a connection like any other to who opens, resumes and ends sessions; `Listening` is the
answer to one request that takes from it. Each request identifies or resumes; when it ends its session waits to be
resumed. The texts are `core.sse`'s; who may come is the node's to say.
"""

from __future__ import annotations

import asyncio
import contextlib
from itertools import chain
from typing import Final, Protocol

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.gateway.core.admission import Admission
from services.gateway.core.frames import INVALID_SESSION, CloseCode, Identify, Resume, s_of
from services.gateway.core.sse import encode_event, encode_sign, pieces_of
from services.gateway.core.websocket import ABNORMAL, NO_CODE, payload_of, text_frame
from services.gateway.fanout import Fanout
from services.gateway.outbox import Outbox
from services.gateway.sessions import POLL, STREAM, AnyConnection, LiveSession
from shared.core.errors import MissingAccess, RateLimited, StarlingError, Unauthorized, Unavailable
from shared.core.wire.values import encode
from shared.http_edge import leave_turn
from shared.http_errors import JsonResponse

MOST_WAIT_S: Final = 50
"""How long a poll may wait; what stands between client and node often cuts at 60 s."""
POLL_FRAMES: Final = 1000
POLL_BYTES: Final = 1024 * 1024
"""At so many frames or bytes an answer to a poll ends, and the client asks again."""
_AGAIN_S: Final = 5.0
"""When to come again is worth it, for who has too many connections or sessions."""
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Ask = Identify | Resume


class Host(Protocol):
    """What listening needs of the node."""

    fanout: Fanout
    origins: tuple[str, ...]
    admission: Admission
    send_buffer_bytes: int
    stream_heartbeat_s: float

    def clock(self) -> float:
        """Return seconds of a clock that never goes back."""

    def require_poll(self, token: str) -> None:
        """Count a request for events. Raises `Unauthorized` without a token of ours, `RateLimited`."""

    def admit(self, connection: AnyConnection) -> bool:
        """Take in a new connection, unless there are too many or the node goes down."""

    def open(self, connection: AnyConnection, identify: Identify) -> None:
        """Open a session soon, or close the connection."""

    def resume(self, connection: AnyConnection, resume: Resume) -> None:
        """Go on with a session, now or soon; or say INVALID_SESSION, or close the connection."""

    def leave(self, connection: AnyConnection) -> None:
        """Take in that a connection's session ended; told once per connection."""

    def lost(self, connection: AnyConnection) -> None:
        """Take in that a connection is gone."""


class Listener(Outbox):
    """One request's connection: keeps what is pushed until the request takes it."""

    def __init__(self, host: Host, kind: str, peer: str, request: asyncio.Task[object] | None) -> None:
        super().__init__(host.fanout.flusher)
        self._host = host
        self._request = request
        self._out: list[bytes] = []
        self._size = 0
        self._left = 0
        """Bytes that the request had not taken at the last turn."""
        self._wake = asyncio.Event()
        self._taken_at = host.clock()
        self.kind = kind
        self.hears_resumed = kind == STREAM
        self.peer = peer
        self.opened_at = self._taken_at
        self.user_id = 0
        self.live: LiveSession | None = None
        self.session_id = ""
        self.close_code = 0
        self.s = 0
        """What was sent up to here was pushed; once it is closed."""

    # What node and session call.

    @property
    def waits(self) -> bool:
        """Whether the client waits for what comes of its request: it has not closed meanwhile."""
        return not self.close_code

    def begin(self, session: LiveSession) -> bool:
        """Take in that this is the session from now on; False if the connection was closed meanwhile."""
        if self.close_code:
            return False
        self.user_id = session.user_id
        self.live = session
        self.session_id = session.session_id
        self._wake.set()
        return True

    def not_resumed(self) -> None:
        """Tell the client INVALID_SESSION and end, unless the connection was closed meanwhile."""
        self.answer(INVALID_SESSION)
        self.close(CloseCode.INVALID_SEQ)

    def push(self, frame: bytes) -> None:
        """Keep a frame for the request, which takes it after this turn of the loop."""
        if not self.close_code:
            self.put(frame)

    def answer(self, payload: bytes) -> None:
        """Send a frame to this connection alone; nothing happens once it is closed."""
        self.push(text_frame(payload))

    def flush(self) -> None:
        """Let the request take what was pushed; a client that leaves too much untaken is closed.

        What comes in one turn is never too much: a session that begins, or goes on, comes whole.
        """
        self._keep()
        if self._left and self._size > self._host.send_buffer_bytes:
            self.close(CloseCode.UNKNOWN_ERROR, "slow consumer")
        self._left = self._size
        if self._out:
            self._wake.set()

    def _keep(self) -> None:
        """Take what is pending out of the flusher's hands."""
        frames = self.take()
        self._out += frames
        self._size += sum(map(len, frames))

    def close(self, code: CloseCode, reason: str = "") -> None:
        """End; what was pushed before is still taken."""
        self.end(int(code))

    def revoked(self) -> None:
        """End, since the token that the session began with is void: the session ends."""
        self.close(CloseCode.AUTHENTICATION_FAILED)

    def replaced(self) -> None:
        """End, since the session goes on elsewhere or is over."""
        self.live = None
        self.close(CloseCode.UNKNOWN_ERROR)

    def abort(self) -> None:
        """End the request, wherever it is."""
        self.end(ABNORMAL)
        if self._request is not None:
            self._request.cancel()

    def look(self, now: float) -> None:
        """Let a stream give a sign of life when nothing was sent for long."""
        if self.live is not None and now - self._taken_at >= self._host.stream_heartbeat_s:
            self._wake.set()

    # What the request calls.

    @property
    def has_some(self) -> bool:
        """Whether there is something to take, or nothing will come any more."""
        return bool(self._out or self.pending or self.close_code)

    def end(self, code: int) -> None:
        """End, once: from here on nothing is pushed, and the session waits for its client's next request."""
        if not self.close_code:
            self.s = self._host.fanout.s
            self.close_code = code
            self._host.leave(self)
            self._wake.set()

    async def wait(self, most_s: float | None = None) -> None:
        """Wait until something came, it is time for a sign of life, or the end; no longer than that many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._wake.wait()
        self._wake.clear()

    async def wait_begun(self) -> None:
        """Wait until the session has begun or went on. Raises what refuses it, `ClientDisconnect`."""
        while not (self.session_id or self.has_some):
            await self.wait()
        if not (self.session_id or self._out or self.pending):
            if self.close_code == ABNORMAL:
                raise ClientDisconnect
            raise _refusal_of(self.close_code)

    def take_all(self) -> list[memoryview]:
        """Return the payloads of all frames that are there."""
        self._keep()
        out, self._out = self._out, []
        self._size = self._left = 0
        self._taken_at = self._host.clock()
        return [payload_of(frame) for frame in out]


def _refusal_of(code: int) -> StarlingError:
    """Return what a connection is told as an HTTP answer that would be closed with this code."""
    match code:
        case CloseCode.AUTHENTICATION_FAILED:
            return Unauthorized()
        case CloseCode.RATE_LIMITED:
            return RateLimited(retry_after=_AGAIN_S)
        case _:
            return Unavailable()


class Listening(Response):
    """The answer to one request for events: a stream, or with `wait_s` what has come until then."""

    def __init__(self, host: Host, ask: Ask, *, wait_s: float | None, origin: str | None) -> None:
        super().__init__()
        self._host = host
        self._ask = ask
        self._wait_s = wait_s
        self._origin = origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request. Raises what refuses it before it is answered, and `ClientDisconnect`."""
        host = self._host
        if host.origins and self._origin is not None and self._origin not in host.origins:
            raise MissingAccess
        host.require_poll(self._ask.token)
        peer = scope["client"][0] if scope.get("client") else ""
        place = host.admission.enter(peer)
        if place is None:
            raise RateLimited(retry_after=_AGAIN_S)
        listener = Listener(host, STREAM if self._wait_s is None else POLL, peer, asyncio.current_task())
        watching: asyncio.Future[None] | None = None
        try:
            if not host.admit(listener):
                raise Unavailable
            leave_turn(scope)
            watching = asyncio.ensure_future(_end_with_client(receive, listener))
            if isinstance(self._ask, Identify):
                host.open(listener, self._ask)
            else:
                host.resume(listener, self._ask)
            await listener.wait_begun()
            if self._wait_s is None:
                await self._stream(listener, send)
            else:
                answer = await self._answer(listener, self._wait_s)
                await answer(scope, receive, send)
        finally:
            if watching is not None:
                watching.cancel()
            host.admission.leave(place)
            listener.end(ABNORMAL)
            host.lost(listener)

    async def _stream(self, listener: Listener, send: Send) -> None:
        headers = {"Content-Type": "text/event-stream", **_HEADERS}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        is_over = False
        while not is_over:
            is_over = bool(listener.close_code)
            frames = listener.take_all()
            sign = () if frames or is_over else (encode_sign(listener.session_id, self._host.fanout.s),)
            for piece in pieces_of(chain(sign, (encode_event(listener.session_id, frame) for frame in frames))):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(0)
            if not is_over:
                await listener.wait()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _answer(self, listener: Listener, wait_s: float) -> Response:
        clock = self._host.clock
        until = listener.opened_at + wait_s
        while not listener.has_some and (left_s := until - clock()) > 0:
            await listener.wait(left_s)
        # In one step: nothing more is pushed, so that all up to `s` is here.
        listener.end(NO_CODE)
        frames = listener.take_all()
        session_id: str | None = listener.session_id
        s: int | None = listener.s
        has_more = False
        if isinstance(self._ask, Resume) and len(sent := _part_of(frames, self._ask.seq or 0)) < len(frames):
            frames, has_more, s = sent, True, s_of(sent[-1])
        if any(frame == INVALID_SESSION for frame in frames):
            session_id = s = None
        head = b'{"session_id":%b,"s":%b,"has_more":%b,"events":[' % (encode(session_id), encode(s), encode(has_more))
        return JsonResponse(head + b",".join(frames) + b"]}", headers=_HEADERS)


def _part_of(frames: list[memoryview], told_s: int) -> list[memoryview]:
    """Return as many frames as one answer may have.

    What comes under the `s` that the client told (from another node) comes whole, since it can't ask behind it.
    """
    size = 0
    for index, frame in enumerate(frames):
        if (index >= POLL_FRAMES or size >= POLL_BYTES) and (s_of(frames[index - 1]) or 0) > told_s:
            return frames[:index]
        size += len(frame)
    return frames


async def _end_with_client(receive: Receive, listener: Listener) -> None:
    """End when the client goes, or sends a body that is too large."""
    with contextlib.suppress(HTTPException):
        while (await receive())["type"] != "http.disconnect":
            pass
    listener.end(ABNORMAL)
