"""What a replay shows: its progress on standard error, and the table at its end.

`table_of` is pure. Progress is a bar on a terminal and a line every few seconds elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, TextIO

from deploy.replay.play import Replay, Report

_BAR: Final = 30
_TERMINAL_S: Final = 0.2
_PLAIN_S: Final = 5.0


async def show_progress(replay: Replay, out: TextIO) -> None:
    """Say how far a replay is, until cancelled."""
    is_terminal = out.isatty()
    before = ""
    try:
        while True:
            text = progress_of(replay.phase, replay.done, replay.wanted, replay.deliveries)
            if is_terminal:
                out.write(f"\r\x1b[K{text}")
            elif text != before:
                out.write(f"{text}\n")
            out.flush()
            before = text
            await asyncio.sleep(_TERMINAL_S if is_terminal else _PLAIN_S)
    finally:
        if is_terminal:
            out.write("\r\x1b[K")
            out.flush()


def progress_of(phase: str, done: int, wanted: int, deliveries: int) -> str:
    """Return one line that says how far it is."""
    full = _BAR * done // wanted if wanted else 0
    return f"{phase:<16} [{'#' * full}{'.' * (_BAR - full)}] {done}/{wanted}  {deliveries} deliveries"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of them lies (nearest rank), 0 of none. `values` are sorted."""
    return values[min(int(share * len(values)), len(values) - 1)] if values else 0.0


def table_of(report: Report) -> str:
    """Return the table: a row for each log and one for all, then how fast it was and what else happened."""
    head = (
        "log", "messages", "deliveries", "owed", "lost", "doubled", "repeated", "unordered", "uninvited", "wrong",
        "unsent", "unlike log", "pages", "unlike pages",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = [head]
    named = [*report.verdicts.items(), *([("all", report.total)] if len(report.verdicts) > 1 else [])]
    for name, one in named:
        figures = (
            one.messages, one.deliveries, one.owed, one.lost, one.doubled, one.repeated, one.unordered,
            one.uninvited, one.wrong, one.unsent, one.unlike_log, one.pages, one.unlike_pages,
        )  # fmt: skip
        rows.append((name, *map(str, figures)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            (row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)))
        )
        for row in rows
    ]
    return "\n".join([*lines, "", *_speed_of(report), *_rest_of(report), "", _sentence_of(report)])


def _speed_of(report: Report) -> list[str]:
    total = report.total
    lines = []
    for what, values in (("ack", sorted(report.acks_s)), ("delivery", sorted(report.deliveries_s))):
        p50, p99 = (f"{1000 * percentile(values, share):.1f}" for share in (0.5, 0.99))
        lines.append(f"{what + ' latency':<18}p50 {p50} ms, p99 {p99} ms, of {len(values)}")
    sent = total.messages / report.seconds if report.seconds else 0
    heard = total.deliveries / report.heard_s if report.heard_s else 0
    lines.append(f"{'speed':<18}{sent:.0f} messages/s, {heard:.0f} deliveries/s, in {report.seconds:.1f} s")
    return lines


def _rest_of(report: Report) -> list[str]:
    counts = report.counts
    lines = [
        f"{'users':<18}{report.users}, {report.joins} joins, {report.leaves} leaves",
        f"{'faults met':<18}{counts.reconnects} reconnects ({counts.told_to_reconnect} when told to), "
        f"{counts.retries} retries, {counts.excused} cut while leaving",
        f"{'sessions':<18}{counts.resumes} resumed, {counts.begun_anew} begun anew after INVALID_SESSION: "
        f"{counts.refetched} refetched, {counts.seen_again} seen again",
        f"{'behind':<18}{report.total.early} deliveries of what was acknowledged before the join",
        f"{'after a join':<18}{counts.caught_up} read from the channel's events",
    ]
    if report.total.repeated:
        age_ms = 1000 * counts.oldest_repeat_s
        lines.append(f"{'repeated':<18}{report.total.repeated}, first heard up to {age_ms:.0f} ms before the loss")
    if report.skipped:
        skipped = ", ".join(f"{count} {why}" for why, count in sorted(report.skipped.items()))
        lines.append(f"{'lines skipped':<18}{skipped}")
    return lines + [f"problem: {one}" for one in report.problems]


def _sentence_of(report: Report) -> str:
    if report.is_good:
        return "proved: every member received exactly once, in order, what it had to; history equals the log"
    return "NOT proved"
