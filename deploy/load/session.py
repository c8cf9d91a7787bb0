"""One user's session, as cheap as Python makes it: bytes in, counts out. It comes back by itself and sends again.

A client's shell, an asyncio protocol: thousands of them live in one process. What is not a message is rare, so messages
have a way of their own through `data_received`: one slice, one decoding into three fields, one comparison of numbers.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, cast

from deploy.load.frames import CLOSE, GOOD_BYE, TEXT, upgrade_of
from deploy.load.heard import Heard
from deploy.load.shapes import (
    MESSAGE_CREATE,
    decode_channel,
    decode_guild,
    decode_hello,
    decode_message,
    decode_message_frame,
    decode_ready,
    heartbeat_of,
    identify_of,
    resume_of,
    send_of,
)
from deploy.replay.frames import (
    INVALID_SESSION,
    RECONNECT,
    SEND_ACK,
    SEND_REJECT,
    Channel,
    Frame,
    decode_ack,
    decode_frame,
    decode_reject,
)

if TYPE_CHECKING:
    from deploy.load.crowd import Crowd

_PATH: Final = "/gateway?v=10&encoding=json"
_HELLO: Final = 10
_STAMP: Final = "~"
_MOST_UNANSWERED: Final = 256
_CODE_AT: Final = 2
_FINAL: Final = frozenset({4004, 4010, 4011, 4012, 4013, 4014})


def now_us() -> int:
    """Return the time on a clock that all processes of this machine share."""
    return time.monotonic_ns() // 1000


class Session(asyncio.Protocol):
    """One user's session. `number` is the user's place among all; `unanswered`: what was sent, by nonce."""

    __slots__ = (
        "_crowd",
        "_goes",
        "_has_head",
        "_id",
        "_inbox",
        "_s",
        "_token",
        "_transport",
        "_unshown",
        "begun_us",
        "entered",
        "heard",
        "is_in",
        "number",
        "unanswered",
        "wait_s",
    )

    def __init__(self, crowd: Crowd, number: int, token: str) -> None:
        self.number = number
        self.heard = Heard()
        self.is_in = False
        self.unanswered: dict[str, tuple[int, bytes]] = {}
        self.begun_us = 0
        self.wait_s = 0.0
        """How long it waits before it comes again: longer each time that it was refused."""
        self.entered: asyncio.Future[None] | None = None
        """Done when all is shown, or the connection is lost."""
        self._crowd = crowd
        self._token = token
        self._transport: asyncio.Transport | None = None
        self._inbox = b""
        self._has_head = False
        self._id = ""
        self._s = 0
        self._unshown = 0
        self._goes = False

    @property
    def is_connected(self) -> bool:
        """Whether it has a connection, in whatever state."""
        return self._transport is not None

    @property
    def is_gone(self) -> bool:
        """Whether the server said that coming again is of no use."""
        return self._goes

    def waits_since(self, at_us: int) -> bool:
        """Return whether a message that was due before then has no answer."""
        return bool(self.unanswered) and next(iter(self.unanswered.values()))[0] < at_us

    # What it is told to do.

    def say(self, channel_id: str, content: str, due_us: int) -> bool:
        """Send a message that was due then, now or when the session is back; False if too many wait already."""
        if len(self.unanswered) >= _MOST_UNANSWERED:
            return False
        nonce = f"{_STAMP}{self._crowd.next_mark():x}-{due_us:x}"
        frame = send_of(channel_id, content, nonce)
        self.unanswered[nonce] = (due_us, frame)
        if self.is_in:
            self._write(frame)
        return True

    def beat(self) -> None:
        """Send a heartbeat."""
        if self.is_in:
            self._write(heartbeat_of(self._s))

    def cut(self) -> None:
        """Reset the connection, if there is one; the session comes back."""
        if self._transport is not None:
            self._transport.abort()

    def leave(self) -> None:
        """Say good-bye; the user comes back with a new session."""
        if self._transport is not None:
            self._forget()
            self._transport.write(GOOD_BYE)
            self._transport.close()

    # What the connection tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self._transport = cast(asyncio.Transport, transport)
        self._inbox = b""
        self._has_head = False
        self._transport.write(upgrade_of(_PATH))

    def connection_lost(self, _: Exception | None) -> None:
        """Come again."""
        was_in, self.is_in = self.is_in, False
        self._transport = None
        self._settle()
        self._crowd.has_lost(self, was_in=was_in)

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        if self._inbox:
            data = self._inbox + data
        at, end = 0, len(data)
        if not self._has_head:
            at = data.find(b"\r\n\r\n") + 4
            if at < 4:
                self._inbox = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                self._crowd.counts.refused += 1
                self.cut()
                return
            self._has_head = True
        while end - at >= 2:
            start, length = at + 2, data[at + 1]
            if length == 126:
                start += 2
                length = int.from_bytes(data[at + 2 : start], "big")
            elif length == 127:
                start += 8
                length = int.from_bytes(data[at + 2 : start], "big")
            if start + length > end:
                break
            payload = data[start : start + length]
            if payload.startswith(MESSAGE_CREATE):
                self._hear(payload)
            elif data[at] & 15 == TEXT:
                self._take(decode_frame(payload))
            elif data[at] & 15 == CLOSE:
                self._heed(int.from_bytes(payload[:_CODE_AT], "big"))
            at = start + length
        self._inbox = data[at:]

    def _hear(self, payload: bytes) -> None:
        frame = decode_message_frame(payload)
        message = frame.d
        self._s = frame.s
        channel_id, seq, nonce = message.channel_id, message.seq, message.nonce
        crowd = self._crowd
        if self.heard.last.get(channel_id) == seq - 1:
            self.heard.last[channel_id] = seq
        else:
            self.heard.take(channel_id, seq, crowd.tally)
        crowd.counts.delivered += 1
        if type(nonce) is str and nonce.startswith(_STAMP):
            crowd.deliveries.record(now_us() - int(nonce[nonce.rfind("-") + 1 :], 16))

    def _take(self, frame: Frame) -> None:
        if frame.s is not None:
            self._s = frame.s
        match frame.op, frame.t:
            case _, "READY":
                ready = decode_ready(frame.d)
                self._id = ready.session_id
                self._unshown = len(ready.guilds)
                self._show(ready.private_channels)
                self._crowd.counts.identified += 1
                self._enter()
            case _, "RESUMED":
                self._unshown = 0
                self._crowd.counts.resumed += 1
                self._enter()
            case _, "GUILD_CREATE":
                self._unshown -= 1
                self._show(decode_guild(frame.d).channels)
                if self._unshown == 0:
                    self._settle()
            case _, "CHANNEL_CREATE":
                self._show([decode_channel(frame.d)])
            case 0, str(name) if name.startswith("MESSAGE_"):
                message = decode_message(frame.d)
                self.heard.take(message.channel_id, message.seq, self._crowd.tally)
                self._crowd.counts.delivered += 1
            case op, _ if op == SEND_ACK:
                ack = decode_ack(frame.d)
                if (sent := self.unanswered.pop(ack.nonce, None)) is not None:
                    self._crowd.counts.acked += 1
                    self._crowd.acks.record(now_us() - sent[0])
            case op, _ if op == SEND_REJECT:
                reject = decode_reject(frame.d)
                self._reject(reject.nonce, reject.retry_after)
            case op, _ if op == _HELLO:
                self._crowd.beat_s = decode_hello(frame.d).heartbeat_interval / 1000
                self._introduce()
            case op, _ if op == INVALID_SESSION:
                self._crowd.counts.invalid += 1
                self._forget()
                self._introduce()
            case op, _ if op == RECONNECT:
                self.cut()

    # Parts of the above.

    def _introduce(self) -> None:
        if self._id:
            positions = self.heard.last if self._crowd.tells_positions else None
            self._write(resume_of(self._token, self._id, self._s, positions))
        else:
            self._write(identify_of(self._token))

    def _enter(self) -> None:
        self.is_in = True
        self.wait_s = 0.0
        self._crowd.has_come(self)
        for _, frame in self.unanswered.values():
            self._write(frame)
        if self._unshown <= 0:
            self._settle()

    def _settle(self) -> None:
        if self.entered is not None and not self.entered.done():
            self.entered.set_result(None)

    def _show(self, channels: list[Channel]) -> None:
        for one in channels:
            self.heard.begin(one.id, one.last_seq, self._crowd.tally)

    def _reject(self, nonce: str, retry_after: float | None) -> None:
        if retry_after is None:
            self._crowd.counts.rejected += self.unanswered.pop(nonce, None) is not None
            return
        self._crowd.counts.sent_again += 1
        asyncio.get_running_loop().call_later(retry_after, self._send_again, nonce)

    def _send_again(self, nonce: str) -> None:
        if self.is_in and (sent := self.unanswered.get(nonce)) is not None:
            self._write(sent[1])

    def _forget(self) -> None:
        self._id = ""

    def _heed(self, code: int) -> None:
        """Do as a close code says."""
        if code in _FINAL:
            self._goes = True
        if code in {4003, 4007, 4009}:
            self._forget()
        self.cut()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
