"""What the benches of the load say of a part of their run."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from deploy.load.record import Part
from tests.bench.scale import Plan, costs_of, lines_of, medians_of
from tests.bench.ten_thousand import AIM_MS, is_kept


def part_of(*, sent: int = 100, delivered: int = 5000, behind: int = 0, p99_ms: float = 20.0) -> Part:
    """Return a part of ten seconds in which two gateways worked half a second each."""
    cpu_s = {"gateway-1": 0.5, "gateway-2": 0.5, "redis": 0.25, "load": 2.0}
    latencies = {"deliveries": {"p99_ms": p99_ms}}
    return Part("10/s", 10.0, 50, sent, sent, delivered, 0, behind, latencies, cpu_s, {}, 10.0)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (part_of(), True),
        (part_of(p99_ms=AIM_MS), True),
        (part_of(p99_ms=AIM_MS + 1), False),
        (part_of(behind=1), False),
        (part_of(sent=90, delivered=4500), False),  # what was due was withheld, since nobody answered
        (part_of(delivered=4500), False),
    ],
)
def test_a_rate_is_kept_when_all_of_it_was_heard_soon(part: Part, expected: bool) -> None:
    """What was due was said, heard by all members, and p99 is not above the aim."""
    assert is_kept(part, 100, 50) is expected


def test_costs_are_those_of_a_kind_per_delivery() -> None:
    """Nodes of a service count together, in us per delivery; the load's own is not in the sum."""
    assert costs_of(part_of()) == {"gateway": 200.0, "redis": 50.0, "load": 400.0, "all": 250.0}


def test_no_group_is_larger_than_all_users() -> None:
    """Sizes grow as far as there are users; each set differs in one thing only."""
    plan = Plan(1000, 5000, 100, 30, 2, 3)
    assert [line.size for line in lines_of("sizes", plan)] == [10, 100, 1000]
    assert {(line.users, line.size, line.groups_each) for line in lines_of("nodes", plan)} == {(1000, 50, 1)}
    assert [line.groups_each for line in lines_of("groups", plan)] == [1, 10, 100, 100]
    assert [line.talked_in for line in lines_of("groups", plan)] == [10, 10, 10, 0]


def test_of_each_lines_rounds_the_median_is_told() -> None:
    """By its costs; and one round in which something was lost marks it."""
    one, other = lines_of("nodes", Plan(1000, 5000, 100, 30, 2, 3))[:2]
    cheap, middling, dear = (replace(part_of(), cpu_s={"gateway": cost, "load": 0.0}) for cost in (1.0, 2.0, 3.0))
    found = [(one, dear, True), (other, cheap, True), (one, cheap, True), (other, dear, False), (one, middling, True)]
    assert medians_of(found) == [(one, middling, True), (other, cheap, False)]
