"""The plan of faults: the same for the same seed, and all kinds in a long run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.schedule import CARDS, SERVICES, plan_of

COUNTS = {"gateway": 3, "history": 2, "groups": 2}


@given(st.integers(), st.floats(10, 600), st.floats(1, 20))
def test_the_same_seed_is_the_same_schedule(seed: int, seconds: float, every_s: float) -> None:
    """Nothing but the seed chooses; all faults end within the run, in their order."""
    plan = plan_of(seed, seconds, every_s, COUNTS)
    assert plan == plan_of(seed, seconds, every_s, COUNTS)
    assert [one.at for one in plan] == sorted(one.at for one in plan)
    assert all(one.at + one.seconds <= seconds + 1e-6 for one in plan)
    assert [one.number for one in plan] == list(range(1, len(plan) + 1))


@given(st.integers())
def test_ten_minutes_meet_every_kind_of_fault_at_every_kind_of_process(seed: int) -> None:
    """As many faults as `make chaos` makes hold each card of the deck."""
    kinds = set()
    for fault in plan_of(seed, 600, 8, COUNTS):
        name, _, server = fault.target.partition(".")
        service = name.rpartition("-")[0]
        what = service if service in SERVICES else name
        kinds.add((fault.kind, f"{what}.{server}" if server else what))
    assert kinds == set(CARDS)


def test_faults_may_be_chosen_by_patterns() -> None:
    """Only what is named happens; a name that means nothing is refused."""
    chosen = plan_of(1, 100, 2, COUNTS, ["kill:history", "delay:*.mongo"])
    assert {one.kind for one in chosen} == {"kill", "delay"}
    assert all(one.target.startswith(("history-", "groups-")) for one in chosen)
    assert {(one.kind, one.target) for one in plan_of(1, 100, 2, COUNTS, ["roll:gateway"])} == {("roll", "gateway")}
    with pytest.raises(ValueError, match="kill:gateway"):
        plan_of(1, 100, 2, COUNTS, ["tickle:*"])
