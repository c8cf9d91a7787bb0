"""The edge of HTTP: what is true of every request, whatever its route. A plain ASGI middleware.

Ring 4 (shell). Bounds (body, deadline, requests in flight), texts that no store and no peer could hold,
the last catch of what broke, one log line and two metrics per request. BaseHTTPMiddleware would cost a
task and a queue per request and hide who was cancelled.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.core.errors import BodyTooLarge, InternalError, InvalidForm, InvalidJson, StarlingError, Unavailable
from shared.http_errors import answer_of, answer_of_status
from shared.http_limits import Noted, begin, headers_of
from shared.metrics import Metrics

log = structlog.stdlib.get_logger(__name__)

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_CLIENT_GONE = 499  # nginx's number, in logs and metrics only
_QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
_TURN = "starling.turn"


def leave_turn(scope: Scope) -> None:
    """Let a request last: it has no deadline any more and is none of those at work. Whoever calls it bounds it."""
    turn: _Turn = scope[_TURN]
    turn.leave()


def route_of(scope: Scope) -> str:
    """Return the template of a request's path, for logs and metrics: the path itself may hold a secret."""
    template: str = getattr(scope.get("route"), "path", "unmatched")
    return template


class Edge:
    """Wraps the router of one app."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        max_body_bytes: int,
        deadline_s: float,
        max_in_flight: int,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._deadline_s = deadline_s
        self._max_in_flight = max_in_flight
        self._clock = clock
        self._wall = wall
        self._in_flight = 0
        self._seconds = metrics.histogram(
            "starling_http_request_seconds",
            "Time from head to end of answer, or to where it may last",
            ["method", "route", "status"],
        )
        metrics.watch("starling_http", "HTTP requests at work", lambda: {"requests_in_flight": self._in_flight})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = self._clock()
        answer = _Answer(send, begin(), self._wall)
        deadline = asyncio.timeout(self._deadline_s)
        turn = scope[_TURN] = _Turn(deadline, self._end_turn)
        self._in_flight += 1
        try:
            await self._serve(scope, receive, answer, deadline)
        finally:
            self._tell(scope, answer, self._clock() - begun, turn.end() - begun)

    def _end_turn(self) -> float:
        self._in_flight -= 1
        return self._clock()

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer, deadline: asyncio.Timeout) -> None:
        try:
            async with deadline:
                await self._run(scope, receive, answer.send)
                return
        except StarlingError as refusal:
            response = answer_of(refusal)
        except HTTPException as refusal:
            response = answer_of_status(refusal)
        except ClientDisconnect:
            answer.status = _CLIENT_GONE
            return
        except asyncio.CancelledError:
            # The server ends and waited long enough: the client is told, whoever cancelled gets its way.
            if not answer.status:
                await answer_of(Unavailable())(scope, receive, answer.send)
            raise
        except Exception:
            late = deadline.expired()
            log.exception("request_overran" if late else "request_failed", route=route_of(scope))
            response = answer_of(Unavailable() if late else InternalError())
            if answer.status:  # half an answer is out: only a broken connection tells the client so
                raise
        await response(scope, receive, answer.send)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._in_flight > self._max_in_flight:
            raise Unavailable
        _require_text(scope)
        await self._app(scope, await self._bounded(scope, receive), send)

    async def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Return what yields the body: JSON read and checked now, anything else counted as it streams.

        Raises `HTTPException` 413 (the one error that the framework lets out of its reading), `InvalidJson`.
        """
        headers = Headers(scope=scope)
        told = headers.get("content-length", "0")
        if not told.isdecimal() or int(told) > self._max_body_bytes:
            raise HTTPException(BodyTooLarge.status)
        counted = _Counted(receive, self._max_body_bytes)
        if "json" not in headers.get("content-type", ""):
            return counted.receive
        body = bytearray()
        while True:
            message = await counted.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        if body:
            require_json_text(bytes(body))
        return _Replayed(bytes(body), receive).receive

    def _tell(self, scope: Scope, answer: _Answer, seconds: float, at_work: float) -> None:
        route = route_of(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._seconds.labels(method, route, str(answer.status)).observe(at_work)
        tell = log.debug if scope["path"] in _QUIET_PATHS else log.info
        tell("request_served", method=method, route=route, status=answer.status, ms=round(seconds * 1000, 2))


class _Turn:
    """One request's place among those at work, and its deadline. `end` gives the place up and returns the time."""

    def __init__(self, deadline: asyncio.Timeout, end: Callable[[], float]) -> None:
        self._deadline = deadline
        self._end = end
        self._ended_at: float | None = None

    def end(self) -> float:
        """Give up the place, once; return when that was."""
        if self._ended_at is None:
            self._ended_at = self._end()
        return self._ended_at

    def leave(self) -> None:
        """Give up place and deadline."""
        self.end()
        self._deadline.reschedule(None)


class _Answer:
    """Passes an answer on with what is left of budgets, and remembers its status; 0 until it began."""

    def __init__(self, send: Send, noted: list[Noted], wall: Callable[[], float]) -> None:
        self._send = send
        self._noted = noted
        self._wall = wall
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if told := headers_of(self._noted, self._wall()):
                message["headers"] = [*message.get("headers", ()), *told]
        await self._send(message)


class _Counted:
    """Passes a body on up to its limit."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(BodyTooLarge.status)
        return message


class _Replayed:
    """Yields a body that was read already, then whatever follows (the disconnect)."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._receive = receive
        self._messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive(self) -> Message:
        return self._messages.pop() if self._messages else await self._receive()


def _require_text(scope: Scope) -> None:
    """Refuse NUL in path and query: no name or text may hold it. Raises `InvalidForm`."""
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        raise InvalidForm({"": [("STRING_TYPE_CONVERT", "Could not interpret the value as string.")]})


def require_json_text(body: bytes) -> None:
    """Refuse a body that is no JSON in UTF-8, nests too deep, or has a lone surrogate or NUL in a string.

    Python's own parser lets NaN, lone surrogates and NUL through, which then break in a store, in the
    answer's encoding or in another client. Raises `InvalidJson`.
    """
    try:
        value = msgspec.json.decode(body)
        if b"\\u0000" in body and _has_nul(value):
            raise InvalidJson
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJson from error


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(_has_nul(part) for part in value)
