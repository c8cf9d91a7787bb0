"""What is out of date: the newest seq of a group, told to everyone who caches facts about it.

Ring 1 (core). Published on `Topology.invalidate` after each change of a group, beside its events. It may
be lost: it only makes caches learn early. Whoever gets one compares `seq` with what its facts are complete to.
Where nothing changes a sign of life goes the same way, so that silence means that something is wrong.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Invalidation(msgspec.Struct, frozen=True, array_like=True):
    """Facts about this group that are complete to less than `seq` are out of date."""

    group_id: int
    seq: int


SIGN_OF_LIFE: Final = Invalidation(0, 0)
"""No group has this id, so a release that knows of no signs takes nothing from it."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Invalidation)


def encode_invalidation(invalidation: Invalidation) -> bytes:
    """Encode for the bus."""
    return _encoder.encode(invalidation)


def decode_invalidation(body: bytes) -> Invalidation | None:
    """Decode from the bus; None for what this release can't read: then drop everything cached."""
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError:
        return None
