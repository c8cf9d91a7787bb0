"""`make bench-bindings`: user slots and exchange partitions on a RabbitMQ of its own.

`python -m tests.bench.bindings`. What is measured says `tests.bench.layouts`; layouts that time does not allow are left
out, which is told. What came of it: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from deploy.local.process import NotInstalled, StartFailed
from shared.logs import configure_logs
from tests.bench.layouts import (
    Layout,
    Leaving,
    Measured,
    Plan,
    Rate,
    measure_layout,
    measure_leaving,
    measure_rate,
)
from tests.bench.process import wait_quiet
from tests.bench.results import Ran, keep
from tests.servers import start_rabbitmq

SLOTS: Final = ((0, False), (256, False), (256, True), (1024, False), (1024, True))
"""How many, and whether a front door steers by them."""
PARTITIONS: Final = (1, 8, 32)
_MOST_S: Final = 225.0
_LAYOUT_S: Final = 60.0


@dataclass
class Report:
    """All figures of a run."""

    plan: Plan
    rates: list[Rate] = field(default_factory=list)
    leaving: list[Leaving] = field(default_factory=list)
    layouts: list[Measured] = field(default_factory=list)
    left_out: list[Layout] = field(default_factory=list)


def layouts_of(slots: Sequence[tuple[int, bool]], partitions: Sequence[int]) -> list[Layout]:
    """Return all layouts; those of one exchange first, since they matter most."""
    return [Layout(count, parts, is_steered) for parts in partitions for count, is_steered in slots]


async def measure(url: str, pid: int, plan: Plan, layouts: Sequence[Layout], most_s: float) -> Report:
    """Measure everything, each when the broker has come to rest; leave out what `most_s` does not allow."""
    report, ends = Report(plan), time.monotonic() + most_s
    for unbinds in (False, True):
        report.leaving.append(await measure_leaving(url, pid, plan, unbinds=unbinds))
        await asyncio.to_thread(wait_quiet, pid)
    for partitions in dict.fromkeys(layout.partitions for layout in layouts):
        report.rates.append(await measure_rate(url, pid, partitions, plan))
        await asyncio.to_thread(wait_quiet, pid)
    for layout in layouts:
        try:
            async with asyncio.timeout(min(_LAYOUT_S, ends - time.monotonic())):
                report.layouts.append(await measure_layout(url, pid, layout, plan))
        except TimeoutError:
            report.left_out.append(layout)
        await asyncio.to_thread(wait_quiet, pid, max(0.0, min(20.0, ends - time.monotonic())))
    return report


def table_of(rows: Sequence[Any]) -> str:
    """Return rows of one dataclass as a table in Markdown, their fields as headings."""
    names = [one.name for one in fields(rows[0])]
    lines = [names, ["---"] * len(names), *([_text(getattr(row, name)) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
    return str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it: 0, or 1 when RabbitMQ could not be had or a layout was left out."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bindings", description="Measure bindings.")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="for results (.bench)")
    parser.add_argument("--users", type=int, default=Plan.users, help=f"of each node ({Plan.users})")
    parser.add_argument("--events", type=int, default=Plan.events, help=f"direct messages ({Plan.events})")
    parser.add_argument("--rates", type=int, default=Plan.rates, help=f"keys bound at once ({Plan.rates})")
    chosen = parser.parse_args(arguments)
    plan = Plan(chosen.users, chosen.events, chosen.rates)
    configure_logs("console", "error")
    ran = Ran()
    with tempfile.TemporaryDirectory(prefix="starling-bench-") as folder, ExitStack() as stack:
        try:
            url, pid = start_rabbitmq(Path(folder), stack)
        except (NotInstalled, StartFailed) as failure:
            print(failure, file=sys.stderr)
            return 1
        report = asyncio.run(measure(url, pid, plan, layouts_of(SLOTS, PARTITIONS), _MOST_S))
    for rows in (report.rates, report.leaving, report.layouts):
        if rows:
            print(f"\n{table_of(rows)}")
    for layout in report.left_out:
        print(f"left out for lack of time: {layout}", file=sys.stderr)
    print(f"\nall in {keep(chosen.folder, 'bindings', ran, asdict(report))}")
    return int(bool(report.left_out))


if __name__ == "__main__":
    sys.exit(main())
