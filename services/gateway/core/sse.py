"""Server-sent events: the gateway's frames as a text stream, for where no WebSocket gets through.

Ring 1 (core). An event's data is the frame as a WebSocket would carry it. Its id is `{session_id}:{s}`: all that a
client needs to go on, and what it sends back as Last-Event-ID. A sign of life is an id alone, which clients remember
without an event: so a quiet one knows a young `s`, too. INVALID_SESSION has an empty id, which makes clients forget
theirs and begin anew. The format: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from services.gateway.core.frames import INVALID_SESSION, LAST_S, s_of

PIECE_BYTES: Final = 64 * 1024
"""About so much is written at once."""


class Place(NamedTuple):
    """Where a client is: it has seen frames of this session up to this `s`; None: it said nothing that makes sense."""

    session_id: str
    s: int | None


def encode_place(session_id: str, s: int) -> bytes:
    """Return an id."""
    return f"{session_id}:{s}".encode()


def decode_place(event_id: str) -> Place:
    """Return what an id says, whatever it is."""
    session_id, _, s = event_id.rpartition(":")
    told = int(s) if s.isascii() and s.isdigit() and len(s) <= len(str(LAST_S)) else None
    return Place(session_id, told)


def encode_event(session_id: str, payload: bytes | memoryview) -> bytes:
    """Return a frame as an event; only dispatches move the client's place."""
    if payload == INVALID_SESSION:
        head = b"id:\n"
    elif (s := s_of(payload)) is None:
        head = b""
    else:
        head = b"id: %b\n" % encode_place(session_id, s)
    return b"".join((head, b"data: ", payload, b"\n\n"))


def encode_sign(session_id: str, s: int) -> bytes:
    """Return a sign of life, which tells the client that it has all up to `s`."""
    return b": heartbeat\nid: %b\n\n" % encode_place(session_id, s)


def pieces_of(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join parts into pieces of at least `PIECE_BYTES`, the last one excepted."""
    piece = bytearray()
    for part in parts:
        piece += part
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)
