"""The record of a run: seconds, parts and sums of what workers tell, and how they are shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.load.counts import Counts
from deploy.load.heard import Tally
from deploy.load.plan import Report
from deploy.load.plots import plot_parts, plot_run
from deploy.load.record import Part, Record
from deploy.load.report import is_good, line_of, markdown_of, result_of, table_of, verdict_of
from deploy.load.usage import Used


def told(sent: int, latency_us: int, tally: Tally | None = None) -> Report:
    """Return what one of two workers tells when it has sent so many messages, each heard by four."""
    counts = Counts(sent=sent, acked=sent, delivered=4 * sent)
    return Report(5, 5, 0, counts, tally or Tally(), {latency_us: 4}, {latency_us: 1}, {}, {}, 0.25 * sent, 1 << 20)


def played(tally: Tally | None = None) -> tuple[Record, Part]:
    """Return a record of one second of warming up, two of work and one of silence, and the part of the last three."""
    record = Record()
    for second, sent in enumerate((10, 20, 40)):
        if second == 1:
            record.marks.append((1.0, "kill -9 gateway-1"))
            record.start_part("work")
        reports = [told(sent, 100, tally), told(sent, 200)]
        record.take(second + 1.0, reports, reports, {"gateway-1": Used(second + 0.5, 3 << 20)})
    record.stop_work()
    record.take(4.0, [], reports, {"gateway-1": Used(3.5, 5 << 20)})
    return record, record.end_part(behind=0)


def test_a_part_is_what_came_in_it() -> None:
    """Counts, latencies and processor time are those since its begin, over all workers, until all was heard."""
    _, part = played()
    assert (part.seconds, part.whole_s) == (2.0, 3.0)
    assert (part.seconds, part.sent, part.acked, part.delivered) == (2.0, 60, 60, 240)
    assert part.latencies["deliveries"]["count"] == 16
    assert part.latencies["deliveries"]["max_ms"] == pytest.approx(0.2)
    assert part.cpu_s == {"gateway-1": 3.0, "load": 15.0}
    assert part.memory == {"gateway-1": 3 << 20, "load": 2 << 20}


def test_a_second_is_what_is_new_in_it() -> None:
    """Rates of a second are differences, latencies those of the second."""
    record, _ = played()
    assert [second.sent for second in record.seconds] == [20, 20, 40, 0]
    assert record.seconds[0].p50_ms == pytest.approx(0.1)
    assert "said 40/s" in line_of(record.seconds[2], 0.5)


def test_one_lost_event_is_no_good() -> None:
    """A run is good only if nothing was lost, doubled, out of order, uninvited, unanswered or unheard."""
    record, part = played()
    assert is_good(record, part.behind)
    assert not is_good(record, 1)
    lost, part = played(Tally(lost=1))
    assert not is_good(lost, part.behind)
    assert verdict_of(lost, part.behind).startswith("lost 1, doubled 0")


def test_it_is_shown(tmp_path: Path) -> None:
    """Table, JSON text and pictures hold what there is to tell."""
    record, part = played()
    assert "gateway-1" in table_of(part)
    assert "| gateway-1: cores, MB | 1.00, 3 |" in markdown_of([part])
    result = json.loads(result_of(record, [part], {"users": 10}))
    assert result["parts"][0]["sent"] == 60
    assert result["marks"] == [[1.0, "kill -9 gateway-1"]]
    for path in (*plot_run(tmp_path, record, part), *plot_parts(tmp_path, [part, part], against="rate")):
        assert path.read_bytes().startswith(b"\x89PNG")
