"""A replay on a whole cluster: its servers restarted, its processes killed, its connections cut or half-open.

Every connection goes through a proxy: clients' to the front door, and each node's to RabbitMQ, Redis and MongoDB. The
long form is `make cluster` and `make replay` over real logs (docs/operations.md).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.local.cluster import Cluster, programs_of
from deploy.local.control import STATUS
from deploy.local.door import is_ready
from deploy.local.process import free_port
from deploy.local.program import Program
from deploy.replay.play import Options, Replay
from deploy.replay.report import table_of
from deploy.replay.rest import Addresses
from deploy.replay.script import script_of
from tests.proxy import Proxy, open_proxy

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("cluster_servers"), pytest.mark.timeout(300)]

COUNTS = {"groups": 2, "history": 2, "gateway": 2}
URLS = {"rabbitmq": "STARLING_BUS__URL", "redis": "STARLING_CACHE__URL", "mongo": "STARLING_MONGO__URL"}
NICKS = ("ann", "ben", "cat", "dan", "eve", "fay")
LINES_PER_S = 12.0


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


def through(program: Program, ports: dict[str, int], proxies: dict[str, Proxy], settings: dict[str, str]) -> Program:
    """Return a node's program with its servers behind the proxies, and these settings."""
    if program.kind not in COUNTS:
        return program
    env = {**program.env, "STARLING_LIMITS__ENABLED": "false", **settings}
    for server, name in URLS.items():
        env[name] = env[name].replace(f":{ports[server]}/", f":{proxies[server].port}/")
    return replace(program, env=env)


def listed(data: Path, field: str) -> dict[str, int]:
    """Return a number that cluster.json tells of each process, by name."""
    return {one["name"]: one[field] for one in json.loads((data / STATUS).read_text())["processes"]}


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
    """A cluster whose every connection goes through a proxy: clients' to the door, nodes' to each server."""

    data: Path
    door: Proxy
    servers: dict[str, Proxy]

    def replay(self, lines: int) -> Replay:
        """Return a replay of so many invented lines through the door."""
        url = f"http://127.0.0.1:{self.door.port}"
        return Replay([script_of("tea", invented_log(lines))], Options(Addresses(url, url, (url,)), LINES_PER_S))

    def restarted(self) -> set[str]:
        """Return the names of the processes that were started more than once."""
        return {name for name, count in listed(self.data, "starts").items() if count > 1}


@asynccontextmanager
async def open_cluster(data: Path, **settings: str) -> AsyncIterator[Behind]:
    """Run a cluster behind proxies until the context ends; `settings` are of all nodes."""
    port = free_port()
    programs = programs_of(data, port, COUNTS)
    ports = {one.name: urlsplit(one.address).port or 0 for one in programs if one.name in URLS}
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        proxies = {name: await stack.enter_async_context(open_proxy(ports[name])) for name in URLS}
        door = await stack.enter_async_context(open_proxy(port))
        (data / "logs").mkdir()
        running = [through(one, ports, proxies, settings) for one in programs]
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        cluster = tasks.create_task(Cluster(running, data, port, restarts=True).run(stop))
        stack.callback(stop.set)
        await wait_until(lambda: is_ready(port), 90)
        yield Behind(data, door, proxies)
        stop.set()
        await cluster


async def test_nothing_is_lost_doubled_or_disordered_whatever_dies(tmp_path: Path) -> None:
    """RabbitMQ, Redis and MongoDB restarted, each history and groups process killed, every connection cut."""
    async with open_cluster(tmp_path) as behind, asyncio.TaskGroup() as tasks:

        def kill(name: str, number: signal.Signals = signal.SIGKILL) -> Callable[[], Awaitable[None]]:
            async def fault() -> None:
                os.kill(listed(tmp_path, "pid")[name], number)

            return fault

        async def cut() -> None:
            for proxy in (*behind.servers.values(), behind.door):
                proxy.cut()

        replay = behind.replay(360)
        chaos = tasks.create_task(
            play(
                replay,
                (
                    kill("history-1"),
                    cut,
                    kill("groups-1"),
                    kill("redis", signal.SIGTERM),
                    kill("rabbitmq", signal.SIGTERM),
                    kill("history-2"),
                    kill("mongo", signal.SIGTERM),
                    kill("groups-2"),
                    cut,
                ),
            )
        )
        report = await replay.run()
        assert chaos.done(), "the replay ended before the last fault"
        assert report.is_good, table_of(report)
        assert report.total.messages == 360
        killed = {"history-1", "history-2", "groups-1", "groups-2", "redis", "rabbitmq", "mongo"}
        assert behind.restarted() == killed, "no other process had to be"


async def test_half_open_connections_are_survived_by_every_process(tmp_path: Path) -> None:
    """All connections to RabbitMQ, then to Redis, then to MongoDB swallow what is sent, and no end is told of it.

    MongoDB's deadline is shorter here than 10 s, since only that tells a process that it will not be answered.
    """
    async with open_cluster(tmp_path, STARLING_MONGO__TIMEOUT="PT2S") as behind, asyncio.TaskGroup() as tasks:
        connects: dict[str, int] = {}

        def strand(name: str) -> Callable[[], Awaitable[None]]:
            async def fault() -> None:
                connects[name] = behind.servers[name].connects
                behind.servers[name].strand()

            return fault

        replay = behind.replay(80)
        chaos = tasks.create_task(play(replay, [strand(name) for name in URLS]))
        report = await replay.run()
        assert chaos.done(), "the replay ended before the last fault"
        assert report.is_good, table_of(report)
        assert report.total.messages == 80
        assert behind.restarted() == set(), "no process had to be"
        anew = {name: behind.servers[name].connects - before for name, before in connects.items()}
        assert anew["rabbitmq"] >= sum(COUNTS.values()), "every process connected anew"
        assert anew["mongo"] >= COUNTS["groups"] + COUNTS["history"]
        assert anew["redis"] >= 1, "only who asks something meets it"
