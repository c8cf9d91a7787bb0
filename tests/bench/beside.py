"""`make bench-peers`: Starling beside what one would pick instead, two nodes each, on the same work in one run.

`python -m tests.bench.beside`. The systems run alone, one after the other, and
go through the same: idle sessions, messages to a room on both nodes, messages from one user to another on the other
node; a bare `send()` in C comes first. What came of it: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import httpx

from deploy.load.console import raise_file_limit, say
from deploy.load.usage import cpu_s, resident_bytes
from deploy.local.process import NotInstalled, StartFailed
from tests.bench.crowd import Crowd, CrowdFailed
from tests.bench.dialects import Refused
from tests.bench.gateway import PAYLOAD_BYTES, Compared
from tests.bench.layouts import percentile
from tests.bench.pairs import COUPLES, PAIRS, Pair
from tests.bench.process import counting, wait_quiet
from tests.bench.results import Ran, keep
from tests.bench.servers import open_limit
from tests.bench.table import LIMIT, Row, table_of
from tests.bench.talkers import Talk, measure_rate, measure_waits

_JOIN_S: Final = 300.0
_DELIVER_S: Final = 120.0
_WARM_UP: Final = 50

ROWS: Final = (
    Row("idle", "KB per idle session"),
    Row("joins", "joins/s at one node", digits=0),
    Row("cpu_delivery", "CPU us per delivery, both nodes"),
    Row("cpu_behind", "CPU us per delivery, behind them"),
    Row("deliveries", "deliveries/s", digits=0),
    Row("wait_p50", "1 to 1 across nodes, p50 ms", digits=2),
    Row("wait_p99", "1 to 1 across nodes, p99 ms", digits=2),
    Row("messages", "1 to 1 across nodes, messages/s", digits=0),
    Row("cpu_message", "CPU us per such message, both nodes", digits=0),
    Row("cpu_message_behind", "CPU us per such message, behind them", digits=0),
)


@dataclass(frozen=True)
class Plan:
    """How much. `sessions`: in the room, half of them on each node; `messages`: to the room.

    `waits`: messages 1 to 1, one at a time; `seconds`: how long all couples talk at once.
    """

    sessions: int
    messages: int
    waits: int
    seconds: float


def measure(pair: Pair, plan: Plan) -> dict[str, float]:
    """Take two nodes through everything; return their figures by row. Raises `CrowdFailed`."""
    figures: dict[str, float] = {}
    crowds = [Crowd(port, pair.dialect, PAYLOAD_BYTES) for port in pair.ports]
    half = len(pair.tokens) // 2
    parts = pair.tokens[:half], pair.tokens[half:]
    try:
        for crowd, tokens in zip(crowds, parts, strict=True):
            crowd.join(tokens[:_WARM_UP], _JOIN_S)
            crowd.leave(_WARM_UP, _JOIN_S)
        empty = _memory(pair)
        figures["joins"] = half / crowds[0].join(parts[0], _JOIN_S)
        crowds[1].join(parts[1], _JOIN_S)
        figures["idle"] = (_memory(pair) - empty) / len(pair.tokens) / 1024
        say(f"  {len(pair.tokens)} are in: {figures['idle']:.1f} KB each, {figures['joins']:.0f} joins/s")
        figures |= _fan_out(pair, crowds, plan.messages)
        for crowd, tokens in zip(crowds, parts, strict=True):
            crowd.leave(len(tokens), _JOIN_S)
    finally:
        for crowd in crowds:
            crowd.close()
    for pid in pair.nodes:
        wait_quiet(pid)
    return figures | _talk(pair, plan)


def _memory(pair: Pair) -> int:
    for pid in pair.nodes:
        wait_quiet(pid)
    pair.collect()
    return sum(map(resident_bytes, pair.nodes))


def _fan_out(pair: Pair, crowds: Sequence[Crowd], messages: int) -> dict[str, float]:
    """Have the first client speak to the room, the next message when all have the last."""

    def deliver(times: int) -> None:
        for _ in range(times):
            wanted = [crowd.deliveries + len(crowd.clients) for crowd in crowds]
            crowds[0].say(PAYLOAD_BYTES, 1)
            for crowd, count in zip(crowds, wanted, strict=True):
                crowd.wait_deliveries(count, _DELIVER_S)

    deliver(2)
    with counting(pair.pids()) as used:
        began = time.perf_counter()
        deliver(messages)
        seconds = time.perf_counter() - began
    nodes, behind = _by_place(pair, used)
    deliveries = messages * len(pair.tokens)
    figures = {
        "cpu_delivery": nodes / deliveries * 1e6,
        "cpu_behind": behind / deliveries * 1e6,
        "deliveries": deliveries / seconds,
    }
    say(f"  {figures['cpu_delivery']:.2f} us per delivery, {figures['deliveries']:.0f} deliveries/s")
    return figures


def _talk(pair: Pair, plan: Plan) -> dict[str, float]:
    """Let couples talk across the nodes, one message at a time and then all at once."""
    talks = [Talk(pair, couple) for couple in pair.couples]
    try:
        measure_waits(talks, 2 * len(talks))
        waits = measure_waits(talks, plan.waits)
        with counting(pair.pids()) as used:
            heard, seconds = measure_rate(talks, plan.seconds)
        nodes, behind = _by_place(pair, used)
    finally:
        for talk in talks:
            talk.close()
    figures = {
        "wait_p50": statistics.median(waits),
        "wait_p99": percentile(waits, 0.99),
        "messages": heard / seconds,
        "cpu_message": nodes / heard * 1e6,
        "cpu_message_behind": behind / heard * 1e6,
    }
    say(f"  1 to 1: p50 {figures['wait_p50']:.2f} ms, {figures['messages']:.0f} messages/s")
    return figures


def run(folder: Path, plan: Plan, only: Sequence[str]) -> Compared:
    """Measure the limit and each system. Raises `CrowdFailed`, `StartFailed` where not even the limit can be."""
    found = Compared({LIMIT: _limit(folder, plan)}, {LIMIT: "send() in C"})
    for name, opened in PAIRS.items():
        if only and name not in only:
            continue
        say(f"{name}: starting")
        try:
            with opened(folder, plan.sessions) as pair:
                say(f"{name}: {pair.tells}, pids {pair.nodes}")
                found.figures[name] = measure(pair, plan)
                found.headings[name] = pair.tells + (", stored" if pair.stores else "")
        except (CrowdFailed, NotInstalled, Refused, StartFailed, OSError, httpx.HTTPError) as failure:
            found.leave_out(name, failure)
    return found


def _limit(folder: Path, plan: Plan) -> dict[str, float]:
    """Return what a bare `send()` to as many costs."""
    with open_limit(folder, PAYLOAD_BYTES) as server:
        crowd = Crowd(server.port, server.dialect, PAYLOAD_BYTES)
        try:
            joins = plan.sessions / crowd.join([""] * plan.sessions, _JOIN_S)
            before, began = cpu_s(server.pid), time.perf_counter()
            for _ in range(plan.messages):
                crowd.say(PAYLOAD_BYTES, 1)
                crowd.wait_deliveries(crowd.deliveries + plan.sessions, _DELIVER_S)
            seconds, deliveries = time.perf_counter() - began, plan.messages * plan.sessions
            return {
                "joins": joins,
                "cpu_delivery": (cpu_s(server.pid) - before) / deliveries * 1e6,
                "deliveries": deliveries / seconds,
            }
        finally:
            crowd.close()


def _by_place(pair: Pair, used: Mapping[str, float]) -> tuple[float, float]:
    """Return what the nodes used together, and what stands behind them."""
    behind = sum(used[name] for name in pair.behind)
    return sum(used.values()) - behind, behind


def main() -> int:
    """Run the comparison: 0, or 1 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.beside", description="Measure beside peers.")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="for peers and data (.bench)")
    parser.add_argument("--sessions", type=int, default=3000, help="in the room, on two nodes (3000)")
    parser.add_argument("--messages", type=int, default=40, help="to the room (40)")
    parser.add_argument("--waits", type=int, default=1000, help="messages one at a time (1000)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of messages all at once (5)")
    parser.add_argument("--only", action="append", default=[], choices=PAIRS, help="may be said again")
    chosen = parser.parse_args()
    folder: Path = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(max(chosen.sessions, 4 * COUPLES), chosen.messages, chosen.waits, chosen.seconds)
    if (refusal := raise_file_limit(plan.sessions + 500)) is not None:
        print(f"bench: {refusal}", file=sys.stderr)
        return 1
    gc.freeze()
    gc.disable()  # the load generator makes no cycles worth a pause
    ran = Ran()
    try:
        found = run(folder, plan, chosen.only)
    except (CrowdFailed, StartFailed, OSError) as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    path = keep(folder, "peers", ran, {"plan": plan, **asdict(found)})
    print(f"\n{table_of(ROWS, found.figures, found.headings)}")
    print(f"\nframes of {PAYLOAD_BYTES} bytes, a room of {plan.sessions:,} on two nodes, {os.cpu_count()} cores")
    print(f"ours stores each message before anybody hears it, the others store none; all in {path}")
    return int(bool(found.left_out))


if __name__ == "__main__":
    sys.exit(main())
