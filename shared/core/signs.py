"""What is said to all replicas of a service, on the bus: signs of life, and how nodes fare with what they get.

Ring 1 (core). Nothing here is needed for anything to be right: what is lost, late or unreadable is ignored.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Sign(msgspec.Struct, frozen=True, array_like=True, tag="sign"):
    """A replica's sign of life; the last one says that it leaves."""

    name: str
    leaves: bool = False


class Decoded(msgspec.Struct, frozen=True, array_like=True, tag="decoded"):
    """How many events a gateway node decoded since it last said so, and how many of them were not for it."""

    events: int
    foreign: int


DECODED_S: Final = 1.0
"""How often a node that decodes events says so."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Sign | Decoded)


def encode_sign(sign: Sign | Decoded) -> bytes:
    """Encode for the bus."""
    return _encoder.encode(sign)


def decode_sign(body: bytes) -> Sign | Decoded | None:
    """Decode from the bus; None for what this release can't read."""
    try:
        sign: Sign | Decoded = _decoder.decode(body)
    except msgspec.MsgspecError:
        return None
    return sign
