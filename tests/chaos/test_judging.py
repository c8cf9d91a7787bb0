"""The judge is judged: it passes what is right, and names the promise that is broken, however the story goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.history import (
    Began,
    Event,
    FaultBegan,
    FaultEnded,
    Heard,
    History,
    Invalid,
    Joined,
    KeptOut,
    LoggedOut,
    Looked,
    Lost,
    Marked,
    Measured,
    Paged,
    Record,
    Removed,
    Resumed,
    Seen,
    Settled,
    Unseen,
    read_history,
)
from tests.chaos.invented import CHANNEL, Story, tell
from tests.chaos.judging import CHECKS, PROMISES, judge
from tests.chaos.wrongs import WRONGS

seeds = st.integers(0, 2**32)


@given(seeds, st.integers(0, 80))
def test_a_correct_history_passes(seed: int, steps: int) -> None:
    """Whatever people do, and however often they lose their connections: nothing is broken, and all was checked."""
    verdict = judge(tell(seed, steps))
    assert verdict.broken == ()
    assert verdict.is_good
    assert {CHECKS[kind] for kind in verdict.checked} == set(PROMISES)


@pytest.mark.parametrize("kind", [Looked, Paged, Marked, Removed, LoggedOut, Measured, Heard])
def test_a_history_without_something_proves_nothing(kind: type[Record]) -> None:
    """Nothing is broken where nobody read, marked, went or listened; the verdict is not good all the same."""
    kinds = (kind, KeptOut) if kind is LoggedOut else (kind, Seen, Joined) if kind is Heard else (kind,)
    verdict = judge([one for one in tell(3) if not isinstance(one, kinds)])
    assert verdict.unchecked
    assert not verdict.is_good


@pytest.mark.parametrize("wrong", WRONGS, ids=lambda one: one.__name__)
@given(seed=seeds)
def test_each_wrong_is_reported_as_the_promise_that_it_breaks(wrong: Callable[[Story], Story], seed: int) -> None:
    """One thing done wrong to a correct history, at any place: the judge says which promise that breaks."""
    verdict = judge(wrong(tell(seed)))
    assert WRONGS[wrong] in {one.promise for one in verdict.broken}
    assert not verdict.is_good


def test_what_is_broken_names_the_fault_and_the_time() -> None:
    """A session misses something while a process is killed: that is said."""
    story = tell(3)
    during = next(place for place, one in enumerate(story) if isinstance(one, FaultBegan))
    missed = next(place for place, one in enumerate(story) if place > during and isinstance(one, Heard))
    (broken, *_) = judge([*story[:missed], *story[missed + 1 :]]).broken
    assert broken.promise == 4
    assert broken.during.startswith("kill history-1 (")


def of_one_session(*told: Record, tells_positions: bool) -> list[Record]:
    """Return a story's middle: a session that has two events and loses its connection, then what is told."""
    heard: list[Record] = [Heard(9.9 + seq / 100, 1, seq, CHANNEL, seq, "MESSAGE_UPDATE", 5) for seq in (1, 2)]
    return [Began(1.0, 1, 0, tells_positions, "gateway-1"), Seen(1.1, 1, CHANNEL, 0, 1), *heard, *told]


KILLED = [FaultBegan(10.0, 1, "kill", "gateway-1"), Lost(10.1, 1)]
REDIS = [FaultBegan(10.0, 2, "kill", "redis"), FaultEnded(12.0, 2)]
BROKEN_OFF = [
    Lost(10.1, 1),
    Heard(10.5, 1, 2, CHANNEL, 3, "MESSAGE_UPDATE", 5),
    Lost(10.6, 1),
    Heard(10.9, 1, 2, CHANNEL, 3, "MESSAGE_UPDATE", 5),
    Resumed(11.0, 1),
]
AGAIN = [Heard(11.0, 1, 2, CHANNEL, 2, "MESSAGE_UPDATE", 5), Resumed(11.1, 1)]


@pytest.mark.parametrize(
    ("told", "tells_positions", "excepted"),
    [
        ([*KILLED, *AGAIN], False, True),
        ([*KILLED, *AGAIN], True, False),
        ([Lost(10.1, 1), *AGAIN], False, False),
        (BROKEN_OFF, False, True),
        (BROKEN_OFF, True, False),
        ([FaultBegan(20.0, 1, "kill", "gateway-1"), Lost(20.1, 1), *AGAIN], False, False),
        ([*KILLED, *REDIS, Invalid(13.0, 1)], True, True),
        ([*KILLED, Invalid(13.0, 1)], True, False),
        ([*REDIS, Lost(10.1, 1), Invalid(13.0, 1)], True, False),
        ([FaultBegan(2.0, 2, "kill", "redis"), FaultEnded(3.0, 2), *KILLED, Invalid(13.0, 1)], True, False),
        ([Lost(10.1, 1), Invalid(140.0, 1)], True, True),
    ],
)
def test_what_the_promises_except_is_counted_apart(told: list[Record], tells_positions: bool, excepted: bool) -> None:
    """Told again after a death, to who tells only `s`; INVALID_SESSION after a death with Redis away: not else."""
    verdict = judge(of_one_session(*told, tells_positions=tells_positions))
    of_sessions = [one for one in verdict.broken if one.promise == 4]
    assert bool(verdict.excepted) is excepted
    assert bool(of_sessions) is not excepted


def test_who_is_let_out_by_the_event_that_the_body_was_complete_to_is_out() -> None:
    """A session is told a group as of the removal, and then the removal: nothing is owed any more."""
    out: list[Record] = [Unseen(3.0, 1, CHANNEL, 5), Lost(3.1, 1), Seen(3.2, 1, CHANNEL, 2, 5), Resumed(3.3, 1)]
    end: list[Record] = [Unseen(3.4, 1, CHANNEL, 5), Settled(4.0), Event(4.1, CHANNEL, 3, "MESSAGE_UPDATE", 5)]
    verdict = judge(of_one_session(*out, *end, tells_positions=True))
    assert not [one for one in verdict.broken if one.promise == 4]


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    """The file holds every record, in order."""
    history = History(tmp_path / "history.jsonl")
    for record in (story := tell(1)):
        history.note(record)
    history.close()
    assert list(read_history(tmp_path / "history.jsonl")) == story == history.records
