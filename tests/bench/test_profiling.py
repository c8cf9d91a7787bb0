"""Samples of stacks become a list of the dearest functions."""

from __future__ import annotations

from tests.bench.profiling import dearest


def test_functions_are_told_by_what_they_cost() -> None:
    """Samples count for the last function itself, and once for each that called it, recursion or not."""
    stacks = ["main (a.py:1);walk (a.py:2);walk (a.py:3) 3", "main (a.py:1) 1", "no number"]
    assert dearest(stacks) == [
        " 75.0 % itself,  75.0 % with what it calls: walk (a.py",
        " 25.0 % itself, 100.0 % with what it calls: main (a.py",
    ]
    assert dearest([]) == []
