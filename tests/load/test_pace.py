"""When what is due."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.load.pace import Pace, pace_of

rates = st.floats(0, 1000)
paces = st.builds(Pace, rates, rates, st.floats(1, 600))


@given(paces, st.integers(1, 5000))
def test_the_nth_is_due_when_so_many_are(pace: Pace, number: int) -> None:
    """`due_s` is where `count` reaches the number; never, where it does not."""
    due_s = pace.due_s(number)
    if math.isinf(due_s):
        assert pace.count(1e9) < number
    else:
        assert pace.count(due_s) == pytest.approx(number, rel=1e-6, abs=1e-6)


@given(paces)
def test_parts_add_up(pace: Pace) -> None:
    """Four who do a quarter each do all of it."""
    assert 4 * pace.share(0.25).count(pace.seconds) == pytest.approx(pace.count(pace.seconds))


def test_steady_and_rising() -> None:
    """A steady rate is even; a ramp has half of its messages in the last 29 % of the time."""
    assert [Pace(10, 10, 60).due_s(number) for number in (1, 2, 600)] == pytest.approx([0.1, 0.2, 60])
    assert Pace(0, 100, 10).due_s(250) == pytest.approx(10 * math.sqrt(0.5))


@pytest.mark.parametrize(("text", "pace"), [("300", Pace(300, 300, 60)), ("50-1000", Pace(50, 1000, 60))])
def test_a_pace_is_read(text: str, pace: Pace) -> None:
    """One number is a steady rate, two are a ramp."""
    assert pace_of(text, 60) == pace


@pytest.mark.parametrize("text", ["", "fast", "-5", "5--1"])
def test_what_is_no_pace_is_refused(text: str) -> None:
    """Words and negative rates are a `ValueError`."""
    with pytest.raises(ValueError):  # noqa: PT011 (float's own)
        pace_of(text, 60)
