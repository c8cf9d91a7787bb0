"""The load generator against the smallest of the servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.crowd import Crowd, CrowdFailed
from tests.bench.servers import open_limit

BYTES = 640
DEADLINE_S = 20.0


@pytest.fixture(name="crowd")
def _crowd(tmp_path: Path) -> Iterator[Crowd]:
    with open_limit(tmp_path, BYTES) as server:
        crowd = Crowd(server.port, server.dialect, BYTES)
        crowd.join([""] * 20, DEADLINE_S)
        yield crowd
        crowd.close()


def test_every_delivery_is_counted_once(crowd: Crowd) -> None:
    """Whatever number of messages is sent at once, each client's copy of each counts as one."""
    for at_once in (1, 8, 3):
        before = crowd.deliveries
        crowd.say(BYTES, at_once)
        crowd.wait_deliveries(before + at_once * 20, DEADLINE_S)
    crowd.leave(15, DEADLINE_S)
    before = crowd.deliveries
    crowd.say(BYTES, 1)
    crowd.wait_deliveries(before + 5, DEADLINE_S)


def test_deliveries_that_do_not_come_or_are_too_many_are_told(crowd: Crowd) -> None:
    """A figure is never made of fewer deliveries than were waited for, nor of more."""
    with pytest.raises(CrowdFailed, match="0 of 1 deliveries came"):
        crowd.wait_deliveries(1, 0.2)
    crowd.say(BYTES, 2)
    crowd.wait_deliveries(40, DEADLINE_S)
    with pytest.raises(CrowdFailed, match="40 deliveries came instead of 39"):
        crowd.wait_deliveries(39, DEADLINE_S)
