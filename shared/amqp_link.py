"""One supervised connection to RabbitMQ, and the supervised AMQP channels on it.

Ring 3 (adapter). aiormq neither reconnects nor re-declares: here every connection and every channel is kept
by a loop that opens it, serves it until it is lost, tells why in the log, and begins again with
backoff, for ever. What is on a channel is declared by its server: `shared.amqp` (publishing and calls) and
`shared.amqp_subscription`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NoReturn

import aiormq
import structlog
from aiormq.channel import Channel
from aiormq.connection import Connection
from aiormq.exceptions import PublishError

from shared.bus import BusUnavailable, Unroutable

_CONNECT_DEADLINE_S = 5.0
_CLOSE_DEADLINE_S = 3.0
_NOTICE_S = 0.5  # how long who serves a lost channel has to end by itself
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0
_VERSION = re.compile(r"(\d+)\.(\d+)\.")
_FIRST_WITH_KHEPRI = 3, 13

log = structlog.get_logger(__name__)

Serve = Callable[[Channel, "asyncio.Future[str]"], Awaitable[str]]
"""Sets up a new channel and serves it until the future tells a reason for its loss; returns that reason.

Raises `BusUnavailable` when the set-up fails.
"""


@contextmanager
def translated() -> Iterator[None]:
    """Raise what aiormq raises as `BusUnavailable` or `Unroutable`. Put nothing but its calls inside.

    A cancellation of the task comes out as one, and nothing else does. aiormq breaks both: it ends what waits
    for a lost connection by a CancelledError that nobody asked for, and its `asyncio.wait_for` (before
    Python 3.12) drops a cancellation that comes together with the result. `Task.cancelling` knows the truth.
    """
    cancels = _cancels()
    try:
        yield
    except (BusUnavailable, Unroutable):
        raise
    except PublishError as returned:
        raise Unroutable(str(returned)) from returned
    except asyncio.CancelledError:
        if _cancels() > cancels:
            raise
        raise BusUnavailable("the connection was lost") from None
    except Exception as failure:
        # All of them: on some paths aiormq rejects its futures with a bare Exception.
        raise BusUnavailable(repr(failure)) from failure
    if _cancels() > cancels:
        raise asyncio.CancelledError


def _cancels() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


class Link:
    """The connection. `heartbeat_s`: a peer that is silent for about 3 * (heartbeat_s + 1) seconds is gone.

    `jitter` gives numbers from 0 to 1, so that all nodes of a restarted broker do not come at once.
    """

    def __init__(self, url: str, *, name: str, heartbeat_s: int, jitter: Callable[[], float]) -> None:
        # A heartbeat that the URL names itself stands first and wins.
        self._url = f"{url}{'&' if '?' in url else '?'}heartbeat={heartbeat_s}"
        self._name = name
        self._jitter = jitter
        self._connection: Connection | None = None
        self._up = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    @property
    def server(self) -> Mapping[str, Any]:
        """What the broker says of itself; nothing while there is no connection."""
        return self._connection.server_properties if self._connection is not None else {}

    async def run(self) -> NoReturn:
        """Keep the connection for ever; cancel to close it."""
        backoff = _Backoff(self._jitter)
        while True:
            try:
                connection = await self._open()
            except BusUnavailable as failure:
                delay = backoff.next_delay()
                log.warning("bus_connect_failed", reason=str(failure), retry_in_s=round(delay, 2))
                await asyncio.sleep(delay)
                continue
            log.info("bus_connected")
            self._connection = connection
            self._up.set()
            try:
                reason = await _loss_of(connection)
            finally:
                self._connection = None
                self._up.clear()
                await _close(connection)
            log.warning("bus_connection_lost", reason=reason)
            await asyncio.sleep(backoff.next_delay())

    async def keep_channel(self, name: str, serve: Serve) -> NoReturn:
        """Keep a channel for ever, served by `serve`; cancel to close it. `name` is for the log."""
        backoff = _Backoff(self._jitter)
        while True:
            connection = await self._wait_connection()
            channel: Channel | None = None
            try:
                channel = await _open_channel(connection)
                reason = await _serve(channel, serve)
            except BusUnavailable as failure:
                reason = str(failure)
            finally:
                if channel is not None:
                    await _close(channel)
            log.warning("bus_channel_lost", name=name, reason=reason)
            # Not only after failures: a queue that somebody keeps deleting must not become a busy loop.
            await asyncio.sleep(backoff.next_delay())

    @asynccontextmanager
    async def open_channel(self) -> AsyncIterator[Channel]:
        """Open a channel for a moment, as soon as there is a connection. Raises `BusUnavailable`."""
        channel = await _open_channel(await self._wait_connection())
        try:
            yield channel
        finally:
            await _close(channel)

    async def _wait_connection(self) -> Connection:
        while self._connection is None:
            await self._up.wait()
        return self._connection

    async def _open(self) -> Connection:
        with translated():
            async with asyncio.timeout(_CONNECT_DEADLINE_S):
                return await aiormq.connect(self._url, client_properties={"connection_name": self._name})


class _Backoff:
    """Delays that double up to a cap, and begin anew after a quiet time."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._now = asyncio.get_running_loop().time
        self._delay = 0.0
        self._last = self._now()

    def next_delay(self) -> float:
        """Return how many seconds to wait before the next attempt."""
        now = self._now()
        quiet = now - self._last > 2 * _LONGEST_DELAY_S
        self._delay = _FIRST_DELAY_S if quiet or not self._delay else min(2 * self._delay, _LONGEST_DELAY_S)
        self._last = now
        return self._delay * (0.5 + self._jitter() / 2)


def keeps_bindings_in_mnesia(server: Mapping[str, Any]) -> bool:
    """Whether a broker that says this of itself confirms a bind when all brokers of its cluster have it.

    With Mnesia it does. With Khepri, which RabbitMQ has had since 3.13 and does not tell of, a majority is enough
    (https://www.rabbitmq.com/docs/metadata-store/everyday-operations). Of other products nothing is known.
    """
    version = _VERSION.match(str(server.get("version", "")))
    if server.get("product") != "RabbitMQ" or version is None:
        return False
    return (int(version[1]), int(version[2])) < _FIRST_WITH_KHEPRI


async def serve_until(lost: asyncio.Future[str], *loops: Coroutine[Any, Any, NoReturn]) -> str:
    """Run endless loops until the channel is lost; return the reason. Raises what a loop raises."""
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(loop) for loop in loops]
    try:
        await asyncio.wait([*tasks, lost], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome
    return lost.result()


async def _serve(channel: Channel, serve: Serve) -> str:
    """Serve a channel and return the reason of its loss, also when that comes while it is being set up.

    A set-up that waits for an answer would not notice: aiormq lets it wait out its deadline.
    """
    lost = _loss_of(channel)
    serving = asyncio.ensure_future(serve(channel, lost))
    try:
        await asyncio.wait([serving, lost], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([serving], timeout=_NOTICE_S)
        if serving.done():
            return await serving
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    return lost.result()


def _loss_of(open_thing: Connection | Channel) -> asyncio.Future[str]:
    """Return a future of the reason why a connection or channel ended."""
    lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def tell(closing: asyncio.Future[Any]) -> None:
        if not lost.done():
            # Read, not raised: the reason may be a CancelledError, which would look like our own end.
            lost.set_result("cancelled" if closing.cancelled() else repr(closing.exception()))

    open_thing.closing.add_done_callback(tell)
    return lost


async def _open_channel(connection: Connection) -> Channel:
    with translated():
        async with asyncio.timeout(_CONNECT_DEADLINE_S):
            channel = await connection.channel()
    if not isinstance(channel, Channel):
        raise TypeError(f"{channel!r} is not aiormq's own channel")
    return channel


async def _close(open_thing: Connection | Channel) -> None:
    try:
        with translated():
            await open_thing.close(timeout=_CLOSE_DEADLINE_S)
    except BusUnavailable as failure:
        log.debug("bus_close_failed", reason=str(failure))
