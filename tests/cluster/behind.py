"""A cluster whose every connection goes through a proxy, faults that happen to it, and what is said meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.local.cluster import Cluster, programs_of
from deploy.local.door import is_ready
from deploy.local.folder import STATUS
from deploy.local.nodes import Place
from deploy.local.process import free_port
from deploy.local.program import Program
from deploy.replay.play import Options, Replay
from deploy.replay.rest import Addresses
from deploy.replay.script import script_of
from deploy.replay.session import Ways
from tests.hosts import HERE, Hosts
from tests.proxy import Proxy, open_proxy

COUNTS = {"groups": 2, "history": 2, "gateway": 2}
URLS = {"rabbitmq": "STARLING_BUS__URL", "redis": "STARLING_CACHE__URL", "mongo": "STARLING_MONGO__URL"}
NICKS = ("ann", "ben", "cat", "dan", "eve", "fay")
LINES_PER_S = 12.0
_START_S = 180.0
"""A busy machine takes its time."""


def invented_log(lines: int) -> bytes:
    """Return a log in which six people talk, and one leaves and comes again."""
    said = []
    for number in range(lines):
        if number % 40 == 20:
            said.append("=== fay has left #tea []")
        if number % 40 == 30:
            said.append("=== fay has joined #tea")
        nick = NICKS[number * 7 % 5] if 20 <= number % 40 < 30 else NICKS[number * 7 % 6]
        said.append(f"[12:{number % 60:02}] <{nick}> line {number} of what is said")
    return "\n".join(said).encode()


def through(
    program: Program, ports: dict[str, int], proxies: dict[str, Proxy], settings: dict[str, str], hosts: Hosts | None
) -> Program:
    """Return a node's program with its servers behind the proxies, and these settings, on its host if there are any."""
    if program.kind not in COUNTS:
        return program
    env = {**program.env, "STARLING_LIMITS__ENABLED": "false", **settings}
    here = HERE if hosts is not None else "127.0.0.1"
    for server, name in URLS.items():
        proxy = proxies.get(f"{program.name}.{server}", proxies[server])
        env[name] = env[name].replace(f"127.0.0.1:{ports[server]}/", f"{here}:{proxy.port}/")
    command = program.command if hosts is None else hosts.inside(program.name, program.command)
    return replace(program, env=env, command=command)


def listed(data: Path, field: str) -> dict[str, Any]:
    """Return what cluster.json tells of each process, by name."""
    return {one["name"]: one[field] for one in json.loads((data / STATUS).read_text())["processes"]}


def ports_of(data: Path, kind: str) -> list[int]:
    """Return the ports of a service's processes."""
    processes = json.loads((data / STATUS).read_text())["processes"]
    return [urlsplit(one["address"]).port or 0 for one in processes if one["kind"] == kind]


async def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for something that nobody tells us."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.1)


async def play(replay: Replay, faults: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Let each fault happen while lines are being said, at its share of the way."""
    for number, fault in enumerate(faults, 1):
        while replay.phase != "playing" or replay.done < replay.wanted * number // (len(faults) + 1):
            await asyncio.sleep(0.05)
        await fault()


@dataclass(frozen=True)
class Behind:
    """A cluster whose every connection goes through a proxy: clients' to the door, nodes' to each server.

    `servers` has the proxies by the server's name, and by `node.server` those that a node has for itself.
    """

    data: Path
    door: Proxy
    servers: dict[str, Proxy]

    @property
    def url(self) -> str:
        """The front door's, through its proxy."""
        return f"http://127.0.0.1:{self.door.port}"

    def replay(self, lines: int, ways: Ways | None = None, logs: Sequence[str] = ("tea",)) -> Replay:
        """Return a replay of so many invented lines in each log, through the door if nothing else is said."""
        options = Options(Addresses(self.url, self.url), ways or Ways((self.url,)), LINES_PER_S)
        return Replay([script_of(name, invented_log(lines)) for name in logs], options)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> Callable[[], Awaitable[None]]:
        """Return a fault that kills a process."""

        async def fault() -> None:
            os.kill(listed(self.data, "pid")[name], number)

        return fault

    async def wait_all_ready(self) -> None:
        """Wait until every process answers (again)."""
        await wait_until(lambda: set(listed(self.data, "state").values()) == {"ready"}, 60)

    def restarted(self) -> set[str]:
        """Return the names of the processes that were started more than once."""
        return {name for name, count in listed(self.data, "starts").items() if count > 1}


@asynccontextmanager
async def open_cluster(
    data: Path,
    counts: Mapping[str, int] = COUNTS,
    *,
    apart: Sequence[str] = (),
    hosts: Hosts | None = None,
    **settings: str,
) -> AsyncIterator[Behind]:
    """Run a cluster behind proxies until the context ends; `counts` of nodes, `settings` are of all of them.

    `apart`: for each `node.server` here the node has a proxy to the server for itself. `hosts`: where
    each node is alone on one.
    """
    port = free_port()
    programs = programs_of(data, port, counts, lambda name, port: _place_of(hosts, name, port))
    ports = {one.name: urlsplit(one.address).port or 0 for one in programs if one.name in URLS}
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        server_of = {name: name for name in URLS} | {name: name.partition(".")[2] for name in apart}
        listen = HERE if hosts is not None else "127.0.0.1"
        proxies = {
            name: await stack.enter_async_context(open_proxy(ports[server], listen=listen))
            for name, server in server_of.items()
        }
        door = await stack.enter_async_context(open_proxy(port))
        (data / "logs").mkdir()
        settings = {"STARLING_HTTP__PUBLIC_URL": f"http://127.0.0.1:{door.port}", **settings}
        running = [through(one, ports, proxies, settings, hosts) for one in programs]
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        cluster = tasks.create_task(Cluster(running, data, port, restarts=True).run(stop))
        stack.callback(stop.set)
        await wait_until(lambda: is_ready(port), _START_S)
        yield Behind(data, door, proxies)
        stop.set()
        await cluster


def _place_of(hosts: Hosts | None, name: str, port: int) -> Place:
    return Place(port) if hosts is None else Place(port, hosts.address(name), HERE)
