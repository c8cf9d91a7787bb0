"""Pictures of a run, as PNG: latency over time, its distribution, what a message costs. Needs matplotlib.

`pip install "starling[bench]"` has it; nothing else here does, and a load without it tells the same in numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deploy.load.record import Part, Record

mpl.use("agg")  # files, no windows

_SIZE: Final = (11, 6)
_MUST_MS: Final = 500.0
_AIM_MS: Final = 200.0
_MOST_NAMES: Final = 40
"""Marks with their words; where there are more, only the lines are drawn."""


def plot_run(folder: Path, record: Record, part: Part) -> list[Path]:
    """Draw latency over time, and its distribution in one part, into `folder`; return the files. Raises `OSError`."""
    return [
        kept(plot_times(record), folder / "latency.png"),
        kept(plot_spread(part.name, part.latencies), folder / "histogram.png"),
    ]


def plot_parts(folder: Path, parts: Sequence[Part], *, against: str) -> list[Path]:
    """Draw what a message and a delivery cost in each of some parts; return the files. Raises `OSError`."""
    return [kept(plot_costs(parts, against), folder / "cost.png")]


def plot_times(record: Record) -> Figure:
    """Return latencies by second above, rates and who is online below, with a line where something was marked."""
    figure = Figure(figsize=(_SIZE[0], 8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    heard = [second for second in record.seconds if second.p50_ms is not None]
    at = [second.at_s for second in heard]
    for name, values in {
        "slowest": [second.most_ms for second in heard],
        "p99": [second.p99_ms for second in heard],
        "p50": [second.p50_ms for second in heard],
    }.items():
        upper.plot(at, values, label=name, linewidth=1)
    upper.set_yscale("log")
    upper.set_ylabel("due to heard, ms")
    _limits(upper)
    upper.legend(loc="upper right")
    every = [second.at_s for second in record.seconds]
    lower.plot(every, [second.delivered for second in record.seconds], label="deliveries/s", linewidth=1)
    lower.plot(every, [second.online for second in record.seconds], label="online", linewidth=1)
    lower.set_yscale("symlog", linthresh=10)
    lower.set_xlabel("seconds")
    lower.legend(loc="lower right")
    for at_s, text in record.marks:
        for axes in (upper, lower):
            axes.axvline(at_s, color="grey", linewidth=0.7, linestyle="--")
        if len(record.marks) <= _MOST_NAMES:
            upper.annotate(text, (at_s, 1), xycoords=("data", "axes fraction"), rotation=90, va="top", fontsize=7)
    return figure


def plot_spread(name: str, latencies: dict[str, dict[str, Any]]) -> Figure:
    """Return the share of deliveries and acks that took longer than so many ms."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    for kind, told in latencies.items():
        left = told["count"]
        if kind == "joins" or not left:
            continue
        places, shares = [], []
        for us, count in told["us"]:
            places.append(us / 1000)
            shares.append(left / told["count"])
            left -= count
        axes.step(places, shares, where="post", label=f"{kind}: {told['count']:,}", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("ms")
    axes.set_ylabel("share that took longer")
    axes.set_title(name)
    for at_ms, words in ((_AIM_MS, "aim"), (_MUST_MS, "must")):
        axes.axvline(at_ms, color="grey", linewidth=0.7, linestyle=":")
        axes.annotate(words, (at_ms, 1), xycoords=("data", "axes fraction"), rotation=90, va="top", fontsize=7)
    axes.axhline(0.01, color="grey", linewidth=0.7, linestyle=":")
    axes.grid(visible=True, which="major", linewidth=0.3)
    axes.legend()
    return figure


def plot_costs(parts: Sequence[Part], against: str) -> Figure:
    """Return processor time per message, by process, of each part, and p99; a column for each part."""
    figure = Figure(figsize=(_SIZE[0], 8), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(2, 1))
    names = sorted(
        {name for part in parts for name in part.cpu_s}, key=lambda one: (-parts[-1].cpu_s.get(one, 0.0), one)
    )
    labels = [part.name for part in parts]
    floor = [0.0] * len(parts)
    for name in names:
        each = [part.cpu_s.get(name, 0.0) / max(part.sent, 1) * 1000 for part in parts]
        upper.bar(labels, each, bottom=floor, label=name, width=0.6)
        floor = [below + one for below, one in zip(floor, each, strict=True)]
    upper.set_ylabel("CPU ms per message")
    upper.legend(fontsize=7, ncols=2)
    for kind, style in (("p99_ms", "o-"), ("p50_ms", "s-")):
        lower.plot(labels, [part.latencies["deliveries"][kind] for part in parts], style, label=kind[:3])
    lower.set_yscale("log")
    lower.set_ylabel("due to heard, ms")
    lower.set_xlabel(against)
    _limits(lower)
    lower.legend()
    return figure


def _limits(axes: Axes) -> None:
    for at_ms, style in ((_AIM_MS, ":"), (_MUST_MS, "--")):
        axes.axhline(at_ms, color="grey", linewidth=0.7, linestyle=style)
    axes.grid(visible=True, which="major", linewidth=0.3)


def kept(figure: Figure, path: Path) -> Path:
    """Write a picture to a file, and return that. Raises `OSError`."""
    figure.savefig(path, dpi=110)
    return path
