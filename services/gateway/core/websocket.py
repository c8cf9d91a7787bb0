"""WebSocket frames as a server sends them: whole and unmasked (RFC 6455 section 5.2).

Ring 1 (core). A frame's bytes are made once and shared by all connections that get it.
"""

from __future__ import annotations

import struct
from typing import Final

FIN_TEXT: Final = 0x81
FIN_BINARY: Final = 0x82


def text_frame(payload: bytes) -> bytes:
    """Return a text frame."""
    return _header(FIN_TEXT, len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """Return a binary frame."""
    return _header(FIN_BINARY, len(payload)) + payload


def is_text(frame: bytes) -> bool:
    """Whether these bytes are a text frame."""
    return frame[:1] == b"\x81"


def payload_of(frame: bytes) -> memoryview:
    """Return the payload of a frame made here."""
    return memoryview(frame)[{126: 4, 127: 10}.get(frame[1], 2) :]


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return bytes((first, length))
    if length < 65536:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)
