"""Life and death of a process: supervised background tasks, and uvicorn under our own signals.

Ring 4 (shell). A background task that breaks ends its supervisor's owner, loudly. uvicorn by itself would take
the signals, close every connection at once and exit 143: here `services.__main__` owns them, drains first,
then leaves `open_server`, and ends with 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from types import TracebackType
from typing import Any, Literal, Self

import structlog
import uvicorn
from starlette.types import ASGIApp

from shared.http_protocol import BoundedHttp
from shared.settings import HttpSettings

log = structlog.stdlib.get_logger(__name__)


class Supervisor:
    """Owns background tasks for as long as its context is open; all are cancelled at its end.

    If one of them raises, it is logged by name, the others and the context's body are cancelled, and the
    context raises an `ExceptionGroup` with the cause: the process ends rather than limps.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancel()
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            if group.exceptions != (error,):  # the body's own failure goes on as it is
                raise

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` in the background under a name for logs. It may also end by itself.

        Raises `RuntimeError` once the context ends.
        """
        watched = self._watched(name, work)
        try:
            task = self._group.create_task(watched, name=f"{self.name}.{name}")
        except RuntimeError:
            watched.close()
            work.close()
            raise
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # a task that is cancelled before it began never met it
        return task

    async def stop(self) -> None:
        """Cancel all tasks and wait until they ended; the context may go on without them."""
        self._cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _watched(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            log.exception("task_crashed", supervisor=self.name, task=name)
            raise


def bind_socket(settings: HttpSettings) -> socket.socket:
    """Return a socket bound to the settings' host and port (0: a free one), not yet listening.

    Raises `OSError` if the port is busy or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named: without it each answer waits 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((settings.host, settings.port))
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


class _Server(uvicorn.Server):
    """uvicorn without its hands on the signals, and with an event for having started."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextlib.asynccontextmanager
async def open_server(
    app: ASGIApp,
    settings: HttpSettings,
    bound: socket.socket,
    *,
    ws: type[asyncio.Protocol] | Literal["none"] = "none",
) -> AsyncIterator[None]:
    """Serve `app` on a bound socket until the context ends; requests at work then get `shutdown_timeout`.

    `ws` is the class (or factory) of WebSocket connections; "none": upgrades are answered as plain requests.
    """
    server = _Server(
        uvicorn.Config(
            app,
            http=BoundedHttp.within(
                settings.head_timeout.total_seconds(),
                settings.max_connections,
                settings.unread_timeout.total_seconds(),
            ),
            ws=ws,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            timeout_keep_alive=int(settings.keep_alive.total_seconds()),
            timeout_graceful_shutdown=int(settings.shutdown_timeout.total_seconds()),
        )
    )
    async with Supervisor("http") as supervisor:
        serving = supervisor.start("server", server.serve(sockets=[bound]))
        try:
            await server.up.wait()
            yield
        finally:
            server.should_exit = True
            await asyncio.wait({serving})


def spare_program() -> None:
    """Take what the program is made of out of all later collections of garbage. Call it once, when all has started.

    Modules, classes and routes are some 100,000 objects that live as long as the process; looking through them held up
    the loop for 70 ms at each full collection. So do 10,000 sessions, which end without a cycle: all of them are looked
    through once for each million of objects that came and stayed, instead of each time that a quarter more is there.
    Nor is it begun by what is only there for a moment: hundreds of sessions being opened are some 10,000 objects that
    come and go, which took a sixth of what a join cost. A collection takes about 70 ns for each object, so the frequent
    ones hold up the loop for 1 ms and 7 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 4, 10)


@contextlib.contextmanager
def caught_signals() -> Iterator[asyncio.Event]:
    """Yield an event that SIGINT or SIGTERM sets, whatever number of times they come."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    caught = (signal.SIGINT, signal.SIGTERM)
    for number in caught:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
