"""How much memory an idle session takes: `python -m tests.bench.session_memory [sessions] [group size]`.

A process serves one node on uvicorn and uvloop, with stand-ins for groups and history on a memory bus; another opens
plain sockets, each says IDENTIFY as a user of its own and reads its READY. What is told is how much the first one's
resident memory grew per session, once it is quiet. `--trace` tells where it went (and measures slower and larger).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import linecache
import subprocess
import sys
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from shared.core.model import Member
from shared.logs import configure_logs
from tests.gateway.raw import TEXT, frame_of, upgrade_of
from tests.gateway.world import AT, World, open_node, open_world, settings_of

_PAGE = 4096
_WARM = 100


@dataclass(frozen=True)
class Memory:
    """What was measured: bytes per session."""

    sessions: int
    bytes_per_session: float


async def measure_sessions(count: int, *, group_size: int = 50, trace: bool = False) -> Memory:
    """Open `count` sessions on a node of its own process and return what each takes there."""
    command = [sys.executable, "-m", __spec__.name, "--serve", str(count + _WARM), str(group_size)]
    server = await asyncio.create_subprocess_exec(
        *command, *(["--trace"] if trace else []), stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 26
    )
    to, back = server.stdin, server.stdout
    assert to is not None
    assert back is not None

    async def ask(word: str) -> Any:
        to.write(f"{word}\n".encode())
        return json.loads(await back.readline())

    try:
        node = json.loads(await back.readline())
        port, tokens = node["port"], node["tokens"]
        sockets = await _open(port, tokens[:_WARM])
        before = await ask("rss")
        for start in range(_WARM, len(tokens), 100):
            sockets += await _open(port, tokens[start : start + 100])
        assert await ask("sessions") == len(tokens)
        after = await ask("rss")
        if trace:
            for line in await ask("trace"):
                print(line)
        for writer in sockets:
            writer.transport.abort()
    finally:
        server.kill()
        await server.wait()
    return Memory(count, (after - before) / count)


async def _open(port: int, tokens: list[str]) -> list[asyncio.StreamWriter]:
    return await asyncio.gather(*(_identify(port, token) for token in tokens))


async def _identify(port: int, token: str) -> asyncio.StreamWriter:
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        writer.write(upgrade_of("/gateway?v=10&encoding=json", "User-Agent: bench", "Accept: */*"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame_of(TEXT, json.dumps({"op": 2, "d": {"token": token, "properties": {}}}).encode()))
        await reader.readuntil(b"GUILD_CREATE")
    return writer


# The other process.


def _people(world: World, count: int, group_size: int) -> list[str]:
    """Fill a world with users in groups of so many, without events that nobody needs; return their tokens."""
    users = [world.register(f"user{number}") for number in range(count)]
    for start in range(0, count, group_size):
        owner = users[start]
        group, _ = world.add_group(owner, f"group{start}")
        for user in users[start : start + group_size]:
            world.members[group.id][user.id] = Member(group.id, user, AT)
    return [world.token(user) for user in users]


async def _serve(count: int, group_size: int, *, trace: bool) -> None:
    configure_logs("json", "error", node="bench")
    loop = asyncio.get_running_loop()
    async with open_world() as world, open_node(world, settings_of()) as node:
        tokens = _people(world, count, group_size)
        if trace:
            tracemalloc.start(8)
        print(json.dumps({"port": node.port, "tokens": tokens}), flush=True)
        baseline: tracemalloc.Snapshot | None = None
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            match line.strip():
                case "rss":
                    world.asked.clear()
                    await asyncio.sleep(1.0)
                    gc.collect()
                    answer: Any = _resident()
                    if trace and baseline is None:
                        baseline = tracemalloc.take_snapshot()
                case "sessions":
                    answer = node.sessions
                case _:
                    assert baseline is not None
                    answer = _report(baseline, count - _WARM)
            print(json.dumps(answer), flush=True)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


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
    parser = argparse.ArgumentParser(description="Measure the memory of idle sessions.")
    parser.add_argument("sessions", type=int, nargs="?", default=3_000)
    parser.add_argument("group_size", type=int, nargs="?", default=50)
    parser.add_argument("--trace", action="store_true", help="say what takes it")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.serve:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(told.sessions, told.group_size, trace=told.trace))
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        memory = runner.run(measure_sessions(told.sessions, group_size=told.group_size, trace=told.trace))
    print(f"{memory.sessions} sessions: {memory.bytes_per_session / 1024:.2f} KB each")


if __name__ == "__main__":
    main()
