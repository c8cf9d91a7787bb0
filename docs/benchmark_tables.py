"""The figures of docs/benchmarks.md, from the results in docs/results, which `take` makes of those of a folder.

Where there is no result yet, what stands in its place stays. Read `docs.generate` next.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import msgspec

from deploy.capacity.__main__ import Compared
from deploy.capacity.model import Machines, Workload, estimate
from deploy.load.record import Part
from deploy.load.report import markdown_of
from docs.markdown import table
from tests.bench import beside, failover, gateway, scale, ten_thousand
from tests.bench.table import lines_of

RESULTS: Final = Path(__file__).parent / "results"
_DIGITS: Final = 4
"""Figures are kept with so many."""
_HUGE: Final = frozenset({"us", "marks"})
"""Left out of what is kept: whole histograms, and what stood at a time."""
_DEAREST: Final = 3
"""Functions of each process that a profile shows."""

Result = Mapping[str, Any]


def take(folder: Path) -> list[Path]:
    """Make the results in docs/results anew from those there are in a folder; return their files.

    Raises `OSError`, and whatever a result raises that is not as its benchmark writes it today; none is taken then.
    """
    kept: dict[Path, str] = {}
    for name in _FIGURES:
        found = folder / name / "result.json"
        if found.exists():
            result = json.loads(found.read_bytes())
            result.pop("seconds", None)  # second by second
            result = small(result)
            _shown(name, result)
            kept[RESULTS / f"{name}.json"] = json.dumps(result, indent=1) + "\n"
    for path, text in kept.items():
        path.write_text(text)
    return list(kept)


def small(value: Any) -> Any:
    """Return a result without what nobody reads in a document, its figures rounded."""
    if isinstance(value, dict):
        return {name: small(its) for name, its in value.items() if name not in _HUGE}
    if isinstance(value, list):
        return [small(its) for its in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def figures_of(name: str) -> str | None:
    """Return the figures of a benchmark as Markdown, and on what it ran; None where there is no result of it."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return None
    return _shown(name, json.loads(path.read_bytes()))


def _shown(name: str, result: Result) -> str:
    return "\n\n".join([_ran(result["about"]), _asked(result), *_FIGURES[name](result)])


def capacity() -> str:
    """Return what a million users would take, and the model beside the measured ten thousand."""
    load, machines = Workload(1_000_000, 40, 30), Machines()
    found = estimate(load, machines)
    first = found.limits[0]
    told = (
        f"A million users of {load.messages_per_user_day:g} messages a day, in groups of {load.group_size:g}, "
        f"{100 * load.online_share:g} % of them online at the busiest hour, which has {load.peak:g} times the day's "
        f"mean: {load.messages_per_s:,.0f} messages/s and {load.deliveries_per_s:,.0f} deliveries/s take "
        f"{found.gateways} gateways, {found.histories} of history, {found.groups} of groups, {found.work.total:.0f} "
        f"cores of work in all, and {found.storage_per_month / 1e9:,.0f} GB of messages a month and copy. First gives "
        f"way {first.name}: at {first.users / 1e6:.1f} million users."
    )
    path = RESULTS / "10k.json"
    return f"{told}\n\n```text\n{Compared(path.read_bytes()).told()}\n```" if path.exists() else told


def _ran(about: Result) -> str:
    """Return on what a benchmark ran, as a sentence."""
    processor = about["processor"].replace("_", "-")
    load = f"load {about['load_before']:.1f} before and {about['load_after']:.1f} after it"
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return f"On {about['cores']} cores ({processor}, {load}), commit {about['commit'] or 'unknown'}; {versions}."


def _asked(result: Result) -> str:
    """Return how much of all was asked for, as a sentence: any benchmark can be given less."""
    own = [one.name for one in fields(ten_thousand.Plan) if one.name != "knee"]
    plan = result.get("plan") or {name: result["about"][name] for name in own}
    return f"Asked for: {' · '.join(f'{name} {_cell(value)}'.replace('_', ' ') for name, value in plan.items())}."


def _gateway(result: Result) -> list[str]:
    figures, plan = result["figures"], result["plan"]
    head, *lines = lines_of(gateway.rows_of(plan["some"], plan["most"]), figures, result["headings"])
    parts = [table(head, lines)]
    for when, of_whom in (("bound", "is bound still"), ("let_go", "was let go")):
        costs = {name: us for name, us in figures.get("starling", {}).items() if name.startswith(f"cpu_{when}")}
        if costs:
            own = costs.pop(f"cpu_{when}")
            behind = sorted(((us, name.removeprefix(f"cpu_{when}_")) for name, us in costs.items()), reverse=True)
            parts.append(
                f"CPU of a join of who {of_whom}, in µs: the gateway {own:.0f}, "
                + ", ".join(f"{name} {us:.0f}" for us, name in behind if us >= 1)
                + f"; in sum {own + sum(costs.values()):.0f}."
            )
    spent = ", ".join(f"{name} {its['generator_us']:.1f}" for name, its in figures.items() if "generator_us" in its)
    return [*parts, f"The load generator's own CPU, µs per delivery: {spent}.", *_left_out(result)]


def _left_out(result: Result) -> list[str]:
    return [f"Left out: {name} ({why})." for name, why in result["left_out"].items()]


def _peers(result: Result) -> list[str]:
    plan = result["plan"]
    head, *lines = lines_of(beside.ROWS, result["figures"], result["headings"])
    return [
        f"A room of {plan['sessions']:,} on two nodes, {plan['messages']} messages to it; {plan['waits']:,} messages "
        f"one at a time, then all couples at once for {plan['seconds']:g} s.",
        table(head, lines),
        *_left_out(result),
    ]


def _ten_thousand(result: Result) -> list[str]:
    about, parts = result["about"], msgspec.convert(result["parts"], list[Part])
    main, steps = parts[2], parts[3:]
    p99 = main.latencies["deliveries"]["p99_ms"]
    must, aim = (_met(p99 < bound) for bound in (ten_thousand.MUST_MS, ten_thousand.AIM_MS))
    told = [
        markdown_of([parts[0], main]),
        f"p99 {p99:.0f} ms: must < {ten_thousand.MUST_MS:g} ms {must}, aim < {ten_thousand.AIM_MS:g} ms {aim}. "
        f"In all: {about['verdict']}.",
    ]
    if knee := about["knee"]:
        rows = [
            (
                step.name,
                f"{step.sent / step.seconds:.0f}",
                f"{step.delivered / step.seconds:,.0f}",
                *(f"{step.latencies['deliveries'][share]:.0f}" for share in ("p50_ms", "p99_ms")),
                f"{sum(step.cpu_s.values()) / step.whole_s:.2f}",
                ", ".join(f"{name} {spent / step.whole_s:.2f}" for name, spent in _dearest(step.cpu_s)),
            )
            for step in steps
        ]
        told += [
            f"The knee: {knee['rate']:.0f} messages/s is the highest rate that was kept with p99 below "
            f"{ten_thousand.AIM_MS:g} ms.",
            table(["asked", "messages/s", "deliveries/s", "p50, ms", "p99, ms", "cores", "of them"], rows),
        ]
        if knee["profile"]:
            lines = [(name, *_split(line)) for name, its in knee["profile"].items() for line in its[:_DEAREST]]
            told += [
                "What the node processes did at that rate:",
                table(["process", "itself", "with what it calls", "function"], lines),
            ]
    return told


def _split(line: str) -> tuple[str, str, str]:
    own, _, rest = line.partition(" itself, ")
    whole, _, function = rest.partition(" with what it calls: ")
    return own.strip(), whole.strip(), f"`{function.replace(' (', '` (', 1)}" + ("" if ")" in function else ")")


def _dearest(cpu_s: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(cpu_s.items(), key=lambda one: -one[1])[:_DEAREST]


def _scale(result: Result) -> list[str]:
    sets = msgspec.convert(result["sets"], dict[str, list[scale.Found]])
    return [part for kind, found in sets.items() for part in (f"By {kind}:", scale.told_of(found))]


def _failover(result: Result) -> list[str]:
    plan, its = result["plan"], result["result"]
    must, aim = (_met(its["seconds"] < bound) for bound in (failover.MUST_S, failover.AIM_S))
    spent = [f"{name} {cpu:.1f}" for name, cpu in sorted(its["cpu_s"].items(), key=lambda one: -one[1]) if cpu >= 0.1]
    felt = [its["others"][when] for when in ("before", "during", "after")]
    rows = [
        (
            f"all {plan['sessions']:,} back",
            f"{its['seconds']:.1f} s (must < {failover.MUST_S:g} s: {must}; aim < {failover.AIM_S:g} s: {aim})",
        ),
        ("each: p50, p99", f"{its['each_s']['p50']:.1f}, {its['each_s']['p99']:.1f} s"),
        ("resumed, identified anew", f"{its['resumed']:,}, {its['identified']:,}"),
        ("CPU of these seconds, s", f"{', '.join(spent)}; in all {sum(its['cpu_s'].values()):.1f}"),
        ("bindings made", f"{its['bound']:,.0f}, {its['binds_per_s']:,.0f}/s"),
        ("events lost, to be read by REST", f"{its['lost']:,}, {its['to_read_by_rest']:,}"),
        (
            "events doubled: with positions in RESUME, without",
            f"{its['doubled']:,}, {its['doubled_without_positions']:,}",
        ),
        *(
            (
                f"latency of the other {plan['groups']}, before, during, after: {share}, ms",
                ", ".join(_number(one.get(f"{share}_ms")) for one in felt),
            )
            for share in ("p50", "p99")
        ),
    ]
    return [table(["", ""], rows)]


def _groups(result: Result) -> list[str]:
    rows = []
    for one in result["rows"]:
        cpu = dict(one["cpu_ms_each"])
        own, database = cpu.pop("groups-1", 0.0), cpu.pop("mongo", 0.0)
        rows.append(
            (
                one["what"],
                _number(one["p50_ms"]),
                _number(one["p99_ms"]),
                _number(one.get("per_s")),
                ", ".join(map(_number, (own, database, sum(cpu.values())))),
            )
        )
    return [table(["", "p50, ms", "p99, ms", "per s", "CPU, ms each: groups, database, others"], rows)]


def _history(result: Result) -> list[str]:
    plan = result["plan"]
    single = min(plan["single"], plan["big"])
    # Only buckets are kept in memory, so only with them "nothing kept" is said.
    ways = {way: {row["what"].replace(", nothing kept", ""): row for row in its} for way, its in result["ways"].items()}
    columns = ("big_p50_ms", "small_p50_ms", "big_cpu_us", "small_cpu_us", "ratio_p50", "ratio_cpu")
    pages = [
        (way, what, *(_number(row[name]) for name in columns))
        for way, rows in ways.items()
        for what, row in rows.items()
        if "ratio_p50" in row
    ]
    most = max(
        row["ratio_p50"] for what, row in ways["buckets"].items() if what.startswith("page: ") and "ratio_p50" in row
    )
    others = [
        (what, *(_told(ways[way].get(what, {})) for way in ways))
        for what, row in ways["buckets"].items()
        if "ratio_p50" not in row
    ]
    return [
        table(["", *ways], others),
        f"The same page in a channel of {plan['big']:,} (of single documents: {single:,}) and in one of "
        f"{plan['small']:,}, in turns. The largest ratio of buckets without a cache is {most:.2f}: must ≤ 1.5 "
        f"{_met(most <= 1.5)}, aim ≤ 1.2 {_met(most <= 1.2)}.",
        table(["", "page", "large: p50, ms", "small: p50", "large: CPU, µs", "small: CPU", "p50 ÷", "CPU ÷"], pages),
    ]


def _told(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_number(row[name])}" for name in row if name != "what")


def _bindings(result: Result) -> list[str]:
    left_out = [f"slots {its['slots']}, partitions {its['partitions']}" for its in result["left_out"]]
    return [*(_rows(result[name]) for name in ("layouts", "rates", "leaving")), *_too_long(left_out)]


def _broker(result: Result) -> list[str]:
    return [*(_rows(result[name]) for name in ("published", "bound")), *_too_long(result["left_out"])]


def _too_long(left_out: Sequence[str]) -> list[str]:
    return [f"Left out, for lack of time: {'; '.join(left_out)}."] if left_out else []


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows with the same fields as a table."""
    return (
        table([name.replace("_", " ") for name in rows[0]], ([_cell(value) for value in row.values()] for row in rows))
        if rows
        else ""
    )


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _number(value) if isinstance(value, int | float) else str(value)


def _number(value: float | None) -> str:
    """Return a figure with as many digits as say something."""
    if value is None:
        return ""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _met(is_met: bool) -> str:
    return "met" if is_met else "not met"


_FIGURES: Final[Mapping[str, Callable[[Result], Iterable[str]]]] = {
    "10k": _ten_thousand,
    "bindings": _bindings,
    "broker": _broker,
    "failover": _failover,
    "gateway": _gateway,
    "groups": _groups,
    "history": _history,
    "peers": _peers,
    "scale": _scale,
}
NAMES: Final = tuple(_FIGURES)
