"""A replay on a whole cluster while its servers are restarted, its processes killed and its connections cut.

Every connection goes through a proxy: clients' to the front door, and each node's to RabbitMQ, Redis and MongoDB. The
long form is `make cluster` and `make replay` over real logs (docs/operations.md).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
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


def through(program: Program, ports: dict[str, int], proxies: dict[str, Proxy]) -> Program:
    """Return a node's program with its servers behind the proxies."""
    if program.kind not in COUNTS:
        return program
    env = {**program.env, "STARLING_LIMITS__ENABLED": "false"}
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


async def test_nothing_is_lost_doubled_or_disordered_whatever_dies(tmp_path: Path) -> None:
    """RabbitMQ, Redis and MongoDB restarted, each history and groups process killed, every connection cut."""
    port = free_port()
    programs = programs_of(tmp_path, port, COUNTS)
    ports = {one.name: urlsplit(one.address).port or 0 for one in programs if one.name in URLS}
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        proxies = {name: await stack.enter_async_context(open_proxy(ports[name])) for name in URLS}
        door = await stack.enter_async_context(open_proxy(port))
        (tmp_path / "logs").mkdir()
        running = [through(one, ports, proxies) for one in programs]
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        cluster = tasks.create_task(Cluster(running, tmp_path, port, restarts=True).run(stop))
        stack.callback(stop.set)
        await wait_until(lambda: is_ready(port), 90)

        def kill(name: str, number: signal.Signals = signal.SIGKILL) -> Callable[[], Awaitable[None]]:
            async def fault() -> None:
                os.kill(listed(tmp_path, "pid")[name], number)

            return fault

        async def cut() -> None:
            for proxy in (*proxies.values(), door):
                proxy.cut()

        url = f"http://127.0.0.1:{door.port}"
        replay = Replay([script_of("tea", invented_log(360))], Options(Addresses(url, url, (url,)), LINES_PER_S))
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
        starts = listed(tmp_path, "starts")
        restarted = {"history-1", "history-2", "groups-1", "groups-2", "redis", "rabbitmq", "mongo"}
        assert {name for name, count in starts.items() if count > 1} == restarted, "no other process had to be"
        stop.set()
        await cluster
