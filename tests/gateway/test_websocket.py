"""The reader of clients' frames, held equal to websockets' parser on whatever bytes in whatever pieces."""

from __future__ import annotations

import logging
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame as WsFrame
from websockets.frames import Opcode as WsOpcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from services.gateway.core.websocket import (
    MAX_CONTROL,
    NO_CODE,
    Failure,
    Frame,
    FrameReader,
    Opcode,
    close_code_of,
    close_frame,
    payload_of,
)
from tests.gateway.raw import frame_of, head_of

LIMIT = 1_000
_quiet = logging.getLogger("tests.quiet")
_quiet.setLevel(logging.CRITICAL)

frames = st.builds(
    frame_of,
    st.sampled_from([0, 0, 1, 1, 2, 8, 9, 10, 3, 15]),
    st.binary(max_size=300) | st.integers(0, 1_200).map(bytes),
    fin=st.booleans(),
    mask=st.sampled_from([True] * 9 + [False]),
    reserved=st.sampled_from([0] * 20 + [1, 2, 4]),
)
heads = st.builds(head_of, st.integers(0, 255), st.integers(0, 1 << 63), mask=st.booleans())
closes = st.binary(max_size=6).map(lambda payload: frame_of(8, payload))
streams = st.lists(frames | frames | closes | heads | st.binary(max_size=8), max_size=8).map(b"".join)


class Read:
    """What became of a stream: messages' frames in order, then at most one end."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes, bool]] = []
        self.end: tuple[str, int] | None = None


def ours(pieces: list[bytes]) -> Read:
    """Read pieces with our reader, as a connection does."""
    read, reader = Read(), FrameReader()
    for piece in pieces:
        if read.end is not None:
            break
        for came in reader.read(piece, LIMIT):
            found: Frame | Failure | int = came
            if isinstance(came, Frame) and came.opcode is Opcode.CLOSE:
                found = close_code_of(came.data)
            if isinstance(found, int):
                read.end = "closed", found
            elif isinstance(found, Failure):
                read.end = "failed", 1009 if found.code is None else found.code
            else:
                read.frames.append((int(found.opcode), found.data, found.is_last))
            if read.end is not None:
                break
    return read


def theirs(data: bytes) -> Read:
    """Read all of it with websockets' parser, and then so many zeros that it has seen any frame's end."""
    read = Read()
    wire = ServerProtocol(state=OPEN, max_size=LIMIT, logger=_quiet)
    wire.parser = super(ServerProtocol, wire).parse()
    next(wire.parser)
    wire.receive_data(data)
    for event in wire.events_received():
        assert isinstance(event, WsFrame)
        if event.opcode is WsOpcode.CLOSE:
            assert wire.close_rcvd is not None
            read.end = "closed", wire.close_rcvd.code
        else:
            read.frames.append((int(event.opcode), bytes(event.data), event.fin))
    if wire.parser_exc is not None and read.end is None:
        assert wire.close_sent is not None
        read.end = "failed", wire.close_sent.code
    return read


@given(streams, st.lists(st.integers(0, 3_000), max_size=10))
@example(frame_of(1, bytes(LIMIT)) + frame_of(1, bytes(LIMIT + 1)), [])
@example(frame_of(1, bytes(LIMIT), fin=False) + frame_of(0, b"x"), [1, 2, 3])
@example(frame_of(1, b"a", fin=False) + frame_of(9, b"p") + frame_of(0, b"b"), [4, 9])
def test_the_reader_agrees_with_websockets(data: bytes, cuts: list[int]) -> None:
    """Same frames, same end, same code, however the bytes are cut; only sooner where the head already says it."""
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    one, other = ours([data[start:stop] for start, stop in pairwise(places)]), theirs(data)
    if one.end != other.end:
        other = theirs(data + bytes(2 * LIMIT))
    assert one.frames == other.frames
    data_frames = [is_last for opcode, _, is_last in one.frames if opcode < 8]
    is_inside = bool(data_frames) and not data_frames[-1]
    if one.end == ("failed", 1002) and other.end == ("failed", 1009):
        return  # a frame that is wrong and too large is wrong first
    if one.end is not None and one.end[0] == "closed" and is_inside:
        assert other.end == ("failed", 1002)  # RFC 6455 section 5.4 has control frames inside messages; we take them
    elif one.end is not None:
        assert one.end == other.end


@given(st.integers(0, 65_535), st.text(max_size=200))
def test_close_frames_are_sound_however_long_the_reason(code: int, reason: str) -> None:
    """At most 125 bytes, and never half a character."""
    frame = close_frame(code, reason)
    payload = bytes(payload_of(frame))
    assert len(payload) <= MAX_CONTROL
    if code != NO_CODE:
        assert int.from_bytes(payload[:2], "big") == code
        assert reason.startswith(payload[2:].decode())


@given(st.lists(frames, max_size=5).map(b"".join))
def test_nothing_is_kept_between_whole_messages(data: bytes) -> None:
    """Reading byte by byte gives the same, and at the end of whole messages the reader is as new."""
    assert ours([bytes((byte,)) for byte in data]).__dict__ == ours([data]).__dict__
    reader = FrameReader()
    list(reader.read(frame_of(1, b"{", fin=False), LIMIT))
    list(reader.read(frame_of(0, b"}")[:3], LIMIT))
    list(reader.read(frame_of(0, b"}")[3:], LIMIT))
    new = FrameReader()
    assert [getattr(reader, name) for name in FrameReader.__slots__] == [
        getattr(new, name) for name in FrameReader.__slots__
    ]
