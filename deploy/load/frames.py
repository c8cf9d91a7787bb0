"""The client's side of RFC 6455, as little of it as a load generator needs: bytes in, whole messages out.

Pure. Clients' frames are masked with zeros, which the RFC's receivers unmask like any other mask.
"""

from __future__ import annotations

import struct
from typing import Final

TEXT: Final = 0x1
CLOSE: Final = 0x8
GOOD_BYE: Final = bytes((0x80 | CLOSE, 0x80 | 2, 0, 0, 0, 0)) + struct.pack("!H", 1000)
"""A close frame with 1000: the conversation is over, keep nothing for me."""
_FIN: Final = 0x80
_MASKED: Final = 0x80
_NO_MASK: Final = bytes(4)
_HEAD_END: Final = b"\r\n\r\n"


def upgrade_of(path: str) -> bytes:
    """Return the request that opens a WebSocket. The key is always the same: nobody caches here."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def text_of(payload: bytes) -> bytes:
    """Return a client's text frame."""
    length = len(payload)
    if length < 126:
        return bytes((_FIN | TEXT, _MASKED | length)) + _NO_MASK + payload
    if length < 65536:
        return struct.pack("!BBH", _FIN | TEXT, _MASKED | 126, length) + _NO_MASK + payload
    return struct.pack("!BBQ", _FIN | TEXT, _MASKED | 127, length) + _NO_MASK + payload


def take_head(inbox: bytearray) -> bytes | None:
    """Take an HTTP response's head off the front; None while it is not whole."""
    end = inbox.find(_HEAD_END)
    if end < 0:
        return None
    head = bytes(inbox[:end])
    del inbox[: end + len(_HEAD_END)]
    return head


def take_frame(inbox: bytearray) -> tuple[int, bytes] | None:
    """Take a server's frame off the front as (opcode, payload); None while it is not whole."""
    found = frame_at(inbox, 0, len(inbox))
    if found is None or len(inbox) < (end := found[0] + found[1]):
        return None
    taken = inbox[0] & 0x0F, bytes(inbox[found[0] : end])
    del inbox[:end]
    return taken


def frame_at(buffer: bytearray, at: int, end: int) -> tuple[int, int] | None:
    """Return where the payload of the frame at `at` begins, and its length; None while its header is not whole."""
    if end - at < 2:
        return None
    length = buffer[at + 1]
    if length < 126:
        return at + 2, length
    if length == 126:
        return (at + 4, int.from_bytes(buffer[at + 2 : at + 4], "big")) if end - at >= 4 else None
    return (at + 10, int.from_bytes(buffer[at + 2 : at + 10], "big")) if end - at >= 10 else None
