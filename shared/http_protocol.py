"""uvicorn's HTTP protocol with the bounds it lacks: connections, a request's head, how long an answer stays unread.

Ring 4 (shell). uvicorn times idle kept-alive connections only, so one that never sends, or sends a header
for ever, would stay and grow, and one that does not read would keep its answer. Bodies and the time that answers take
are bounded by `shared.http_edge`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, Final, Protocol, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from shared.core.upgrade import Upgrade
from shared.http_errors import plain_error

_MAX_HEAD_BYTES: Final = 64 * 1024
_LINGER_S: Final = 2.0


class Upgraded(Protocol):
    """What goes on with a socket behind an upgrade request: an asyncio protocol that is told of the request first."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""

    def upgrade_received(self, upgrade: Upgrade) -> None:
        """Answer the request."""


class BoundedHttp(HttpToolsProtocol):
    """One HTTP connection until it closes or becomes a WebSocket."""

    head_timeout_s: ClassVar[float]
    max_connections: ClassVar[int]
    unread_timeout_s: ClassVar[float]
    _in_head = True
    _refused = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _linger_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None

    @classmethod
    def within(cls, head_timeout_s: float, max_connections: int, unread_timeout_s: float) -> type[BoundedHttp]:
        """Return the class with these bounds.

        `head_timeout_s` runs from connect, or from a further request's first byte, to the head's end.
        `unread_timeout_s` runs from the first byte that the peer's side won't take until it has taken all.
        """
        bounds = {
            "head_timeout_s": head_timeout_s,
            "max_connections": max_connections,
            "unread_timeout_s": unread_timeout_s,
        }
        return type(cls.__name__, (cls,), bounds)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head, if there is room.

        In place of uvicorn's own, which makes two socket objects to ask the kernel for both addresses: the transport
        knows the peer's, and nobody needs ours.
        """
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        peer = transport.get_extra_info("peername")
        self.client = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None
        self.scheme = "http"
        transport.set_write_buffer_limits(high=0)
        if len(self.connections) > self.max_connections:
            self._refuse(503)
            transport.close()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers with the connection."""
        self._end_head()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        self._end_unread()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Take in that the peer leaves something unread: whoever writes waits, but not for ever."""
        super().pause_writing()
        self._end_unread()
        self._unread_timer = self.loop.call_later(self.unread_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Take in that the peer has read all of it."""
        self._end_unread()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse, as long as the head is not too large."""
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._await_head()
        super().data_received(data)
        if self._in_head and self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse(431)

    def on_headers_complete(self) -> None:
        """Stop the clock: the head is here."""
        self._end_head()
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the socket over with the request, parsed as it is, and nothing of ours left to fall due.

        uvicorn's own way is to write the request as bytes again, to be parsed once more.
        """
        self._end_unread()
        self.connections.discard(self)
        protocol = cast("Callable[[], Upgraded]", self.ws_protocol_class)()  # given to `open_server`
        protocol.connection_made(self.transport)
        peer = self.client[0] if self.client is not None else ""
        protocol.upgrade_received(Upgrade(self.parser.get_method(), self.url, self.headers, peer))
        self.transport.set_protocol(cast(asyncio.Protocol, protocol))
        self.parser = None  # type: ignore[assignment]  # it knows us: a cycle, as uvicorn breaks it when a socket closes

    def on_message_complete(self) -> None:
        """Expect the next head."""
        super().on_message_complete()
        self._in_head = True
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """Keep the connection for a moment where the answer is out before all of the body has come."""
        super().on_response_complete()
        if self.cycle.more_body and not self.transport.is_closing():
            self._linger()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in the shape of every other error."""
        self._refuse(400)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_timeout_s, self._head_overran)

    def _end_head(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_unread(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _head_overran(self) -> None:
        self._head_timer = None
        self._refuse(408)

    def _refuse(self, status: int) -> None:
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._end_head()
        body = plain_error(status)
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            + body
        )
        self.transport.write_eof()
        self._linger()

    def _linger(self) -> None:
        """Read on for a moment, then close: closing on unread bytes would reset our answer away."""
        self._linger_timer = self.loop.call_later(_LINGER_S, self.transport.close)
