"""`make bench-10k`: ten thousand people online on one machine that everything runs on, and how fast they hear.

`python -m tests.bench.ten_thousand`. Starts a cluster (RabbitMQ, Redis, database, two gateways, one node of history
and of groups, nginx), stores 10,000 users in groups of 50, brings them all online through nginx and lets them say 300
messages a second for five minutes. Every session counts what it hears. `--knee` then asks for more and more, until
p99 is above the aim, and takes a profile of the node processes at the last rate that was well.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.load.company import Company, LoadFailed, Setup, open_company
from deploy.load.console import Progress, keep_result, raise_file_limit, say
from deploy.load.pace import Pace
from deploy.load.people import layout_of
from deploy.load.plan import Stage, stage_of
from deploy.load.record import Part, Record
from deploy.load.report import is_good, table_of, verdict_of
from deploy.load.run import arrive, play
from deploy.local.process import NotInstalled, StartFailed
from tests.bench.profiling import profile
from tests.bench.results import Ran
from tests.bench.starling import Cluster, open_cluster
from tests.bench.townsfolk import seed_people

MUST_MS: Final = 500.0
AIM_MS: Final = 200.0
_COME_S: Final = 240.0
_WARM_S: Final = 10.0
_KNEE_S: Final = 30.0
_STEP: Final = 1.3
_MOST_STEPS: Final = 12
_PROFILE_S: Final = 12
_ENOUGH: Final = 0.97
"""Of what was due must have been said and heard by all, or the rate is not kept."""


@dataclass(frozen=True)
class Plan:
    """How much of all."""

    users: int
    size: int
    rate: float
    minutes: float
    profile: str
    gateways: int
    history: int
    workers: int
    knee: bool


def stage(plan: Plan, rate: float, seconds: float) -> Stage:
    """Return so many messages per second for so long, in the plan's profile."""
    return stage_of(plan.profile, Pace(rate, rate, seconds), pages=Pace(0, 0, seconds), churn_per_s=0, storm_s=0)


async def run(cluster: Cluster, plan: Plan, folder: Path) -> tuple[Record, list[Part], dict[str, Any]]:
    """Do it; return the record, its parts (the measured one is the last before any of the knee), and the knee."""
    begun = time.monotonic()
    people = await seed_people(cluster, plan.users, layout_of(plan.users, plan.size, 1), prefix="c")
    say(f"{plan.users:,} users in {len(people.places):,} groups are stored, after {time.monotonic() - begun:.0f} s")
    setup = Setup(people, (cluster.url,), workers=plan.workers)
    async with open_company(setup, cluster.pids) as company:
        company.on_second = Progress(sys.stderr.isatty()).take
        parts = [await arrive(company, _COME_S)]
        say(f"all are online; a rest and {_WARM_S:g} s of warming up")
        parts.append(await play(company, "warming up", stage(plan, plan.rate / 2, _WARM_S)))
        say(f"{plan.rate:g} messages per second for {plan.minutes:g} minutes")
        parts.append(await play(company, f"{plan.rate:g}/s", stage(plan, plan.rate, 60 * plan.minutes)))
        knee = await _find_knee(company, plan, cluster, folder, parts) if plan.knee else {}
        await company.end()
    return company.record, parts, knee


def is_kept(part: Part, due: float, size: int) -> bool:
    """Whether what was due in a part was said, heard by each of `size` members, and soon enough."""
    is_heard = min(part.sent, part.delivered / size) >= _ENOUGH * due and not part.behind
    return is_heard and part.latencies["deliveries"]["p99_ms"] <= AIM_MS


async def _find_knee(company: Company, plan: Plan, cluster: Cluster, folder: Path, parts: list[Part]) -> dict[str, Any]:
    """Raise the rate until p99 is above the aim, or the rate is not kept; profile the last that was well."""
    good, rate = 0.0, plan.rate / _STEP**3
    for _ in range(_MOST_STEPS):
        parts.append(part := await play(company, f"{rate:.0f}/s", stage(plan, rate, _KNEE_S)))
        say(table_of(part))
        if not is_kept(part, rate * _KNEE_S, plan.size):
            break
        good, rate = rate, rate * _STEP
    if not good:
        return {"rate": 0.0, "profile": {}}
    say(f"a profile at {good:.0f}/s")
    company.do(stage(plan, good, _PROFILE_S + 30.0))
    nodes = {name: pid for name, pid in cluster.pids().items() if name.rpartition("-")[0]}
    told = await profile(nodes, _PROFILE_S, folder / "profiles")
    await company.hush(60)
    return {"rate": good, "profile": told}


def told_of(parts: Sequence[Part], record: Record, knee: dict[str, Any], plan: Plan) -> str:
    """Return what it came to as text."""
    main = parts[2]
    p99 = main.latencies["deliveries"]["p99_ms"]
    good = is_good(record, main.behind)
    lines = ["", *(table_of(part) for part in parts[:3])]
    words = ("met" if p99 < MUST_MS else "NOT MET", "met" if p99 < AIM_MS else "NOT MET")
    lines += [
        f"{plan.users:,} online, {main.sent / main.seconds:.0f} messages/s into groups of {plan.size}, "
        f"{main.delivered / main.seconds:,.0f} deliveries/s: p99 {p99:.0f} ms",
        f"  must < {MUST_MS:g} ms: {words[0]}; aim < {AIM_MS:g} ms: {words[1]}; "
        f"nothing lost, doubled, out of order: {'met' if good else 'NOT MET'}",
        f"  {verdict_of(record, main.behind)}",
    ]
    if knee:
        lines.append(f"the knee: {knee['rate']:.0f} messages/s is the highest rate tried with p99 < {AIM_MS:g} ms")
        lines += [f"  {table_of(part)}" for part in parts[3:]]
        for name, functions in knee["profile"].items():
            lines += [f"  {name} at that rate:", *(f"    {one}" for one in functions)]
    return "\n".join(lines)


def main() -> int:
    """Run it: 0, or 1 when the must was not met or something failed."""
    chosen = _parser().parse_args()
    folder: Path = chosen.folder.resolve()
    (folder / "profiles").mkdir(parents=True, exist_ok=True)
    plan = Plan(
        chosen.users,
        chosen.group_size,
        chosen.rate,
        chosen.minutes,
        chosen.profile,
        chosen.gateways,
        chosen.history,
        chosen.workers,
        chosen.knee,
    )
    ran = Ran()
    if (refusal := raise_file_limit(plan.users // plan.workers + 200)) is not None:
        print(f"bench: {refusal}", file=sys.stderr)
        return 1
    say(f"{plan.users:,} users, {plan.rate:g} messages/s; load of the machine before: {ran.load_before:.1f}")
    try:
        with ExitStack() as stack:
            cluster = stack.enter_context(open_cluster(folder, gateways=plan.gateways, history=plan.history))
            say("the cluster is up; storing its people")
            record, parts, knee = asyncio.run(run(cluster, plan, folder))
    except (LoadFailed, NotInstalled, StartFailed) as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    except ExceptionGroup as failures:
        print(f"bench: {failures.exceptions[0]}", file=sys.stderr)
        return 1
    print(told_of(parts, record, knee, plan))
    about = {**vars(plan), **ran.about(), "knee": knee, "verdict": verdict_of(record, parts[2].behind)}
    keep_result(folder / "10k", record, parts, parts[2], about)
    good = is_good(record, parts[2].behind) and parts[2].latencies["deliveries"]["p99_ms"] < MUST_MS
    return 0 if good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ten_thousand", description="Ten thousand online.")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="for data and results (.bench)")
    parser.add_argument("--users", type=int, default=10_000, help="online at once (10000)")
    parser.add_argument("--group-size", type=int, default=50, help="members of a group (50)")
    parser.add_argument("--rate", type=float, default=300.0, help="messages per second (300)")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (5)")
    parser.add_argument("--profile", choices=("chat", "even"), default="chat", help="as real channels, or even (chat)")
    parser.add_argument("--gateways", type=int, default=2, help="nodes of gateway (2)")
    parser.add_argument("--history", type=int, default=1, help="nodes of history (1)")
    parser.add_argument("--workers", type=int, default=2, help="processes of the load (2)")
    parser.add_argument("--knee", action="store_true", help="then find the highest rate with p99 < 200 ms; profile it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
