"""Life and death of a process: a crash is loud, an end is orderly and bounded."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta

import httpx
import pytest
from fastapi import APIRouter
from structlog.testing import capture_logs

from shared.http import create_app
from shared.lifecycle import Supervisor, bind_socket, caught_signals, open_server
from shared.metrics import Metrics
from shared.settings import HttpSettings


class Ended:
    """A task that runs until it is cancelled, and remembers that it was."""

    def __init__(self) -> None:
        self.cancelled = False

    async def run(self) -> None:
        """Wait for ever."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def crash() -> None:
    """Fail at the first step."""
    raise ZeroDivisionError


async def test_a_crashed_task_ends_its_owner_and_all_others_loudly() -> None:
    """One task that breaks cancels the rest and the body, is logged by name, and leaves as the cause."""
    other = Ended()

    async def live() -> None:
        async with Supervisor("history") as supervisor:
            supervisor.start("other", other.run())
            await asyncio.sleep(0)  # the other begins
            supervisor.start("shard.3", crash())
            await asyncio.Event().wait()

    with capture_logs() as logs, pytest.raises(ExceptionGroup) as raised:
        await live()
    assert isinstance(raised.value.exceptions[0], ZeroDivisionError)
    assert other.cancelled
    assert [(line["event"], line["supervisor"], line["task"]) for line in logs] == [
        ("task_crashed", "history", "shard.3")
    ]


async def test_tasks_end_with_their_supervisor() -> None:
    """Leaving the context cancels what runs and waits for it; nothing is left over."""
    one = Ended()
    async with Supervisor("groups") as supervisor:
        task = supervisor.start("one", one.run())
        await asyncio.sleep(0)
    assert one.cancelled
    assert task.done()


async def test_tasks_can_be_stopped_before_the_end() -> None:
    """After `stop` nothing runs, and what the tasks used can be closed inside the context."""
    one = Ended()
    async with Supervisor("groups") as supervisor:
        supervisor.start("one", one.run())
        await asyncio.sleep(0)
        await supervisor.stop()
        assert one.cancelled


async def test_a_failure_of_the_body_is_not_dressed_up() -> None:
    """What the body raises leaves as it is, after the tasks have ended."""
    one = Ended()

    async def live() -> None:
        async with Supervisor("groups") as supervisor:
            supervisor.start("one", one.run())
            await asyncio.sleep(0)
            raise KeyError("body")

    with pytest.raises(KeyError, match="body"):
        await live()
    assert one.cancelled


async def test_requests_at_work_are_answered_before_the_end() -> None:
    """Closing a server lets the request in hand finish, and takes no new connection meanwhile."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    router = APIRouter()

    @router.get("/slow")
    async def slow() -> str:
        begun.set()
        await go_on.wait()
        return "done"

    settings = HttpSettings(port=0)
    bound = bind_socket(settings)
    port = bound.getsockname()[1]
    app = create_app(settings, metrics=Metrics(), routers=[router])
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client, asyncio.TaskGroup() as group:
        async with open_server(app, settings, bound):
            asking = group.create_task(client.get("/slow"))
            await begun.wait()
            group.create_task(_release_when_closed(port, go_on))
        answer = await asking
    assert (answer.status_code, answer.json()) == (200, "done")


async def _release_when_closed(port: int, go_on: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                go_on.set()
                return
            writer.close()
            await asyncio.sleep(0.01)


async def test_the_end_is_bounded_when_a_request_never_ends() -> None:
    """A request that hangs is cancelled after `shutdown_timeout` and told so; the server closes all the same."""
    begun = asyncio.Event()
    router = APIRouter()

    @router.get("/hang")
    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    settings = HttpSettings(port=0, shutdown_timeout=timedelta(0))
    bound = bind_socket(settings)
    app = create_app(settings, metrics=Metrics(), routers=[router])
    async with httpx.AsyncClient() as client, asyncio.timeout(5):
        async with open_server(app, settings, bound):
            asking = asyncio.create_task(client.get(f"http://127.0.0.1:{bound.getsockname()[1]}/hang"))
            await begun.wait()
        assert (await asking).status_code == 503


async def test_a_busy_port_is_told_at_once() -> None:
    """A port that another one listens on is an `OSError` before anything has started."""
    first = bind_socket(HttpSettings(port=0))
    with first:
        first.listen()
        with pytest.raises(OSError, match="in use"):
            bind_socket(HttpSettings(port=first.getsockname()[1]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_ask_to_stop_and_do_nothing_else(number: signal.Signals) -> None:
    """SIGINT and SIGTERM set the event, also when they come twice; uvicorn does not take them over."""
    settings = HttpSettings(port=0)
    bound = bind_socket(settings)
    with caught_signals() as stop:
        async with open_server(create_app(settings, metrics=Metrics()), settings, bound), asyncio.timeout(5):
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            await stop.wait()
