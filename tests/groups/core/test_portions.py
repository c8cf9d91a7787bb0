"""Portions: as much is read as fits and is there in time."""

from __future__ import annotations

from services.groups.core.portions import Portions


def test_portions_follow_what_the_last_ones_took() -> None:
    """Large or slow ones make the next smaller, small and quick ones larger; what does not fit is not begun."""
    portions = Portions(1_000, 1.0, first=10)
    assert portions.count(1_000, 1.0) == 10
    for _ in range(20):
        portions.note(10, 5_000, 0.01)
    assert (portions.count(1_000, 1.0), portions.count(400, 1.0)) == (2, 0)
    for _ in range(20):
        portions.note(2, 10, 0.5)
    assert (portions.count(1_000, 1.0), portions.count(1_000, 0.1)) == (4, 0)
    for _ in range(20):
        portions.note(4, 0, 0.0)
    assert portions.count(1_000, 1.0) > 100
    assert portions.count(-1, 1.0) == portions.count(1_000, -1.0) == 0


def test_what_was_given_up_makes_the_next_ones_smaller_only() -> None:
    """It takes longer than it was waited for; how much is not known, so that nothing gets larger by it."""
    portions = Portions(1_000, 1.0, first=10)
    portions.note_unfinished(10, 0.01)
    assert portions.count(1_000, 1.0) == 10
    portions.note_unfinished(10, 5.0)
    assert portions.count(1_000, 1.0) == 2
