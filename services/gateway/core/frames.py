"""Frames of the gateway protocol: opcodes, close codes, decoding what clients send, encoding what we send.

Ring 1 (core). Discord's v10 frames `{op, d, s, t}`, and three of our own (100–102). Whatever bytes come, the
answer is a typed frame or a close code, never an exception; unknown fields are ignored. The payloads of dispatches
are `shared.core.wire`'s. Read `session` next: what is done about a frame.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Any, Final, Literal

import msgspec

from shared.core.drafts import Given
from shared.core.stream import channel_stream
from shared.core.wire.values import encode, id_of

MAX_FRAME_BYTES: Final = 4096
"""Any frame but MESSAGE_SEND, as Discord has it."""

LAST_S: Final = (1 << 31) - 1
"""Several client libraries hold `s` in 32 bits."""
_S_DIGITS: Final = len(str(LAST_S))
_DISPATCH: Final = re.compile(rb'\{"t":"\w+","s":(\d+),"op":0,')


class Op(IntEnum):
    """What a frame is about."""

    DISPATCH = 0
    HEARTBEAT = 1
    IDENTIFY = 2
    PRESENCE_UPDATE = 3
    VOICE_STATE_UPDATE = 4
    RESUME = 6
    RECONNECT = 7
    REQUEST_GUILD_MEMBERS = 8
    INVALID_SESSION = 9
    HELLO = 10
    HEARTBEAT_ACK = 11
    MESSAGE_SEND = 100
    SEND_ACK = 101
    SEND_REJECT = 102


Then = Literal["resume", "identify", "never"]


class CloseCode(IntEnum):
    """Why we close a connection, and what the client should do `then`."""

    meaning: str
    then: Then

    def __new__(cls, code: int, then: Then, meaning: str) -> CloseCode:
        """Make a code that carries its meaning."""
        self = int.__new__(cls, code)
        self._value_ = code
        self.then = then
        self.meaning = meaning
        return self

    INVALID_TEXT = 1007, "resume", "A text frame was not UTF-8."
    UNKNOWN_ERROR = 4000, "resume", "Something here went wrong, the node goes down, or you read too slowly."
    UNKNOWN_OPCODE = 4001, "resume", "No such opcode."
    DECODE_ERROR = 4002, "resume", "The frame is malformed or too large."
    NOT_AUTHENTICATED = 4003, "identify", "Identify first."
    AUTHENTICATION_FAILED = 4004, "never", "The token is not valid, or was revoked."
    ALREADY_AUTHENTICATED = 4005, "resume", "This connection has identified already."
    INVALID_SEQ = 4007, "identify", "The sequence of the RESUME is not valid."
    RATE_LIMITED = 4008, "resume", "Too many frames, or too many sessions of one user."
    SESSION_TIMED_OUT = 4009, "identify", "The session timed out (not used: RESUME answers INVALID_SESSION)."
    INVALID_SHARD = 4010, "never", "There is no such shard: [i, n], i from 0 to n - 1."
    SHARDING_REQUIRED = 4011, "never", "Too many groups for one connection (not used)."
    INVALID_API_VERSION = 4012, "never", "No such version of the gateway."
    INVALID_INTENTS = 4013, "never", "The intents are not valid (not used: unknown bits are ignored)."
    DISALLOWED_INTENTS = 4014, "never", "The intents are not allowed (not used)."


class Heartbeat(msgspec.Struct, frozen=True):
    """Op 1: I live, and have seen frames up to this `s` (None: not told, or nonsense)."""

    s: int | None = None


class Identify(msgspec.Struct, frozen=True):
    """Op 2: begin a session. No `intents`: all; no `shard`: the only one. See `intents`."""

    token: str
    intents: int | None = None
    shard: tuple[int, int] | None = None
    presence: Any = None


class Ignored(msgspec.Struct, frozen=True):
    """Op 4: accepted, without effect."""


class UpdatePresence(msgspec.Struct, frozen=True):
    """Op 3: show me so from now on. What makes no sense is left out (`board.presence_from`)."""

    status: Any = None
    activities: Any = None


class Resume(msgspec.Struct, frozen=True):
    """Op 6: go on with a session after `seq` (the last `s` seen).

    `positions`: the last seq that the client has of channels, by channel id: what it has is not sent again. Of our
    own; what is no such number is ignored.
    """

    token: str
    session_id: str
    seq: int | None = None
    positions: Any = None


class RequestMembers(msgspec.Struct, frozen=True):
    """Op 8: tell me members of a group, by prefix of the name or by id. Libraries send ids as strings or integers."""

    guild_id: Any
    query: str | None = None
    limit: int | None = 0
    user_ids: Any = None
    presences: Any = None
    nonce: Any = None


class SendMessage(Given, frozen=True):
    """Op 100: store and deliver this message."""


ClientFrame = Heartbeat | Identify | Ignored | UpdatePresence | Resume | RequestMembers | SendMessage


class _Envelope(msgspec.Struct, frozen=True):
    op: int
    d: msgspec.Raw = msgspec.Raw(b"null")


_envelopes = msgspec.json.Decoder(_Envelope)
_payloads: dict[int, msgspec.json.Decoder[Any]] = {
    Op.IDENTIFY: msgspec.json.Decoder(Identify),
    Op.PRESENCE_UPDATE: msgspec.json.Decoder(UpdatePresence),
    Op.RESUME: msgspec.json.Decoder(Resume),
    Op.REQUEST_GUILD_MEMBERS: msgspec.json.Decoder(RequestMembers),
    Op.MESSAGE_SEND: msgspec.json.Decoder(SendMessage),
}
_empty: dict[int, ClientFrame] = {
    Op.VOICE_STATE_UPDATE: Ignored(),
}


def send_bytes_limit(content_characters: int) -> int:
    """Return how large a MESSAGE_SEND may be: each character may come as two escapes of six bytes."""
    return 12 * content_characters + 1024


def decode_frame(data: bytes, *, text: bool, send_limit: int) -> ClientFrame | CloseCode:
    """Decode what came as one WebSocket message, text or binary; a close code says what is wrong with it.

    `send_limit`: how many bytes a MESSAGE_SEND may have.
    """
    if len(data) > max(send_limit, MAX_FRAME_BYTES):
        return CloseCode.DECODE_ERROR
    if text and not _is_utf8(data):
        return CloseCode.INVALID_TEXT
    try:
        envelope = _envelopes.decode(data)
        if len(data) > (send_limit if envelope.op == Op.MESSAGE_SEND else MAX_FRAME_BYTES):
            return CloseCode.DECODE_ERROR
        if envelope.op == Op.HEARTBEAT:
            return Heartbeat(_told_s(bytes(envelope.d)))
        if (empty := _empty.get(envelope.op)) is not None:
            return empty
        decoder = _payloads.get(envelope.op)
        if decoder is None:
            return CloseCode.UNKNOWN_OPCODE
        frame: ClientFrame = decoder.decode(envelope.d)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return CloseCode.DECODE_ERROR
    return frame


def _told_s(d: bytes) -> int | None:
    return int(d) if len(d) <= _S_DIGITS and d.isdigit() else None


def positions_of(resume: Resume) -> dict[str, int]:
    """Return how far the client is in channels' streams, by stream; what makes no sense is left out."""
    told = resume.positions if isinstance(resume.positions, dict) else {}
    return {
        channel_stream(channel_id): seq
        for key, seq in told.items()
        if (channel_id := id_of(key)) is not None and type(seq) is int and seq > 0
    }


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def encode_frame(op: Op, d: Any = None) -> bytes:
    """Encode a frame that is no dispatch."""
    return encode({"op": int(op), "d": d, "s": None, "t": None})


def encode_dispatch(t: str, payload: bytes, s: int) -> bytes:
    """Encode a dispatch around its encoded payload; the same bytes go to every session that may see it."""
    return b'{"t":"%b","s":%d,"op":0,"d":%b}' % (t.encode(), s, payload)


def s_of(frame: bytes | memoryview) -> int | None:
    """Return the `s` of a frame that was encoded here; None if it is no dispatch."""
    found = _DISPATCH.match(frame)
    return int(found[1]) if found else None


HEARTBEAT_ACK: Final = encode_frame(Op.HEARTBEAT_ACK)
RECONNECT: Final = encode_frame(Op.RECONNECT)
INVALID_SESSION: Final = encode_frame(Op.INVALID_SESSION, False)


def hello(heartbeat_interval_s: float) -> bytes:
    """Encode HELLO."""
    return encode_frame(Op.HELLO, {"heartbeat_interval": round(heartbeat_interval_s * 1000)})
