"""Server-sent events: what is sent, and what clients say they have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.core.frames import INVALID_SESSION, LAST_S, RECONNECT, encode_dispatch, s_of
from services.gateway.core.sse import (
    PIECE_BYTES,
    Place,
    decode_place,
    encode_event,
    encode_place,
    encode_sign,
    pieces_of,
)
from shared.core.wire.values import encode


def test_a_dispatch_has_its_place_as_id() -> None:
    """The data is the frame, byte by byte; the id is session and `s`."""
    frame = encode_dispatch("MESSAGE_CREATE", b'{"content":"a\\nb"}', 7)
    assert encode_event("n.1", frame) == b"id: n.1:7\ndata: " + frame + b"\n\n"
    assert encode_event("n.1", memoryview(frame)) == encode_event("n.1", frame)


def test_other_frames_do_not_move_the_client() -> None:
    """RECONNECT has no id; INVALID_SESSION an empty one, which clients take for none; a sign of life only an id."""
    assert encode_event("n.1", RECONNECT) == b"data: " + RECONNECT + b"\n\n"
    assert encode_event("n.1", INVALID_SESSION) == b"id:\ndata: " + INVALID_SESSION + b"\n\n"
    assert encode_sign("n.1", 9).endswith(b"\nid: n.1:9\n\n")
    assert b"data" not in encode_sign("n.1", 9)


@given(st.text(), st.integers(0, LAST_S))
def test_a_place_comes_back(session_id: str, s: int) -> None:
    """Whatever a session is called."""
    assert decode_place(encode_place(session_id, s).decode()) == Place(session_id, s)


@given(st.text())
def test_no_id_makes_it_raise(event_id: str) -> None:
    """A stranger's id is a place, or none."""
    assert decode_place(event_id).s is None or event_id.rpartition(":")[2].isdecimal()


@pytest.mark.parametrize("event_id", ["", "a", "a:", "a:-1", "a:1.0", "a:\u0661", "a:" + "9" * 99])
def test_nonsense_is_no_place(event_id: str) -> None:
    """What is no number that could be an `s` is none."""
    assert decode_place(event_id).s is None


@given(st.sampled_from(["READY", "GUILD_CREATE"]), st.text(), st.integers(0, LAST_S))
def test_the_s_of_a_frame_is_read_back(t: str, content: str, s: int) -> None:
    """Whatever stands in the payload, and only of dispatches."""
    assert s_of(encode_dispatch(t, encode({"s": content}), s)) == s
    assert s_of(RECONNECT) is None


@given(st.lists(st.binary(max_size=PIECE_BYTES), max_size=8))
def test_pieces_are_the_parts(parts: list[bytes]) -> None:
    """Nothing is lost or turned around; only the last piece is small, none is empty."""
    pieces = list(pieces_of(parts))
    assert b"".join(pieces) == b"".join(parts)
    assert all(len(piece) >= PIECE_BYTES for piece in pieces[:-1])
    assert all(pieces)
