"""What a run came to, as text and as JSON.

Core: an outcome in, text out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tests.chaos.judging import CHECKS, PROMISES
from tests.chaos.run import Outcome
from tests.chaos.schedule import Fault

_SHOWN: Final = 20


def schedule_of(faults: Sequence[Fault]) -> str:
    """Return a schedule, a line for each fault."""
    return "\n".join(f"  {fault.at:6.1f} s  {fault.number:>3}  {fault}" for fault in faults)


def told_of(outcome: Outcome) -> str:
    """Return what came of a run: each promise, what was excepted, what broke when and by what, and the verdict."""
    verdict, counts = outcome.verdict, outcome.counts
    lines = ["", "promise                                              judged    broken"]
    for number, promise in PROMISES.items():
        broken = sum(one.promise == number for one in verdict.broken)
        lines.append(f"{number} {promise:<66}{broken:>2}".rstrip())
        for kind, count in verdict.checked.items():
            if CHECKS[kind] == number:
                lines.append(f"    {kind:<47}{count:>8}")
    lines.append("")
    lines += [f"{what:<17}{number}" for what, number in verdict.counts.items()]
    lines.append(f"{'people':<17}{outcome.people}, who said each script {outcome.rounds:.1f} times or more")
    lines.append(
        f"{'sessions':<17}{counts.resumes} resumed, {counts.begun_anew} begun anew after INVALID_SESSION, "
        f"{counts.reconnects} reconnects ({counts.told_to_reconnect} when told to), {counts.retries} retries"
    )
    made = ", ".join(f"{what}{f' ×{times}' if times > 1 else ''}" for what, times in sorted(outcome.made.items()))
    lines.append(f"{'faults':<17}{sum(outcome.made.values())}: {made or 'none'}")
    lines += [f"{'excepted':<17}{number} × {what}" for what, number in sorted(verdict.excepted.items())]
    for one in verdict.broken[:_SHOWN]:
        lines.append(f"BROKEN {one.promise} at {one.at:.2f} s: {one.what}")
        lines.append(f"       during {one.during}")
    if len(verdict.broken) > _SHOWN:
        lines.append(f"... and {len(verdict.broken) - _SHOWN} more")
    lines += [f"PROBLEM {one}" for one in outcome.problems[:_SHOWN]]
    if len(outcome.problems) > _SHOWN:
        lines.append(f"... and {len(outcome.problems) - _SHOWN} more")
    if verdict.unchecked:
        lines.append(f"NOT JUDGED, since there were none: {', '.join(verdict.unchecked)}")
    lines += ["", "every promise was kept" if outcome.is_good else "NOT proved"]
    return "\n".join(lines)


def json_of(outcome: Outcome) -> dict[str, Any]:
    """Return the same for machines."""
    verdict = outcome.verdict
    return {
        "good": outcome.is_good,
        "checked": dict(verdict.checked),
        "broken": [
            {"promise": one.promise, "at": one.at, "what": one.what, "during": one.during} for one in verdict.broken
        ],
        "excepted": dict(verdict.excepted),
        "problems": outcome.problems,
        "counts": dict(verdict.counts),
        "faults": dict(outcome.made),
        "rounds": outcome.rounds,
    }
