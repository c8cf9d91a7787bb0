"""Run services: `python -m services gateway|history|groups|all`.

Ring 5 (composition). Owns the process: its socket, signals, logs, and the order of start and end. The end is:
`/readyz` says no, the gateway drains, open requests finish, tasks stop, services and connections close, exit code 0.

A process imports the services that it runs, and no other: each would cost it a start's time, and memory for ever.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import cache
from socket import socket
from typing import Any, Final, Literal

import structlog
import uvloop
from pydantic import ValidationError

from services.page import page
from shared.core.calls import ReadRevocations
from shared.door import Door
from shared.http import create_app
from shared.lifecycle import bind_socket, caught_signals, open_server, spare_program
from shared.logs import configure_logs
from shared.metrics import Metrics
from shared.parts import node_name, open_parts
from shared.rpc import Rpc
from shared.settings import HttpSettings, Settings

log = structlog.get_logger(__name__)

SERVICES: Final = ("groups", "history", "gateway")
"""In the order of their start: what a service calls is there before it."""
_SHUTDOWN_S: Final = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the services named until SIGINT or SIGTERM (0) or until something fails (1)."""
    parser = argparse.ArgumentParser(prog="python -m services", description="Run services of Starling.")
    parser.add_argument("service", choices=(*SERVICES, "all"), help="which one, or all in one process")
    chosen: str = parser.parse_args(arguments).service
    names = SERVICES if chosen == "all" else (chosen,)
    try:
        settings = Settings()
    except ValidationError as error:
        for one in error.errors(include_input=False):
            print(f"settings: {'.'.join(map(str, one['loc']))}: {one['msg']}", file=sys.stderr)
        return 1
    node = node_name(settings)
    configure_logs(settings.log_format, settings.log_level, node=node)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(names, settings, node))
    except Exception:
        log.critical("node_failed", services=names, exc_info=True)
        return 1
    return 0


async def run(names: Sequence[str], settings: Settings, node: str) -> None:
    """Serve until a signal comes. Raises what made it fail."""
    with caught_signals() as stop:
        bound = bind_socket(settings.http)
        with bound:
            await _serve(names, _listening(settings, bound), node, bound, stop)


@cache
def whole_document() -> dict[str, Any]:
    """Return the OpenAPI document of all services as one, as integrators see it at the front door.

    It is made once: anybody may ask for it, and nothing else is served for the second that it takes.
    """
    from services.gateway.app import router as gateway_router
    from services.groups.app import router as groups_router
    from services.history.app import router as history_router

    routers = (groups_router, history_router, gateway_router)
    return create_app(HttpSettings(), metrics=Metrics(), routers=routers).openapi()


def _listening(settings: Settings, bound: socket) -> Settings:
    """Return the settings with the port that was bound, which port 0 leaves open."""
    http = settings.http.model_copy(update={"port": bound.getsockname()[1]})
    return settings.model_copy(update={"http": http})


async def _serve(names: Sequence[str], settings: Settings, node: str, bound: socket, stop: asyncio.Event) -> None:
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(open_parts(settings, mongo=names != ("gateway",), node=node))
        rpc = Rpc(parts.bus, parts.topology)
        state: dict[str, object] = {"door": Door(parts.tokens, lambda user_id: rpc.call(ReadRevocations(user_id)))}
        probes = dict(parts.probes())
        routers = [page(settings.http.front_door, metrics=not settings.http.public_url)]
        drains: list[Callable[[], Awaitable[None]]] = []
        ws: type[asyncio.Protocol] | Literal["none"] = "none"

        async def accepting() -> bool:
            return not stop.is_set()

        probes["accepting"] = accepting
        if "groups" in names:
            from services.groups.app import open_groups
            from services.groups.app import router as groups_router

            state["groups"] = groups = await stack.enter_async_context(open_groups(settings, parts))
            state["door"] = groups.door  # which needs no call, and hears of what is revoked here at once
            routers.append(groups_router)
        if "history" in names:
            from services.history.app import open_history
            from services.history.app import router as history_router

            state["history"] = await stack.enter_async_context(open_history(settings, parts))
            routers.append(history_router)
        if "gateway" in names:
            from services.gateway.app import open_gateway
            from services.gateway.app import router as gateway_router

            state["gateway"] = gateway = await stack.enter_async_context(open_gateway(settings, parts))
            routers.append(gateway_router)
            probes |= {f"gateway_{part}": probe for part, probe in gateway.readiness().items()}
            ws = gateway.connection_factory
            drains.append(gateway.drain)

        app = create_app(settings.http, metrics=parts.metrics, routers=routers, state=state, probes=probes)
        if "groups" in names:
            # Groups is where front doors send /docs and /openapi.json.
            app.openapi = whole_document  # type: ignore[method-assign]  # FastAPI's own way to replace it
        async with open_server(app, settings.http, bound, ws=ws):
            spare_program()
            log.info("node_started", services=names, url=settings.http.front_door)
            await stop.wait()
            # Whatever hangs from here on ends the process, with the places of all threads on standard error.
            faulthandler.dump_traceback_later(_SHUTDOWN_S, exit=True)
            log.info("node_stopping")
            for drain in drains:
                await drain()
        await parts.supervisor.stop()
    faulthandler.cancel_dump_traceback_later()
    log.info("node_stopped")


if __name__ == "__main__":
    sys.exit(main())
