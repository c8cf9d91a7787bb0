"""One WebSocket as an asyncio protocol: bytes in, frames out, and every bound that a stranger meets.

Ring 4 (shell). uvicorn's parser reads the upgrade request (`shared.http_protocol`), `core.handshake` judges it; from
there on there is no task and no ASGI call. Frames are `core.websocket`; what they mean is `core.session`; what is done
about them is `services.gateway.node`.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum
from http import HTTPStatus
from typing import Final, Protocol, cast

from services.gateway import compressing
from services.gateway.compressing import Compressor
from services.gateway.core.admission import Admission, Proxies
from services.gateway.core.frames import INVALID_SESSION, MAX_FRAME_BYTES, CloseCode, hello
from services.gateway.core.handshake import Refusal, answer_of, forwarded_of, target_of
from services.gateway.core.session import Action, Close, Phase, Session, SessionRules
from services.gateway.core.websocket import (
    ABNORMAL,
    Failure,
    Frame,
    FrameReader,
    Opcode,
    close_code_of,
    close_frame,
    pong_frame,
    text_frame,
)
from services.gateway.fanout import Fanout
from services.gateway.outbox import SocketOutbox
from services.gateway.sessions import WEBSOCKET, LiveSession
from shared.core.upgrade import Upgrade

VERSIONS: Final = ("10", "9", "8")

_FRAGMENTS: Final = 64
"""Most fragments of one message; nobody needs many, and each costs."""
_CLOSING_S: Final = 5.0
"""How long a peer has to answer our close frame, and to read what stands before it."""


class Host(Protocol):
    """What a connection needs of its node."""

    rules: SessionRules
    fanout: Fanout
    origins: tuple[str, ...]
    proxies: Proxies
    admission: Admission
    send_buffer_bytes: int
    send_buffer_s: float

    def clock(self) -> float:
        """Return seconds of a clock that never goes back."""

    def admit(self, connection: Connection) -> bool:
        """Take in a new connection, unless there are too many or the node goes down."""

    def act(self, connection: Connection, action: Action) -> None:
        """Do what a client's frame asks for."""

    def leave(self, connection: Connection) -> None:
        """Take in that a connection's session ended; told once per connection."""

    def lost(self, connection: Connection) -> None:
        """Take in that a connection's socket is closed."""


class _Stage(IntEnum):
    """How far a socket is."""

    SHAKING = 0
    """Before the upgrade request."""
    OPEN = 1
    CLOSING = 2
    """We said close and wait for the peer to say it too."""
    FAILED = 3
    """The peer broke the protocol: what it sends is read no more, and it hears so before the socket is closed."""
    OVER = 4
    """Closed as soon as all is written."""


class Connection(SocketOutbox, asyncio.Protocol):
    """One socket and its session."""

    kind = WEBSOCKET
    hears_resumed = True

    __slots__ = (
        "_closing",
        "_fragments",
        "_host",
        "_is_open",
        "_is_text",
        "_place",
        "_reader",
        "_resumed",
        "_stage",
        "close_code",
        "in_flight",
        "live",
        "opened_at",
        "order",
        "peer",
        "session",
        "user_id",
    )

    def __init__(self, host: Host) -> None:
        super().__init__(host.fanout.flusher, host)
        self._host = host
        self._stage = _Stage.SHAKING
        self._reader = FrameReader()
        self._fragments: list[bytes] | None = None
        self._is_text = True
        self._is_open = False
        self._closing: asyncio.TimerHandle | None = None
        self._resumed: asyncio.Event | None = None
        """Set when the peer goes on reading, or is gone; there while somebody waits for that."""
        self._place = ""
        self.peer = ""
        """The client's address, for logs."""
        self.opened_at = host.clock()
        self.session = Session(host.rules, self.opened_at)
        self.live: LiveSession | None = None
        self.user_id = 0
        self.in_flight = 0
        self.order: asyncio.Lock | None = None
        self.close_code = 0

    # asyncio's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        self.use(cast(asyncio.Transport, transport))

    def upgrade_received(self, upgrade: Upgrade) -> None:
        """Answer the upgrade request, which the HTTP parser has read: the first that comes."""
        target = target_of(upgrade.target)
        answer = answer_of(upgrade, self._host.origins)
        if not target.is_gateway:
            answer = Refusal(HTTPStatus.NOT_FOUND, "There is no WebSocket here, only at /gateway.")
        elif target.encoding != "json":
            answer = Refusal(HTTPStatus.BAD_REQUEST, "The encoding must be json.")
        elif isinstance(answer, bytes):
            answer = self._admit(upgrade) or answer
        if isinstance(answer, Refusal):
            self.put(answer.encoded())
            self._over(ABNORMAL)
            return
        self.put(answer)
        self._stage = _Stage.OPEN
        self._is_open = True
        if target.compress == compressing.NAME:
            self._compressor = Compressor()
        self.shorten()
        if target.version not in VERSIONS:
            self.close(CloseCode.INVALID_API_VERSION)
        else:
            self.answer(hello(self._host.rules.heartbeat_interval_s))

    def data_received(self, data: bytes) -> None:
        """Parse what came and act on it."""
        if self._stage >= _Stage.FAILED:
            return
        now = self._host.clock()
        for came in self._reader.read(data, max(self._host.rules.send_limit, MAX_FRAME_BYTES)):
            if isinstance(came, Failure):
                self._fail(came)
            else:
                self._receive(came, now)
            if self._stage >= _Stage.FAILED:
                return

    def eof_received(self) -> bool:
        """Close when the peer sends no more."""
        self._over(ABNORMAL)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Take in that the socket is gone."""
        if self._closing is not None:
            self._closing.cancel()
        self.lost()
        self._stage = _Stage.OVER
        self._is_open = False
        self._let_go_on()
        self._fragments = None
        self._end(ABNORMAL)
        self._host.admission.leave(self._place)
        self._place = ""
        self._host.lost(self)

    @property
    def is_open(self) -> bool:
        """Whether frames can still be sent."""
        return self._is_open

    async def taken(self) -> None:
        """Wait until the peer has taken all that was sent, or is closed: the node sees to it that it is one of them."""
        while self._is_open and (self.pending is not None or self._unread is not None):
            if self._unread is None:
                await self._flusher.flushed()
            else:
                self._resumed = self._resumed or asyncio.Event()
                await self._resumed.wait()

    def resume_writing(self) -> None:
        """Take in that the peer has read all of it."""
        self._unread = None
        self._let_go_on()
        if self._is_open:
            self.shorten()

    # What the node calls.

    def push(self, frame: bytes) -> None:
        """Send a WebSocket frame, together with what else is sent until this connection's turn comes."""
        if self._is_open:
            self.put(frame)

    def answer(self, payload: bytes) -> None:
        """Send a frame to this connection alone; nothing happens once it is closed."""
        self.push(text_frame(payload))

    def overflowed(self) -> None:
        """Close, since the peer leaves too many bytes unread."""
        self.close(CloseCode.UNKNOWN_ERROR, "slow consumer")

    def emptied(self) -> None:
        """Close behind the last byte, where that was it."""
        if self._transport is None:
            return
        if self._stage is _Stage.OVER:
            self._transport.close()
        elif self._stage is _Stage.FAILED and self._transport.can_write_eof():
            self._transport.write_eof()  # a close on what the peer has sent would reset our word away

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Close with a code; what was pushed before still goes out, if the peer reads it in time."""
        if (action := self.session.close(code, reason)) is not None:
            self.end(action)

    @property
    def waits(self) -> bool:
        """Whether the client waits for what comes of its IDENTIFY or RESUME: it has not closed meanwhile."""
        return self.session.phase is Phase.OPENING

    def begin(self, session: LiveSession) -> bool:
        """Take in that this is the session from now on; False if the connection was closed meanwhile."""
        if not self.session.opened():
            return False
        self.user_id = session.user_id
        self.live = session
        return True

    def not_resumed(self) -> None:
        """Tell the client INVALID_SESSION, so that it may IDENTIFY here; nothing happens once it is closed."""
        if self.session.not_resumed(self._host.clock()):
            self.answer(INVALID_SESSION)

    def end(self, action: Close) -> None:
        """Do what the session's machine says at its end."""
        self._say_close(int(action.code), action.reason)
        self._end(action.code)

    def revoked(self) -> None:
        """Close, since the token that the session began with is void: the session ends."""
        self.close(CloseCode.AUTHENTICATION_FAILED)

    def replaced(self) -> None:
        """Close, since the session goes on elsewhere or is over."""
        self.live = None
        self.close(CloseCode.UNKNOWN_ERROR, "the session goes on elsewhere")

    def abort(self) -> None:
        """Drop the socket without a word."""
        if self._transport is not None:
            self._transport.abort()

    def look(self, now: float) -> None:
        """Close a client that was silent for too long, or has left something unread. Call every few seconds."""
        if (close := self.session.tick(now)) is not None:
            self.end(close)
        elif self.is_stuck(now):
            self.close(CloseCode.UNKNOWN_ERROR, "slow consumer")

    # Parts of the above.

    def _let_go_on(self) -> None:
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    def _admit(self, upgrade: Upgrade) -> Refusal | None:
        """Take the client in, or return what refuses it."""
        self.peer = self._host.proxies.client_of(upgrade.peer, forwarded_of(upgrade.headers))
        place = self._host.admission.enter(self.peer)
        if place is None:
            return Refusal(HTTPStatus.TOO_MANY_REQUESTS, "This address has too many connections.")
        self._place = place
        if not self._host.admit(self):
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "This node takes no more connections.")
        return None

    def _receive(self, frame: Frame, now: float) -> None:
        match frame.opcode:
            case Opcode.CLOSE:
                code = close_code_of(frame.data)
                if isinstance(code, Failure):
                    self._fail(code)
                else:
                    self._say_close(code)
                    self._over(code)
            case _ if self._stage is not _Stage.OPEN:
                pass
            case Opcode.PING | Opcode.PONG:
                if frame.opcode is Opcode.PING:
                    self.push(pong_frame(frame.data))
                if (close := self.session.control(now)) is not None:
                    self.end(close)
            case Opcode.TEXT | Opcode.BINARY if frame.is_last:
                self._take(frame.data, now, is_text=frame.opcode is Opcode.TEXT)
            case Opcode.TEXT | Opcode.BINARY:
                self._is_text = frame.opcode is Opcode.TEXT
                self._fragments = [frame.data]
            case Opcode.CONT if self._fragments is not None:
                self._fragments.append(frame.data)
                if len(self._fragments) > _FRAGMENTS:
                    self._fragments = None
                    self.close(CloseCode.DECODE_ERROR, "too many fragments")
                elif frame.is_last:
                    data, self._fragments = b"".join(self._fragments), None
                    self._take(data, now, is_text=self._is_text)

    def _take(self, data: bytes, now: float, *, is_text: bool) -> None:
        action = self.session.receive(data, now, text=is_text)
        if isinstance(action, Close):
            self.end(action)
        elif action is not None:
            self._host.act(self, action)

    def _say_close(self, code: int, reason: str = "") -> None:
        """Send a close frame, once, behind all that was pushed."""
        if self._stage is _Stage.OPEN:
            self._stage = _Stage.CLOSING
            self._is_open = False
            self.lengthen()
            self._fragments = None
            self.put(close_frame(code, reason))
            self._close_within(_CLOSING_S)

    def _fail(self, failure: Failure) -> None:
        code = int(CloseCode.DECODE_ERROR) if failure.code is None else failure.code
        self._say_close(code, failure.reason)
        self._stage = _Stage.FAILED
        self._end(code)

    def _over(self, code: int) -> None:
        """Close the socket behind the last byte, if the peer reads so far in time."""
        self._stage = _Stage.OVER
        self._is_open = False
        self.lengthen()
        self._end(code)
        self._close_within(_CLOSING_S)
        if self.pending is None and self._transport is not None:
            self._transport.close()

    def _end(self, code: int) -> None:
        """End the session, once; the socket may live on until the closing handshake is done."""
        if not self.close_code:
            self.close_code = int(code)
            self.session.ended()
            self._host.leave(self)

    def _close_within(self, seconds: float) -> None:
        if self._closing is None and self._transport is not None:
            self._closing = asyncio.get_running_loop().call_later(seconds, self.abort)
