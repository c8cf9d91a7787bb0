"""One node alone, in a process of its own, on uvicorn and uvloop with stand-ins for groups and history.

`python -m tests.bench.alone memory [sessions] [group size]`: how much the node's resident memory grew per idle session;
`--trace` tells where it went (and measures slower and larger). `python -m tests.bench.alone lag [sessions]`: how long
messages to one large group hold up its loop. `make bench-gateway` measures the whole beside its peers.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import linecache
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from shared.core.model import Channel, Group, Member, User
from shared.lifecycle import spare_program
from shared.logs import configure_logs
from tests.gateway.raw import TEXT, frame_of, upgrade_of
from tests.gateway.world import AT, ServedNode, World, open_node, open_world, settings_of

_SILENCE: Final = timedelta(hours=1)
"""The devices send no heartbeats."""
_AT_ONCE: Final = 100
_WARM: Final = 100
_CONTENT: Final = "x" * 80
_BURSTS: Final = ((1, 40), (8, 20), (100, 3))
"""Messages at once, and how often."""


class Device(asyncio.Protocol):
    """A client that identifies and then only counts bytes."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._transport: asyncio.Transport | None = None
        self._start = b""
        self.ready = asyncio.get_running_loop().create_future()
        self.got = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(upgrade_of("/gateway?v=10&encoding=json", "User-Agent: bench", "Accept: */*"))

    def data_received(self, data: bytes) -> None:
        """Identify behind the upgrade, be ready behind the group, then count."""
        self.got += len(data)
        if self.ready.done():
            return
        self._start += data
        if self._token and b"\r\n\r\n" in self._start and self._transport is not None:
            told = json.dumps({"op": 2, "d": {"token": self._token, "properties": {}}})
            self._transport.write(frame_of(TEXT, told.encode()))
            self._token = ""
        if b"GUILD_CREATE" in self._start:
            self._start = b""
            self.ready.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail who waits."""
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("closed before READY"))


class Alone:
    """The process with the node, as the other one sees it."""

    def __init__(self, server: asyncio.subprocess.Process, port: int, tokens: list[str]) -> None:
        self._server = server
        self._port = port
        self.tokens = tokens

    async def ask(self, word: str) -> Any:
        """Have something done there and return what it tells."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(f"{word}\n".encode())
        return json.loads(await self._server.stdout.readline())

    async def open(self, tokens: Sequence[str]) -> list[Device]:
        """Open a session with each token."""
        devices: list[Device] = []
        for start in range(0, len(tokens), _AT_ONCE):
            devices += await asyncio.gather(*(self._open(token) for token in tokens[start : start + _AT_ONCE]))
        return devices

    async def _open(self, token: str) -> Device:
        async with asyncio.timeout(60):
            _, device = await asyncio.get_running_loop().create_connection(
                lambda: Device(token), "127.0.0.1", self._port
            )
            await device.ready
        return device


@asynccontextmanager
async def open_alone(sessions: int, group_size: int, *, trace: bool = False) -> AsyncIterator[Alone]:
    """Start the process with a node and so many people in groups of a size."""
    command = [sys.executable, "-m", "tests.bench.alone", "serve", str(sessions), str(group_size)]
    server = await asyncio.create_subprocess_exec(
        *command, *(["--trace"] if trace else []), stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 26
    )
    try:
        assert server.stdout is not None
        node = json.loads(await server.stdout.readline())
        yield Alone(server, node["port"], node["tokens"])
    finally:
        server.kill()
        await server.wait()


async def measure_memory(count: int, *, group_size: int = 50, trace: bool = False) -> float:
    """Return how many bytes one of `count` idle sessions takes."""
    async with open_alone(count + _WARM, group_size, trace=trace) as alone:
        devices = await alone.open(alone.tokens[:_WARM])
        before = await alone.ask("rss")
        devices += await alone.open(alone.tokens[_WARM:])
        assert await alone.ask("sessions") == len(devices)
        after = await alone.ask("rss")
        for line in await alone.ask("trace") if trace else ():
            print(line)
    return float(after - before) / count


async def measure_lag(count: int) -> list[dict[str, float]]:
    """Return what messages to a group of `count` did to the node's loop, for several bursts."""
    found = []
    async with open_alone(count, count) as alone:
        devices = await alone.open(alone.tokens)
        for at_once, times in ((1, 5), *_BURSTS):
            before = sum(device.got for device in devices)
            told = await alone.ask(f"say {at_once} {times}")
            wanted = before + told.pop("bytes")
            async with asyncio.timeout(60):
                while sum(device.got for device in devices) < wanted:
                    await asyncio.sleep(0.01)
            found.append({"at once": at_once} | told)
    return found[1:]


# The other process.


def _people(world: World, count: int, group_size: int) -> tuple[list[str], User, Channel]:
    """Fill a world with users in groups of so many; return tokens, the first one and the last group's channel."""
    users = [world.register(f"user{number}") for number in range(count)]
    for start in range(0, count, group_size):
        group, channel = world.add_group(users[start], f"group{start}")
        _join(world, group, users[start : start + group_size])
    return [world.token(user) for user in users], users[0], channel


def _join(world: World, group: Group, users: Sequence[User]) -> None:
    for user in users:
        world.members[group.id][user.id] = Member(group.id, user, AT)


async def _serve(count: int, group_size: int, *, trace: bool) -> None:
    configure_logs("json", "error", node="bench")
    loop = asyncio.get_running_loop()
    async with open_world() as world, open_node(world, settings_of(heartbeat_interval=_SILENCE)) as node:
        tokens, speaker, channel = _people(world, count, group_size)
        spare_program()
        if trace:
            tracemalloc.start(8)
        print(json.dumps({"port": node.port, "tokens": tokens}), flush=True)
        baseline: tracemalloc.Snapshot | None = None
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            match line.split():
                case ["rss"]:
                    world.asked.clear()
                    await asyncio.sleep(1.0)
                    gc.collect()
                    answer: Any = _resident()
                    if trace and baseline is None:
                        baseline = tracemalloc.take_snapshot()
                case ["sessions"]:
                    answer = node.sessions
                case ["say", at_once, times]:
                    answer = await _say(world, node, speaker, channel, int(at_once), int(times))
                case _:
                    assert baseline is not None
                    answer = _report(baseline, count - _WARM)
            print(json.dumps(answer), flush=True)


async def _say(
    world: World, node: ServedNode, speaker: User, channel: Channel, at_once: int, times: int
) -> dict[str, float]:
    """Say something in bursts; return the processor's time per delivery and per turn of the loop, which is its lag."""
    fanout = node.gateway.node.fanout
    turns: list[float] = []

    async def probe() -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            turns.append(time.thread_time() - began)

    deliveries, slices = fanout.deliveries, fanout.flusher.statistics()["slices"]
    probing = asyncio.create_task(probe())
    began, used = time.perf_counter(), time.process_time()
    for _ in range(times):
        wanted = fanout.dispatches + at_once
        for _ in range(at_once):
            await world.say(speaker, channel, _CONTENT)
        while fanout.dispatches < wanted or fanout.flusher.statistics()["behind"]:
            await asyncio.sleep(0)
    seconds, used = time.perf_counter() - began, time.process_time() - used
    probing.cancel()
    count = fanout.deliveries - deliveries
    turns.sort()
    return {
        "deliveries": count,
        "CPU us each": round(used / count * 1e6, 2),
        "seconds": round(seconds, 2),
        "slices": fanout.flusher.statistics()["slices"] - slices,
        "longest turn ms": round(turns[-1] * 1000, 1),
        "99 of 100 ms": round(turns[len(turns) * 99 // 100] * 1000, 1),
        "bytes": count * len(_CONTENT),
    }


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _report(baseline: tracemalloc.Snapshot, sessions: int) -> list[str]:
    found = tracemalloc.take_snapshot().compare_to(baseline, "lineno")
    lines = [f"{sum(one.size_diff for one in found) / sessions:8.0f} bytes per session, of Python's own"]
    for one in found[:45]:
        frame = one.traceback[0]
        code = linecache.getline(frame.filename, frame.lineno).strip()
        place = "/".join(frame.filename.split("/")[-2:])
        lines.append(f"{one.size_diff / sessions:8.0f} {one.count_diff / sessions:5.1f} {place}:{frame.lineno} {code}")
    return lines


def main() -> None:
    """Measure and print, or serve."""
    parser = argparse.ArgumentParser(description="Measure one node alone.")
    parser.add_argument("what", choices=("memory", "lag", "serve"))
    parser.add_argument("sessions", type=int, nargs="?", default=3_000)
    parser.add_argument("group_size", type=int, nargs="?", default=50)
    parser.add_argument("--trace", action="store_true", help="say what takes the memory")
    told = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        match told.what:
            case "serve":
                runner.run(_serve(told.sessions, told.group_size, trace=told.trace))
            case "memory":
                size = runner.run(measure_memory(told.sessions, group_size=told.group_size, trace=told.trace))
                print(f"{told.sessions} sessions: {size / 1024:.2f} KB each")
            case _:
                for row in runner.run(measure_lag(told.sessions)):
                    print("  ".join(f"{name} {value:g}" for name, value in row.items()))


if __name__ == "__main__":
    main()
