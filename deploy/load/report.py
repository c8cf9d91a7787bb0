"""What a run shows: a line each few seconds while it goes on, a table at its end, a JSON text of all of it.

Core: values in, text out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from deploy.load.record import Part, Record, Second

_LATENCIES: Final = {"deliveries": "said to heard", "acks": "said to acknowledged", "joins": "joins", "pages": "pages"}
_MEGABYTE: Final = 1 << 20
_LITTLE: Final = 0.005
"""Cores of a process that is left out."""


def line_of(second: Second, cpu_s: float) -> str:
    """Return one line of progress. `cpu_s`: the load's own processor time in this second."""
    latency = "" if second.p50_ms is None else f", p50 {second.p50_ms:.0f} ms, p99 {second.p99_ms:.0f} ms"
    return (
        f"{second.at_s:6.0f} s  {second.online:,}/{second.here:,} online, said {second.sent}/s, heard "
        f"{second.delivered:,}/s{latency}, {second.unanswered} unanswered, load {100 * cpu_s:.0f} % of a core"
    )


def table_of(part: Part) -> str:
    """Return what one part came to, as text."""
    lines = [
        f"{part.name}: {part.seconds:.0f} s, {part.online:,} online, {part.sent:,} messages "
        f"({part.sent / part.seconds:.0f}/s), {part.delivered:,} deliveries ({part.delivered / part.seconds:,.0f}/s)"
        if part.seconds
        else part.name
    ]
    for name, told in _LATENCIES.items():
        its = part.latencies[name]
        if its["count"]:
            lines.append(
                f"  {told:<21}p50 {its['p50_ms']:.1f} ms, p90 {its['p90_ms']:.1f}, p99 {its['p99_ms']:.1f}, "
                f"p99.9 {its['p999_ms']:.1f}, max {its['max_ms']:.1f}  ({its['count']:,})"
            )
    if part.seconds:
        lines.append("  process            cores   memory, MB   CPU us per delivery")
        each = max(part.delivered, 1)
        for name, spent in sorted(part.cpu_s.items(), key=lambda item: -item[1]):
            memory = part.memory.get(name, 0) / _MEGABYTE
            per = f"{spent / each * 1e6:8.1f}" if part.delivered else ""
            lines.append(f"  {name:<18}{spent / part.whole_s:6.2f}   {memory:10.0f}   {per}")
    return "\n".join(lines)


def markdown_of(parts: Sequence[Part]) -> str:
    """Return parts side by side, as a table of Markdown for a document."""
    names = sorted(
        {name for part in parts for name in part.cpu_s}, key=lambda one: (-parts[-1].cpu_s.get(one, 0.0), one)
    )
    rows = [
        ["", *(part.name for part in parts)],
        ["---"] * (len(parts) + 1),
        ["online", *(f"{part.online:,}" for part in parts)],
        ["messages/s", *(_rate(part, part.sent) for part in parts)],
        ["deliveries/s", *(_rate(part, part.delivered) for part in parts)],
    ]
    for name, told in _LATENCIES.items():
        each = [part.latencies[name] for part in parts]
        if any(its["count"] for its in each):
            shown = [
                f"{its['p50_ms']:.0f}, {its['p99_ms']:.0f}, {its['max_ms']:.0f}" if its["count"] else "" for its in each
            ]
            rows.append([f"{told}: p50, p99, max, ms", *shown])
    for name in names:
        cores = [part.cpu_s.get(name, 0.0) / part.whole_s if part.whole_s else 0.0 for part in parts]
        memory = [part.memory.get(name, 0) / _MEGABYTE for part in parts]
        if max(cores) >= _LITTLE:
            rows.append(
                [f"{name}: cores, MB", *(f"{one:.2f}, {its:.0f}" for one, its in zip(cores, memory, strict=True))]
            )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _rate(part: Part, count: int) -> str:
    return f"{count / part.seconds:,.0f}" if part.seconds else ""


def verdict_of(record: Record, behind: int) -> str:
    """Return what was lost, twice, out of order: one line of words."""
    tally, counts = record.tally, record.counts
    told = {
        "lost": tally.lost + behind,
        "doubled": tally.doubled,
        "out of order": tally.unordered,
        "uninvited": tally.astray,
        "never acknowledged": record.unanswered,
        "refused": counts.rejected,
        "not sent": counts.withheld,
    }
    others = {
        "sessions resumed": counts.resumed,
        "connections lost": counts.lost,
        "ways in refused": counts.refused,
        "sessions begun anew": counts.invalid,
        "events left to REST": tally.unread,
        "pages failed": counts.pages_failed,
        "gone for good": counts.expelled,
    }
    faults = ", ".join(f"{name} {number:,}" for name, number in told.items())
    return faults + "".join(f"; {name} {number:,}" for name, number in others.items() if number)


def is_good(record: Record, behind: int) -> bool:
    """Whether every session heard everything once and in order, and every message was answered."""
    counts = record.counts
    unsaid = record.unanswered + counts.rejected + counts.withheld + counts.expelled
    return record.tally.is_good and not behind and not unsaid


def result_of(record: Record, parts: Sequence[Part], about: Mapping[str, Any]) -> bytes:
    """Return all of it as JSON: `about` the run, its parts, its seconds, marks, sums."""
    return msgspec.json.format(
        msgspec.json.encode(
            {
                "about": dict(about),
                "parts": list(parts),
                "tally": record.tally,
                "counts": record.counts,
                "unanswered": record.unanswered,
                "marks": record.marks,
                "seconds": record.seconds,
            }
        ),
        indent=1,
    )
