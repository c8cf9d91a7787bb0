"""Handing a session from one living node to another: what is asked, what is answered, and the codec.

Ring 1 (core). The answer comes in parts of a bounded size; the node that gives keeps it for a while, so that a part
may be asked for again. Who asks and answers is `services.gateway.peers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

PART_BYTES: Final = 48 * 1024
"""About how many bytes of frames go into one answer; one frame may be larger."""


class HandOver(msgspec.Struct, frozen=True, array_like=True):
    """Give us this session, whose client has seen frames up to `told_s`.

    With a `user_id` nobody knows where the session lives now: it is given if it is there, and is this user's.
    """

    session_id: str
    told_s: int
    part: int = 0
    user_id: int = 0


class Missed(msgspec.Struct, frozen=True, array_like=True):
    """A dispatch that the client has not seen; `stream` and `seq` say which durable event it tells, if any."""

    t: str
    d: bytes
    stream: str = ""
    seq: int = 0


class Handed(msgspec.Struct, frozen=True, tag="handed"):
    """The session is yours: what it has missed here, where it stands in its streams behind that, and our `s`.

    `extra` is what its entry in the registry says of it.
    """

    user_id: int
    s: int
    positions: dict[str, int] = {}
    missed: tuple[Missed, ...] = ()
    parts: int = 1
    extra: bytes = b""


class Gone(msgspec.Struct, frozen=True, tag="gone"):
    """There is no such session at this incarnation of the node, or it can't be given whole."""

    incarnation: str


_encoder = msgspec.msgpack.Encoder()
_asked = msgspec.msgpack.Decoder(HandOver)
_answers = msgspec.msgpack.Decoder(Handed | Gone)


def encode_handover(message: HandOver | Handed | Gone) -> bytes:
    """Encode a request or an answer."""
    return _encoder.encode(message)


def decode_request(body: bytes) -> HandOver | None:
    """Decode a request; None if it is none."""
    try:
        return _asked.decode(body)
    except msgspec.MsgspecError:
        return None


def decode_answer(body: bytes) -> Handed | Gone | None:
    """Decode an answer; None if it is none."""
    try:
        answer: Handed | Gone = _answers.decode(body)
    except msgspec.MsgspecError:
        return None
    return answer


def parts_of(missed: Sequence[Missed]) -> Iterator[tuple[Missed, ...]]:
    """Yield what was missed in pieces that fit an answer; at least one, which may be empty."""
    part: list[Missed] = []
    size = 0
    for one in missed:
        if part and size + len(one.d) > PART_BYTES:
            yield tuple(part)
            part, size = [], 0
        part.append(one)
        size += len(one.d)
    yield tuple(part)
