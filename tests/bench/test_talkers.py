"""Couples on two nodes hear each other, and are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.process import NotInstalled
from tests.bench.pairs import open_fastapi_pair
from tests.bench.talkers import Talk, measure_rate, measure_waits
from tests.missing import go_without


@pytest.mark.servers
def test_what_is_said_at_one_node_is_heard_at_the_other(tmp_path: Path) -> None:
    """One at a time each takes some time; all at once each couple is heard at least once."""
    try:
        with open_fastapi_pair(tmp_path, 200) as pair:
            talks = [Talk(pair, couple) for couple in pair.couples[:3]]
            waits = measure_waits(talks, 6)
            heard, seconds = measure_rate(talks, 0.1)
            for talk in talks:
                talk.close()
    except NotInstalled as missing:
        go_without(str(missing))
    assert len(waits) == 6
    assert waits[0] > 0
    assert heard >= 3
    assert seconds >= 0.1
