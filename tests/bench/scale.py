"""`make bench-scale`: the same work on more nodes, in larger groups, in more groups; what a message costs there.

`python -m tests.bench.scale`. Each line has people of its own, asked for the same number of deliveries per second.
Compared is processor time, which others on the machine disturb least; since it varies by the hour all the same, the
lines of a set are measured in turns, several times, and each line's median is told.

- nodes: 1, 2 and 4 gateways, 1 and 2 nodes of history. A message costs each gateway that has listeners a copy.
- sizes: groups of 10 to 10,000, everybody in one; fewer messages into larger groups.
- groups: users in 1, 10 and 100 groups of 10, of which as many are talked in; and all of them.

How a page costs over the length of a channel: `make bench-history`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from deploy.load.company import LoadFailed, Setup, open_company
from deploy.load.console import Progress, raise_file_limit, say
from deploy.load.pace import Pace
from deploy.load.people import layout_of
from deploy.load.plan import stage_of
from deploy.load.record import Part
from deploy.load.report import is_good, table_of, verdict_of
from deploy.load.run import arrive, play
from deploy.local.process import NotInstalled, StartFailed
from tests.bench.results import Ran, keep
from tests.bench.starling import Cluster, open_cluster
from tests.bench.townsfolk import seed_people

_COME_S: Final = 300.0
_WARM_S: Final = 5.0
_OPENING: Final = 256
"""Sessions on their way in at once, where users are in one group."""
_SETS: Final = ("nodes", "sizes", "groups")


@dataclass(frozen=True)
class Line:
    """One measurement: `users` in groups of `size`, each in `groups_each`, on so many nodes.

    `talked_in`: so many of the groups; 0: all of them.
    """

    name: str
    users: int
    size: int
    groups_each: int = 1
    gateways: int = 1
    history: int = 1
    talked_in: int = 0


@dataclass(frozen=True)
class Plan:
    """How much of all: users in the lines about nodes and sizes, deliveries per second, seconds of each line.

    `rounds`: how often each line is measured.
    """

    users: int
    deliveries_per_s: float
    most_messages_per_s: float
    seconds: float
    workers: int
    rounds: int


Found = tuple[Line, Part, bool]
"""A line, what it came to, and whether everybody heard everything once and in order."""


def lines_of(kind: str, plan: Plan) -> list[Line]:
    """Return the lines of one set, in order."""
    if kind == "nodes":
        counts = ((1, 1), (2, 1), (4, 1), (1, 2), (2, 2))
        return [Line(f"{one} gw, {two} hist", plan.users, 50, gateways=one, history=two) for one, two in counts]
    if kind == "sizes":
        sizes = [size for size in (10, 100, 1000, 10_000) if size <= plan.users]
        return [Line(f"groups of {size:,}", plan.users, size) for size in sizes]
    users = max(100, plan.users // 10)
    alike = [Line(f"in {each} groups", users, 10, groups_each=each, talked_in=users // 10) for each in (1, 10, 100)]
    return [*alike, Line("in 100 groups, all talked in", users, 10, groups_each=100)]


async def measure(cluster: Cluster, line: Line, plan: Plan) -> tuple[Part, bool]:
    """Bring a line's people online and let them talk; return what it came to, and whether all was heard once."""
    layout = layout_of(line.users, line.size, line.groups_each)
    people = await seed_people(cluster, line.users, layout, prefix=f"s{line.size}x{line.groups_each}_")
    people = replace(people, places=people.places[: line.talked_in or None])
    rate = min(plan.deliveries_per_s / line.size, plan.most_messages_per_s)
    # Coming online is not what is measured; many at once who are in many groups are a storm of its own.
    setup = Setup(people, (cluster.url,), workers=plan.workers, opening=max(4, _OPENING // line.groups_each))
    async with open_company(setup, cluster.pids) as company:
        company.on_second = Progress(sys.stderr.isatty()).take
        await arrive(company, _COME_S)
        for name, seconds in (("warming up", _WARM_S), (line.name, plan.seconds)):
            stage = stage_of("even", Pace(rate, rate, seconds), pages=Pace(0, 0, 0), churn_per_s=0, storm_s=0)
            part = await play(company, name, stage)
        await company.end()
    say(table_of(part))
    say(f"  {verdict_of(company.record, part.behind)}")
    return part, is_good(company.record, part.behind)


def run(folder: Path, kind: str, plan: Plan) -> list[Found]:
    """Measure all lines of a set once; those of equal clusters on one. Raises `LoadFailed`, `StartFailed`."""
    found = []
    for (gateways, history), lines in groupby(lines_of(kind, plan), lambda line: (line.gateways, line.history)):
        with open_cluster(folder, gateways=gateways, history=history) as cluster:
            for line in lines:
                say(f"{kind}: {line.name}")
                found.append((line, *asyncio.run(measure(cluster, line, plan))))
    return found


def costs_of(part: Part) -> dict[str, float]:
    """Return processor time by kind of process, in us per delivery; `all` is the sum without the load's own."""
    costs: dict[str, float] = {}
    for name, seconds in part.cpu_s.items():
        kind = name.rpartition("-")[0] or name
        costs[kind] = costs.get(kind, 0.0) + seconds / max(part.delivered, 1) * 1e6
    return costs | {"all": sum(costs.values()) - costs["load"]}


def _cost(part: Part) -> float:
    return costs_of(part)["all"]


def medians_of(found: Sequence[Found]) -> list[Found]:
    """Return of each line the round with the median of the costs, and whether all its rounds were good."""
    rounds: dict[Line, list[Found]] = {}
    for one in found:
        rounds.setdefault(one[0], []).append(one)
    return [
        (line, sorted((part for _, part, _ in its), key=_cost)[(len(its) - 1) // 2], all(good for _, _, good in its))
        for line, its in rounds.items()
    ]


def told_of(found: Sequence[Found]) -> str:
    """Return a set's figures as a table of Markdown: the median of each line's rounds."""
    kinds = ("all", "gateway", "nginx", "history", "groups", "mongo", "rabbitmq", "redis", "load")
    head = ["us of CPU per delivery", "messages/s", "deliveries/s", "p50, p99 ms", *kinds]
    rows = [head, ["---"] * len(head)]
    for line, part, good in medians_of(found):
        costs = costs_of(part)
        its = part.latencies["deliveries"]
        rows.append(
            [
                line.name + ("" if good else " (NOT GOOD)"),
                f"{part.sent / part.seconds:.1f}",
                f"{part.delivered / part.seconds:,.0f}",
                f"{its['p50_ms']:.0f}, {its['p99_ms']:.0f}",
                *(f"{costs.get(kind, 0.0):,.1f}" for kind in kinds),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> int:
    """Run it: 0, or 1 when something was lost or failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description="The same work on more of all.")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="for data and results (.bench)")
    parser.add_argument("--only", action="append", choices=_SETS, default=[], help="this set only; may be said again")
    parser.add_argument("--users", type=int, default=10_000, help="online, where not groups per user count (10000)")
    parser.add_argument("--deliveries", type=float, default=5000.0, help="per second in each line (5000)")
    parser.add_argument("--most-messages", type=float, default=100.0, help="per second at most (100)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each line (30)")
    parser.add_argument("--workers", type=int, default=2, help="processes of the load (2)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each line is measured (3)")
    chosen = parser.parse_args()
    folder: Path = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(chosen.users, chosen.deliveries, chosen.most_messages, chosen.seconds, chosen.workers, chosen.rounds)
    if (refusal := raise_file_limit(plan.users // plan.workers + 200)) is not None:
        print(f"bench: {refusal}", file=sys.stderr)
        return 1
    ran = Ran()
    found: dict[str, list[Found]] = {}
    try:
        for kind in chosen.only or _SETS:
            found[kind] = [one for _ in range(plan.rounds) for one in run(folder, kind, plan)]
    except (LoadFailed, NotInstalled, StartFailed) as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    except ExceptionGroup as failures:
        print(f"bench: {failures.exceptions[0]}", file=sys.stderr)
        return 1
    for kind, its in found.items():
        print(f"\n{kind}\n\n{told_of(its)}")
    say(f"all of it is in {keep(folder, 'scale', ran, {'plan': plan, 'sets': found})}")
    _plot(folder / "scale", found)
    return 0 if all(good for its in found.values() for _, _, good in its) else 1


def _plot(folder: Path, found: Mapping[str, Sequence[Found]]) -> None:
    try:
        from deploy.load.plots import plot_parts
    except ImportError:
        return
    for kind, its in found.items():
        (folder / kind).mkdir(exist_ok=True)
        for path in plot_parts(folder / kind, [part for _, part, _ in medians_of(its)], against=kind):
            say(f"a plot is in {path}")


if __name__ == "__main__":
    sys.exit(main())
