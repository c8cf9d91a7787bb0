"""What failed and is tried again is told of in few lines."""

from __future__ import annotations

from structlog.testing import capture_logs

from services.gateway.failures import Failures
from tests.waiting import wait_until


async def test_many_failures_are_one_line_with_their_count() -> None:
    """A line is written when its time has come, for all until then; later failures begin another."""
    failures = Failures("following_failed", tell_s=0.01)
    with capture_logs() as logs:
        for number in range(1000):
            failures.note(ValueError(number))
        await wait_until(lambda: len(logs) == 1)
        failures.note(ValueError("again"))
        await wait_until(lambda: len(logs) == 2)
    told = [(one["event"], one["failures"], one["reason"]) for one in logs]
    assert told == [("following_failed", 1000, "ValueError(999)"), ("following_failed", 1, "ValueError('again')")]
