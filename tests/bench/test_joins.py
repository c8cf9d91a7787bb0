"""Joins of who was there before: medians of turns, named by when they come, ours and a rival's alike."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import cast

import pytest

from tests.bench import joins
from tests.bench.crowd import Crowd
from tests.bench.joins import Comers, measure_joins


class Clocked:
    """A crowd that takes the next of some times for each join, and knows how many are in."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self.seconds: Iterator[float] = iter(seconds)
        self.are_in = 0

    def join(self, tokens: Sequence[str], _: float) -> float:
        """Let them in."""
        self.are_in += len(tokens)
        return next(self.seconds)

    def leave(self, count: int, _: float) -> None:
        """Let them out."""
        self.are_in -= count


@pytest.fixture(autouse=True)
def at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a server that is at rest at once."""
    monkeypatch.setattr(joins, "wait_quiet", lambda _: None)


def comers_of(crowd: Clocked, **behind: int) -> Comers:
    """Return four who come again."""
    return Comers(cast(Crowd, crowd), os.getpid(), ["token"] * 4, behind)


def test_medians_by_when_they_come() -> None:
    """Five turns at once, three for those who are let go; everybody is out in the end."""
    ours, rival = Clocked([1, 2, 4, 8, 16, 1, 2, 4]), Clocked([0.5] * 8)
    figures, beside = measure_joins(comers_of(ours, broker=os.getpid()), comers_of(rival), lambda: None)
    assert (figures["joins_bound"], figures["joins_let_go"]) == (1.0, 2.0)
    assert (beside["joins_bound"], beside["joins_let_go"]) == (8.0, 8.0)
    assert figures.keys() - beside.keys() == {"cpu_bound_broker", "cpu_let_go_broker"}
    assert not ours.are_in
    assert not rival.are_in


def test_without_a_rival() -> None:
    """The others are measured alone."""
    figures, beside = measure_joins(comers_of(Clocked([1.0] * 8)), None, lambda: None)
    assert figures["joins_bound"] == 4.0
    assert beside == {}
