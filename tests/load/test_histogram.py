"""Latencies are counted within 1 %, and counts from several processes add up."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from deploy.load.histogram import Histogram, merged, slot_of, value_of

values = st.integers(0, 10**9)


@given(values)
def test_a_value_is_told_to_within_one_percent(us: int) -> None:
    """A slot's value is not below what was counted, and at most 1 % above."""
    told = value_of(slot_of(us))
    assert us <= told <= us * 1.01


@given(values, values)
def test_slots_are_in_the_order_of_values(one: int, other: int) -> None:
    """What is larger is in no lower slot."""
    assert (slot_of(one) <= slot_of(other)) or one > other


@given(st.lists(values, min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_the_nearest_rank(some: list[int], share: float) -> None:
    """The percentile is that of the sorted values, within 1 %."""
    histogram = Histogram()
    for us in some:
        histogram.record(us)
    exact = sorted(some)[math.ceil(share * len(some)) - 1]
    assert exact <= histogram.percentile(share) <= exact * 1.01


@given(st.lists(values), st.lists(values))
def test_histograms_add_up(some: list[int], others: list[int]) -> None:
    """Two that are merged say what one of all values says; what was taken is gone."""
    whole, parts = Histogram(), (Histogram(), Histogram())
    for part, its in zip(parts, (some, others), strict=True):
        for us in its:
            part.record(us)
            whole.record(us)
    both = merged(part.take() for part in parts)
    assert (both.counts, both.total) == (whole.counts, whole.total)
    assert (parts[0].counts, parts[0].total) == ({}, 0)


def test_below_nothing_and_above_all() -> None:
    """A clock that went back counts as 0, and what is longer than a day as the most."""
    histogram = Histogram()
    histogram.record(-5)
    histogram.record(1 << 60)
    assert [value for value, _ in histogram.steps()] == [0, (1 << 36) - 1]
