"""The record of a run: what happened second by second, and in sum.

Core: takes what the workers told, and what processes used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from deploy.load.counts import Counts
from deploy.load.heard import Tally
from deploy.load.histogram import Histogram, merged
from deploy.load.plan import Report
from deploy.load.usage import Used


class Second(msgspec.Struct, frozen=True):
    """One second, told at `at_s` after the begin. Counts are of this second; latencies in ms, None where none."""

    at_s: float
    online: int
    here: int
    unanswered: int
    sent: int
    acked: int
    delivered: int
    pages: int
    p50_ms: float | None
    p99_ms: float | None
    most_ms: float | None
    ack_p99_ms: float | None
    lost: int
    """connections"""
    load_cpu_s: float
    """The load's own processor time up to now."""
    used: dict[str, Used]
    """What each watched process used up to now."""


_NOTHING: Final = Second(0.0, 0, 0, 0, 0, 0, 0, 0, None, None, None, None, 0, 0.0, {})


class Part(msgspec.Struct, frozen=True):
    """What a part of a run came to: the arrival, or one stage."""

    name: str
    seconds: float
    """of work, without the silence behind it"""
    online: int
    sent: int
    acked: int
    delivered: int
    pages: int
    behind: int
    """events that some session had not heard in the end"""
    latencies: dict[str, dict[str, Any]]
    """deliveries, acks, joins, pages: percentiles in ms, and all counts in us"""
    cpu_s: dict[str, float]
    """Processor time of each process until all was heard; `load` is the load's own."""
    memory: dict[str, int]
    """Resident bytes when the work ended."""
    whole_s: float
    """with the silence behind it: what `cpu_s` was used in"""


_LATENCIES: Final = ("deliveries", "acks", "joins", "pages")


class Record:
    """What happened in a run so far."""

    def __init__(self) -> None:
        self.seconds: list[Second] = []
        self.marks: list[tuple[float, str]] = []
        self.counts = Counts()
        self.tally = Tally()
        self.unanswered = 0
        """Messages without an answer when all was over."""
        self._load_memory = 0
        self._latencies = {name: Histogram() for name in _LATENCIES}
        self._name = ""
        self._first = Counts()
        self._from = self._to = _NOTHING

    def start_part(self, name: str) -> None:
        """Begin to sum up anew."""
        self._name = name
        self._latencies = {name: Histogram() for name in _LATENCIES}
        self._first = self.counts
        self._from = self._to = self.seconds[-1] if self.seconds else _NOTHING

    def stop_work(self) -> None:
        """Take in that the work of this part is done, though not all of it was heard."""
        self._to = self.seconds[-1] if self.seconds else _NOTHING

    def end_part(self, *, behind: int) -> Part:
        """Return what came since `start_part`."""
        counts, before, start, stop = self.counts, self._first, self._from, self._to
        # What is still to be stored and told when the work ends costs as much as what was in time.
        end = self.seconds[-1] if self.seconds else _NOTHING
        cpu_s = {name: used.cpu_s - start.used.get(name, Used()).cpu_s for name, used in end.used.items()}
        return Part(
            self._name,
            stop.at_s - start.at_s,
            stop.online,
            counts.sent - before.sent,
            counts.acked - before.acked,
            counts.delivered - before.delivered,
            counts.pages - before.pages,
            behind,
            {name: figures_of(its) for name, its in self._latencies.items()},
            {**cpu_s, "load": end.load_cpu_s - start.load_cpu_s},
            {**{name: used.memory for name, used in stop.used.items()}, "load": self._load_memory},
            end.at_s - start.at_s,
        )

    def take(self, at_s: float, fresh: Sequence[Report], lasts: Sequence[Report], used: Mapping[str, Used]) -> Second:
        """Take in what came since the last time (`fresh`), the last that each worker told, and what was used."""
        now = {name: merged(getattr(report, name) for report in fresh) for name in _LATENCIES}
        for name, histogram in now.items():
            self._latencies[name].add(histogram.counts)
        before, self.counts, self.tally = self.counts, Counts(), Tally()
        for report in lasts:
            _add(self.counts, report.counts)
            _add(self.tally, report.tally)
        self._load_memory = sum(report.memory for report in lasts)
        second = Second(
            round(at_s, 3),
            sum(report.online for report in lasts),
            sum(report.here for report in lasts),
            sum(report.unanswered for report in lasts),
            self.counts.sent - before.sent,
            self.counts.acked - before.acked,
            self.counts.delivered - before.delivered,
            self.counts.pages - before.pages,
            _ms(now["deliveries"], 0.5),
            _ms(now["deliveries"], 0.99),
            _ms(now["deliveries"], 1.0),
            _ms(now["acks"], 0.99),
            self.counts.lost - before.lost,
            sum(report.cpu_s for report in lasts),
            dict(used),
        )
        self.seconds.append(second)
        return second


def _ms(histogram: Histogram, share: float) -> float | None:
    return histogram.percentile(share) / 1000 if histogram.total else None


def _add(whole: Counts | Tally, part: Counts | Tally) -> None:
    for name in part.__struct_fields__:
        setattr(whole, name, getattr(whole, name) + getattr(part, name))


def figures_of(histogram: Histogram) -> dict[str, Any]:
    """Return a histogram as it stands in a result: percentiles in ms, and the counts themselves in us."""
    shares = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p999_ms": 0.999, "max_ms": 1.0}
    told: dict[str, Any] = {"count": histogram.total}
    told |= {name: histogram.percentile(share) / 1000 for name, share in shares.items()}
    told["us"] = list(histogram.steps())
    return told
