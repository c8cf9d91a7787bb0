"""What a session heard: each event once, in order, or it is told what was wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.load.heard import Heard, Tally


def heard_of(seqs: list[int], *, head: int = 0, end: int | None = None) -> Tally:
    """Return the tally of a session that began behind `head`, heard these, and ought to have heard up to `end`."""
    heard, tally = Heard(), Tally()
    heard.begin("c", head, tally)
    for seq in seqs:
        heard.take("c", seq, tally)
    heard.end({"c": end if end is not None else max(seqs, default=head)}, tally)
    return tally


@pytest.mark.parametrize(
    ("seqs", "end", "expected"),
    [
        ([1, 2, 3], 3, Tally()),
        ([1, 3], 3, Tally(lost=1)),
        ([1, 2], 4, Tally(lost=2)),
        ([1, 2, 2, 3], 3, Tally(doubled=1)),
        ([1, 3, 2], 3, Tally(unordered=1)),
        ([1, 3, 2, 2], 3, Tally(unordered=1, doubled=1)),
        ([4], 4, Tally(lost=3)),
    ],
)
def test_what_is_wrong_is_counted(seqs: list[int], end: int, expected: Tally) -> None:
    """Holes are lost, late ones out of order, repeats doubled."""
    assert heard_of(seqs, end=end) == expected


@given(st.permutations(range(1, 9)))
def test_whatever_the_order_nothing_is_lost_or_doubled(seqs: list[int]) -> None:
    """All events in any order: those that a later one was heard before are out of order, and that is all."""
    late = sum(any(other > seq for other in seqs[:index]) for index, seq in enumerate(seqs))
    assert heard_of(seqs) == Tally(unordered=late)


def test_another_channel_is_astray() -> None:
    """An event of a channel that no body has told of is not the session's."""
    heard, tally = Heard(), Tally()
    heard.take("other", 1, tally)
    assert tally == Tally(astray=1)


def test_a_session_that_begins_anew_leaves_a_part_to_rest() -> None:
    """What lies between the old session's last event and the new one's head is read by REST, not lost."""
    heard, tally = Heard(), Tally()
    heard.begin("c", 0, tally)
    heard.take("c", 1, tally)
    heard.begin("c", 5, tally)
    heard.take("c", 6, tally)
    heard.end({"c": 6}, tally)
    assert tally == Tally(unread=4)


def test_a_node_that_is_behind_may_tell_again() -> None:
    """Where a new session's head is below what was heard, events up to that are repeats and no fault."""
    heard, tally = Heard(), Tally()
    heard.begin("c", 9, tally)
    heard.begin("c", 7, tally)
    for seq in (8, 9, 10, 10):
        heard.take("c", seq, tally)
    assert tally == Tally(repeated=2, doubled=1)
