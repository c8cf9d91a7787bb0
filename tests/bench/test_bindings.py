"""The benchmark of bindings measures what it says."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from tests.bench.bindings import PARTITIONS, SLOTS, layouts_of, table_of
from tests.bench.bystander import between
from tests.bench.layouts import Layout, Plan, Rate, measure_layout, user_ids

EVERYBODY = (0, 1, 2)


@pytest.mark.parametrize("layout", layouts_of(SLOTS, PARTITIONS[:1]))
def test_only_the_users_of_the_dead_node_move(layout: Layout) -> None:
    """Each user has one home; when a node dies its own are spread over the others, and nobody else moves."""

    def homes(alive: Sequence[int]) -> list[int]:
        return [layout.home_of(number, user_id, alive) for number, user_id in enumerate(user_ids(3000))]

    before, after = homes(EVERYBODY), homes(EVERYBODY[1:])
    assert {home for home in before if before.count(home) > 500} == set(EVERYBODY)
    assert all(now == home for home, now in zip(before, after, strict=True) if home)
    moved = [now for home, now in zip(before, after, strict=True) if not home]
    assert min(moved.count(1), moved.count(2)) > len(moved) / 4


def test_what_was_under_way_counts() -> None:
    """A wait that began before the time that is looked at, or ended after it, is felt in it; others are not."""
    samples = [(0.0, 500.0), (0.9, 300.0), (1.5, 1.0), (1.9, 900.0), (2.0, 1.0)]
    assert between(samples, 1.0, 2.0) == [1.0, 300.0, 900.0]


def test_a_table_has_a_row_for_each() -> None:
    """Fields are headings; large numbers are whole."""
    rows = [Rate(1, 4321.5, 99.5, 1000.0, 1.0)]
    assert table_of(rows).splitlines()[-1] == "| 1 | 4,322 | 99.50 | 1,000 | 1.00 |"


@pytest.mark.servers
async def test_slots_without_steering_bring_what_is_for_others(rabbitmq_url: str) -> None:
    """On a real broker: own keys and steered slots bring nothing for nothing; other slots do, and partitions repeat."""
    plan = Plan(users=60, events=60)
    own, steered, anywhere, parted = [
        await measure_layout(rabbitmq_url, os.getpid(), layout, plan)
        for layout in (Layout(0, 1, False), Layout(32, 1, True), Layout(32, 1, False), Layout(0, 8, False))
    ]
    assert (own.for_nothing, own.keys_per_node, own.rebound_keys) == (0.0, 60, 60)
    assert steered.for_nothing == 0.0
    assert steered.keys_per_node <= 11
    assert anywhere.for_nothing > 0.3
    assert parted.for_nothing > 0.05
