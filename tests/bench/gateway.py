"""`make bench-gateway`: the gateway's connections beside a raw `send()`, Node's and FastAPI's, in one run.

`python -m tests.bench.gateway`. Each server runs alone, one after the other, and goes
through the same: idle sessions (memory), messages to a room (processor time per delivery), joins. Processor time is
the server process's own, so the load generator's and, with Starling, the broker's and the database's are not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from deploy.load.console import raise_file_limit, say
from deploy.load.usage import cpu_s, resident_bytes
from deploy.local.process import NotInstalled, StartFailed
from shared.auth import Tokens
from shared.clock import now_ms
from tests.bench.crowd import Crowd, CrowdFailed, wait_until
from tests.bench.dialects import Dialect, join_starling, say_starling
from tests.bench.joins import JOIN_S, Comers, measure_joins
from tests.bench.process import wait_quiet
from tests.bench.results import Ran, keep
from tests.bench.seeding import seed
from tests.bench.servers import Server, open_fastapi, open_limit, open_socket_io, open_ws
from tests.bench.starling import open_cluster, overhead_of
from tests.bench.table import LIMIT, OURS, PEER, Promise, Row, table_of, verdicts_of

PAYLOAD_BYTES: Final = 640
"""What one message of about 80 characters is as a dispatch of ours; everybody's frames are as long."""
AT_ONCE: Final = 8
"""Messages sent in one write, for the row that joins writes."""
SERVERS: Final = (LIMIT, "ws", PEER, "fastapi", OURS)
_WARM_UP: Final = 50
_DELIVER_S: Final = 60.0
_REPEATS: Final = 5
_STAYING: Final = 2
"""Keys of the one who stays: its own and its group's."""
_LET_GO_S: Final = 180.0
_HEARTBEAT: Final = "PT600S"
"""Longer than a run: nobody else in this comparison has heartbeats."""

_JOINS: Final = Promise(0.5, PEER, at_least=True), Promise(1.0, PEER, at_least=True)
ROWS: Final = (
    Row("idle_some", "KB per idle session, {some}"),
    Row("idle_most", "KB per idle session, {most}", Promise(0.75, PEER), Promise(7.0)),
    Row("cpu_one", "CPU us per delivery, one message", Promise(1.5, LIMIT), Promise(1.3, LIMIT)),
    Row("cpu_many", "CPU us per delivery, {at_once} at once", aim=Promise(0.5, LIMIT)),
    Row("rate_one", "deliveries/s, one message", digits=0),
    Row("rate_many", "deliveries/s, {at_once} at once", digits=0),
    Row("joins_first", "joins/s, never seen", digits=0),
    Row("joins_let_go", "joins/s, let go since", *_JOINS, digits=0),
    Row("joins_bound", "joins/s, still bound", *_JOINS, digits=0),
    Row("cpu_let_go", "CPU us per join, let go since", digits=0),
    Row("cpu_bound", "CPU us per join, still bound", digits=0),
)


def rows_of(some: int, most: int) -> list[Row]:
    """Return the rows of a run with so many sessions in the room, and idle."""
    words = {"some": f"{some:,}", "most": f"{most:,}", "at_once": AT_ONCE}
    return [replace(row, tells=row.tells.format(**words)) for row in ROWS]


@dataclass(frozen=True)
class Plan:
    """How much of all. `some`: sessions in the room; `most`: for memory; `messages`: of each measurement."""

    some: int
    most: int
    messages: int


@dataclass(frozen=True)
class Subject:
    """A server to be measured, and who comes to it: `tokens` for `most` sessions, those of the room first.

    `let_go` waits until it has let go of all who have left. `behind`: what else works for it, processes by name.
    """

    server: Server
    tokens: Sequence[str]
    let_go: Callable[[], None] = lambda: None
    behind: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Room:
    """A server and a crowd whose clients are all in its room."""

    server: Server
    crowd: Crowd

    def deliver(self, messages: int, at_once: int) -> tuple[float, float]:
        """Send so many messages, `at_once` in one write, the next when all have come.

        Returns the server's processor time per delivery, in us, and deliveries per second.
        """
        size = len(self.crowd.clients)
        rounds = max(1, messages // at_once)
        before, begun = cpu_s(self.server.pid), time.perf_counter()
        for _ in range(rounds):
            self.crowd.say(PAYLOAD_BYTES, at_once)
            self.crowd.wait_deliveries(self.crowd.deliveries + at_once * size, _DELIVER_S)
        deliveries = rounds * at_once * size
        rate = deliveries / (time.perf_counter() - begun)
        return (cpu_s(self.server.pid) - before) / deliveries * 1e6, rate


def measure(
    subject: Subject, plan: Plan, limit: Room, rival: Comers | None = None
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Take one server through everything; return its figures by row, and what was taken in turns with them.

    That is the limit's fan-out, and the joins of the rival, who is the peer. Raises `CrowdFailed`.
    """
    server = subject.server
    crowd = Crowd(server.port, server.dialect, PAYLOAD_BYTES)
    figures: dict[str, float] = {}
    try:
        crowd.join(subject.tokens[:_WARM_UP], JOIN_S)
        crowd.leave(_WARM_UP, JOIN_S)
        wait_quiet(server.pid)

        empty = _memory(server)
        room, others = subject.tokens[: plan.some], subject.tokens[plan.some : plan.most]
        figures["joins_first"] = len(room) / crowd.join(room, JOIN_S)
        figures["idle_some"] = (_memory(server) - empty) / len(room) / 1024
        say(f"  {len(room)} are in: {figures['idle_some']:.1f} KB each, {figures['joins_first']:.0f} joins/s")
        crowd.join(others, JOIN_S)
        figures["idle_most"] = (_memory(server) - empty) / plan.most / 1024
        say(f"  {plan.most} are in: {figures['idle_most']:.1f} KB each")
        crowd.leave(len(others), JOIN_S)
        wait_quiet(server.pid)

        found, beside = _fan_out(Room(server, crowd), limit, plan.messages)
        figures |= found

        comers = Comers(crowd, server.pid, room[1:], subject.behind)  # the first stays, so that the room stays known
        comers.leave()
        found, rivals = measure_joins(comers, rival, subject.let_go)
        figures |= found
        if crowd.refusals:
            say(f"  {crowd.refusals} joins were refused and tried again")
        figures["refusals"] = crowd.refusals
    finally:
        crowd.close()
    return figures, {LIMIT: beside, PEER: rivals}


def _memory(server: Server) -> int:
    wait_quiet(server.pid)
    server.collect()
    return resident_bytes(server.pid)


def _fan_out(room: Room, limit: Room, messages: int) -> tuple[dict[str, float], dict[str, float]]:
    """Send messages to the room and to the limit's, in turns; return the medians of both.

    In turns, because what else happens on the machine makes all slower and dearer.
    """
    figures: dict[str, float] = {}
    beside: dict[str, float] = {}
    own_s, before = time.process_time(), room.crowd.deliveries + limit.crowd.deliveries
    for name, at_once in (("one", 1), ("many", AT_ONCE)):
        turns = [(room.deliver(messages, at_once), limit.deliver(messages, at_once)) for _ in range(_REPEATS)]
        for its, one in ((figures, 0), (beside, 1)):
            its[f"cpu_{name}"] = statistics.median(turn[one][0] for turn in turns)
            its[f"rate_{name}"] = statistics.median(turn[one][1] for turn in turns)
        told = f"{figures[f'cpu_{name}']:.2f} us per delivery, {figures[f'rate_{name}']:.0f} deliveries/s"
        say(f"  {at_once} at once: {told}; the limit in turns with it: {beside[f'cpu_{name}']:.2f} us")
    deliveries = room.crowd.deliveries + limit.crowd.deliveries - before
    figures["generator_us"] = (time.process_time() - own_s) / deliveries * 1e6
    return figures, beside


@contextmanager
def open_starling(folder: Path, plan: Plan) -> Iterator[Subject]:
    """Run a cluster with one gateway node, whose process is measured; its people are seeded into the database."""
    with open_cluster(folder, gateways=1, STARLING_GATEWAY__HEARTBEAT_INTERVAL=_HEARTBEAT) as cluster:
        say("  the cluster is up; storing its people")
        sizes = [plan.some, plan.most - plan.some] if plan.most > plan.some else [plan.some]
        seeded = asyncio.run(seed(cluster.address("mongo"), sizes, prefix="room"))
        tokens = Tokens(cluster.secret)
        minted = [tokens.mint(user.id, now_ms()) for one in seeded for user in one.members]
        server = Server(
            cluster.pid("gateway-1"),
            cluster.port("gateway-1"),
            Dialect(join_starling, say_starling(seeded[0].channel.id, overhead_of(seeded[0]))),
            "Starling",
        )
        behind = {name: pid for name, pid in cluster.pids().items() if pid != server.pid}

        def let_go() -> None:
            wait_until(lambda: cluster.bound("gateway-1") <= _STAYING, _LET_GO_S, "letting go of who left")

        yield Subject(server, minted, let_go, behind)


@contextmanager
def _alone(opened: AbstractContextManager[Server], plan: Plan) -> Iterator[Subject]:
    """Run a server that lets in whoever comes."""
    with opened as server:
        yield Subject(server, [""] * plan.most)


@dataclass
class Compared:
    """What came of a comparison: figures by server and row, what each server is, and what kept others out."""

    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    headings: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def leave_out(self, name: str, failure: Exception) -> None:
        """Take in that a server could not be measured, so that the others still are."""
        say(f"{name}: left out, {failure}")
        self.left_out[name] = type(failure).__name__


def run(folder: Path, plan: Plan, only: Sequence[str]) -> Compared:
    """Measure each server, the limit's fan-out in turns with each, the peer's joins with ours.

    Raises `CrowdFailed`, `StartFailed` of the limit.
    """
    subjects: list[tuple[str, Callable[[], AbstractContextManager[Subject]]]] = [
        (LIMIT, lambda: _alone(open_limit(folder, PAYLOAD_BYTES), plan)),
        ("ws", lambda: _alone(open_ws(folder), plan)),
        (PEER, lambda: _alone(open_socket_io(folder), plan)),
        ("fastapi", lambda: _alone(open_fastapi(folder), plan)),
        (OURS, lambda: open_starling(folder, plan)),
    ]
    found = Compared()
    figures = found.figures
    with _open_room(folder, plan) as limit:
        found.headings[LIMIT] = limit.server.tells
        for name, opened in subjects:
            if only and name not in only:
                continue
            say(f"{name}: starting")
            try:
                with (
                    opened() as subject,
                    _open_rival(folder, plan) if name == OURS and PEER in figures else nullcontext() as rival,
                ):
                    say(f"{name}: {subject.server.tells}, pid {subject.server.pid}")
                    figures[name], beside = measure(subject, plan, limit, rival)
            except (CrowdFailed, NotInstalled, StartFailed, OSError) as failure:
                found.leave_out(name, failure)
                continue
            found.headings[name] = subject.server.tells
            # The last stays: ours comes last, and is what ratios are taken of.
            for other, its in beside.items():
                if its:
                    figures[other] = figures.get(other, {}) | its
            figures[name] |= {f"limit_{row}": value for row, value in beside[LIMIT].items()}
    return found


@contextmanager
def _open_room(folder: Path, plan: Plan) -> Iterator[Room]:
    """Run the limit with a room of its own, for as long as the others are measured."""
    with open_limit(folder, PAYLOAD_BYTES) as server:
        crowd = Crowd(server.port, server.dialect, PAYLOAD_BYTES)
        try:
            crowd.join([""] * plan.some, JOIN_S)
            yield Room(server, crowd)
        finally:
            crowd.close()


@contextmanager
def _open_rival(folder: Path, plan: Plan) -> Iterator[Comers]:
    """Run the peer for its joins, after a first time of each."""
    with open_socket_io(folder) as server:
        crowd = Crowd(server.port, server.dialect, PAYLOAD_BYTES)
        try:
            comers = Comers(crowd, server.pid, [""] * (plan.some - 1))
            crowd.join(["", *comers.tokens], JOIN_S)
            comers.leave()
            yield comers
        finally:
            crowd.close()


def main() -> int:
    """Run the comparison: 0, or 1 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gateway", description="Measure the gateway.")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="for peers and data (.bench)")
    parser.add_argument("--some", type=int, default=3000, help="sessions in the room (3000)")
    parser.add_argument("--most", type=int, default=10_000, help="idle sessions (10000)")
    parser.add_argument("--messages", type=int, default=48, help="messages of each of five measurements (48)")
    parser.add_argument("--only", action="append", default=[], choices=SERVERS, help="may be said again")
    chosen = parser.parse_args()
    folder: Path = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if (refusal := raise_file_limit(chosen.some + chosen.most + 200)) is not None:
        print(f"bench: {refusal}", file=sys.stderr)
        return 1
    gc.freeze()
    gc.disable()  # the load generator makes no cycles worth a pause
    plan = Plan(chosen.some, chosen.most, chosen.messages)
    ran = Ran()
    if ran.load_before > 0.5:
        say(f"something else works here (load {ran.load_before:.1f})")
        say("rates are too low, ratios of processor time hold better")
    try:
        found = run(folder, plan, chosen.only)
    except (CrowdFailed, StartFailed, OSError) as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    rows = rows_of(plan.some, plan.most)
    told = {"plan": plan, **asdict(found), "verdicts": verdicts_of(rows, found.figures)}
    path = keep(folder, "gateway", ran, told)
    print(f"\n{table_of(rows, found.figures, found.headings)}")
    print(f"\nframes of {PAYLOAD_BYTES} bytes, a room of {plan.some:,}, {os.cpu_count()} cores")
    spent = ", ".join(
        f"{name} {its['generator_us']:.1f}" for name, its in found.figures.items() if "generator_us" in its
    )
    print(f"the load generator's own CPU, us per delivery: {spent}")
    print(
        f"the limit's fan-out and {PEER}'s joins are what was measured in turns with the last column's; all in {path}"
    )
    return int(bool(found.left_out))


if __name__ == "__main__":
    sys.exit(main())
