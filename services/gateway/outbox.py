"""Outboxes: what was pushed to one client and waits to be written, and what its peer leaves unread.

Ring 4 (shell). When an outbox is emptied is `flushing`'s to say. `pending` and `fd` are for the two loops over
thousands of recipients, `Fanout.dispatch` and `Flusher`, which do the usual case without a call: nothing was pending,
one frame is, and the socket takes it at once.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from services.gateway.compressing import Compressor
from services.gateway.core.limits import Unread
from services.gateway.flushing import Flusher, Pending

NO_FD: Final = -1
"""Stands for a socket that is not written to without its transport."""


class Outbox:
    """Frames of one client in order. Whoever puts in the first marks it for the flusher."""

    __slots__ = ("_flusher", "fd", "pending")

    def __init__(self, flusher: Flusher) -> None:
        self._flusher = flusher
        self.pending: Pending = None
        self.fd = NO_FD
        """Where one whole frame may be written as it is, without asking anybody."""

    def put(self, frame: bytes) -> None:
        """Add a frame behind what is pending."""
        pending = self.pending
        if pending is None:
            self.pending = frame
            self._flusher.mark(self)
        elif isinstance(pending, list):
            pending.append(frame)
        else:
            self.pending = [pending, frame]

    def take(self) -> list[bytes]:
        """Return what is pending, which is nothing then."""
        pending, self.pending = self.pending, None
        if pending is None:
            return []
        return pending if isinstance(pending, list) else [pending]

    def flush(self) -> None:
        """Send on what is pending, or some of it and mark the rest for another turn."""
        raise NotImplementedError


class Bounds(Protocol):
    """How much a peer may leave unread."""

    send_buffer_bytes: int
    send_buffer_s: float

    def clock(self) -> float:
        """Return seconds of a clock that never goes back."""


class SocketOutbox(Outbox):
    """The writing half of a connection.

    As long as the peer takes everything, bytes go straight into the socket: its transport holds none, so nothing can
    overtake anything, and writes half as much again for the same. It gets what the socket does not take, and all that
    follows until the peer has read that. The descriptor is good until `lost`, which transports call before they close.
    """

    __slots__ = ("_bounds", "_compressor", "_transport", "_unread")

    def __init__(self, flusher: Flusher, bounds: Bounds) -> None:
        super().__init__(flusher)
        self._bounds = bounds
        self._transport: asyncio.Transport | None = None
        self._compressor: Compressor | None = None
        self._unread: Unread | None = None

    # What a connection overrides.

    def overflowed(self) -> None:
        """Take in that the peer leaves more unread than it may."""
        raise NotImplementedError

    def emptied(self) -> None:
        """Take in that all that was put in was handed to the socket or its transport."""
        raise NotImplementedError

    # What asyncio and a connection call.

    def use(self, transport: asyncio.Transport) -> None:
        """Write to this. It is to write at once, and to tell of the first byte that the peer's side won't take."""
        self._transport = transport
        transport.set_write_buffer_limits(high=0)

    def shorten(self) -> None:
        """From now on write whole frames straight into the socket, if they go out as they are."""
        transport = self._transport
        if transport is None or self._compressor is not None or self._unread is not None:
            return
        sock = transport.get_extra_info("socket")
        if (
            sock is not None
            and transport.get_extra_info("sslcontext") is None
            and not transport.get_write_buffer_size()  # of answers to requests before the upgrade
        ):
            self.fd = sock.fileno()

    def lengthen(self) -> None:
        """From now on leave all writing to the transport."""
        self.fd = NO_FD

    def lost(self) -> None:
        """Take in that the socket is about to be closed."""
        self.fd = NO_FD
        self._transport = None
        self._compressor = None
        self.pending = None

    def pause_writing(self) -> None:
        """Take in that the peer leaves something unread."""
        self.fd = NO_FD
        self._unread = Unread(self._bounds.clock())

    def is_stuck(self, now: float) -> bool:
        """Whether the peer has left bytes unread for too long, however few they are. Call every few seconds."""
        if self._unread is None or self._transport is None:
            return False
        return self._unread.age(self._transport.get_write_buffer_size(), now) >= self._bounds.send_buffer_s

    def flush(self) -> None:
        """Write what is pending; with a compressor perhaps not all of it in this turn."""
        frames = self.take()
        transport = self._transport
        if not frames or transport is None or transport.is_closing():
            return
        if self._compressor is not None:
            frames, left = self._compressor.pack(frames)
            if left:
                self.pending = left
                self._flusher.mark(self)
        self._write(transport, frames[0] if len(frames) == 1 else b"".join(frames))
        if self.pending is None:
            self.emptied()

    def _write(self, transport: asyncio.Transport, data: bytes) -> None:
        if self.fd != NO_FD:
            sent = self._flusher.write_nowait(self.fd, data)
            if sent == len(data):
                return
            data = data[sent:]
        if self._unread is not None:
            self._unread.written += len(data)
        transport.write(data)
        if self._unread is not None:
            left = self.pending if isinstance(self.pending, list) else ()
            if transport.get_write_buffer_size() + sum(map(len, left)) > self._bounds.send_buffer_bytes:
                self.overflowed()
