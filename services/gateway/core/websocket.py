"""WebSocket frames (RFC 6455 section 5): what clients send, read piece by piece, and what a server sends.

Ring 1 (core). A server's frames are whole and unmasked; their bytes are made once and shared by all connections that
get them. What a client sends is read without a library because an idle connection then costs nothing beside two empty
fields, 4 KB less than with websockets' parser, to which a test holds it equal. There are no extensions.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

MAX_CONTROL: Final = 125
NO_CODE: Final = 1005
"""Stands for a close frame without a code; never sent."""
ABNORMAL: Final = 1006
"""Stands for an end without a close frame; never sent."""
PROTOCOL_ERROR: Final = 1002
NOT_UTF8: Final = 1007

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_CONTROL: Final = 0x8
"""The first opcode of control frames."""


class Opcode(IntEnum):
    """What a frame is."""

    CONT = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


_OPCODES: Final = {int(opcode): opcode for opcode in Opcode}


class Frame(NamedTuple):
    """A frame of a client, unmasked."""

    opcode: Opcode
    data: bytes
    is_last: bool = True


class Failure(NamedTuple):
    """The client broke the protocol: the connection is closed with this code. `None`: the message is too large."""

    code: int | None
    reason: str


class FrameReader:
    """The stream of one client. Nothing is kept while no frame is under way."""

    __slots__ = ("_pending", "_size")

    def __init__(self) -> None:
        self._pending: bytearray | None = None
        self._size = -1
        """Bytes of the fragments so far; -1 outside a fragmented message."""

    def read(self, data: bytes, limit: int) -> Iterator[Frame | Failure]:
        """Yield what these bytes complete; `limit` is how many bytes a message may have.

        After a `Failure`, or a frame behind which the caller does not go on, the stream is over.
        """
        stream: bytes | bytearray = data
        if self._pending is not None:
            stream = self._pending
            stream += data
            self._pending = None
        at, end = 0, len(stream)
        while end - at >= 2:
            first, second = stream[at], stream[at + 1]
            if (failure := self._failure_of(first, second)) is not None:
                yield failure
                return
            length, start = second & 0x7F, at + 2
            if length >= 126:
                width = 2 if length == 126 else 8
                if end < start + width:
                    break
                length, start = int.from_bytes(stream[start : start + width], "big"), start + width
            if length > limit - max(self._size, 0):
                yield Failure(None, "the message is too large")
                return
            stop = start + 4 + length
            if end < stop:
                break
            opcode, is_last = _OPCODES[first & 0x0F], first & _FIN != 0
            if opcode < _CONTROL:
                self._size = -1 if is_last else max(self._size, 0) + length
            yield Frame(opcode, _unmasked(stream[start + 4 : stop], stream[start : start + 4]), is_last)
            at = stop
        if at < end:
            self._pending = bytearray(memoryview(stream)[at:])

    def _failure_of(self, first: int, second: int) -> Failure | None:
        """Return what is wrong with the first two bytes of a frame."""
        opcode = first & 0x0F
        if opcode not in _OPCODES:
            return Failure(PROTOCOL_ERROR, "invalid opcode")
        if not second & _MASKED:
            return Failure(PROTOCOL_ERROR, "incorrect masking")
        if first & _RESERVED:
            return Failure(PROTOCOL_ERROR, "reserved bits must be 0")
        if opcode >= _CONTROL:
            if second & 0x7F > MAX_CONTROL:
                return Failure(PROTOCOL_ERROR, "control frame too long")
            if not first & _FIN:
                return Failure(PROTOCOL_ERROR, "fragmented control frame")
        elif (opcode == 0) != (self._size >= 0):
            return Failure(PROTOCOL_ERROR, "a continuation was not expected" if opcode == 0 else "one was expected")
        return None


def close_code_of(payload: bytes) -> int | Failure:
    """Return the code of a client's close frame (`NO_CODE` if it has none), or what is wrong with it."""
    if not payload:
        return NO_CODE
    if len(payload) < 2:
        return Failure(PROTOCOL_ERROR, "close frame too short")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return Failure(NOT_UTF8, "the reason is not UTF-8")
    code = int.from_bytes(payload[:2], "big")
    if not (3000 <= code < 5000 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))):
        return Failure(PROTOCOL_ERROR, "invalid close code")
    return code


def text_frame(payload: bytes) -> bytes:
    """Return a text frame."""
    return _head(_FIN | Opcode.TEXT, len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """Return a binary frame."""
    return _head(_FIN | Opcode.BINARY, len(payload)) + payload


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping."""
    return _head(_FIN | Opcode.PONG, len(payload)) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame; a long reason is cut. `NO_CODE` gives an empty one."""
    told = reason.encode()[: MAX_CONTROL - 2].decode(errors="ignore").encode()
    payload = b"" if code == NO_CODE else struct.pack("!H", code) + told
    return _head(_FIN | Opcode.CLOSE, len(payload)) + payload


def is_text(frame: bytes) -> bool:
    """Whether these bytes are a text frame."""
    return frame[:1] == b"\x81"


def payload_of(frame: bytes) -> memoryview:
    """Return the payload of a frame made here."""
    return memoryview(frame)[{126: 4, 127: 10}.get(frame[1], 2) :]


def _head(first: int, length: int) -> bytes:
    if length < 126:
        return bytes((first, length))
    if length < 65536:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)


def _unmasked(data: bytes | bytearray, mask: bytes | bytearray) -> bytes:
    """Return a payload without its mask, all bytes at once as one large number."""
    length = len(data)
    if not length:
        return b""
    whole = bytes(mask) * (length // 4 + 1)
    number = int.from_bytes(data, "big") ^ int.from_bytes(whole[:length], "big")
    return number.to_bytes(length, "big")
