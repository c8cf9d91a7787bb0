"""zlib-stream: what is sent on one connection, as one deflate stream (Discord's `compress=zlib-stream`).

Ring 4 (shell). Each message is deflated to a sync point, so that it ends with 00 00 ff ff, and sent as a binary frame.
These bytes are one connection's alone, so each recipient costs what plain frames cost once: 10 µs and a context of
37 KB, both measured with dispatches of 440 bytes. A window of 15 bits, zlib's own choice, would take 113 KB. Level 6
saves 74 % of the bytes, level 1 72 % at 8 µs.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

from services.gateway.core.websocket import binary_frame, is_text, payload_of

NAME: Final = "zlib-stream"

_LEVEL: Final = 6
_WINDOW_BITS: Final = 12
_MEMORY_LEVEL: Final = 5
_PER_TURN: Final = 32 * 1024
"""After so many bytes of one connection others get their turn: under a millisecond of work."""


class Compressor:
    """The deflate stream of one connection."""

    __slots__ = ("_deflate",)

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)

    def pack(self, frames: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Return the first of these WebSocket frames as they are sent, and those that are left for another turn.

        Text frames become binary ones; others (control frames, the answer to the upgrade) stay as they are.
        """
        packed: list[bytes] = []
        taken = 0
        for index, frame in enumerate(frames):
            if taken >= _PER_TURN:
                return packed, list(frames[index:])
            taken += len(frame)
            packed.append(self._packed(frame) if is_text(frame) else frame)
        return packed, []

    def _packed(self, frame: bytes) -> bytes:
        return binary_frame(self._deflate.compress(payload_of(frame)) + self._deflate.flush(zlib.Z_SYNC_FLUSH))
