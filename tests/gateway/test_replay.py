"""The replay log: whatever is sent, and however little is kept, a session gets what it was sent or is told no."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.core.replay import Entry, ReplayLog, not_had

WINDOW_S = 10.0
MOST_BYTES = 3_000

sessions = st.integers(0, 5)


@dataclass
class Sent:
    """One dispatch as it was: `s` may jump, as it does when a session comes from another node."""

    s: int
    audience: tuple[int, ...]
    at: float


@st.composite
def lives(draw: st.DrawFn) -> list[Sent]:
    """Draw what a node sends in a life, to audiences that are mostly those of the dispatch before."""
    s, at = 0, 0.0
    audience: tuple[int, ...] = ()
    life = []
    for _ in range(draw(st.integers(0, 60))):
        s += draw(st.sampled_from([1, 1, 1, 1, 1, 70_000]))
        at += draw(st.sampled_from([0.0, 0.0, 0.1, 1.0, 6.0]))
        if draw(st.integers(0, 3)) == 0:
            audience = tuple(draw(st.sets(sessions)))
        life.append(Sent(s, audience, at))
    return life


@settings(max_examples=1_000)
@given(lives(), st.integers(0, 200), st.data())
def test_a_session_gets_exactly_what_it_was_sent_or_is_told_no(
    life: list[Sent], size: int, data: st.DataObject
) -> None:
    """Every entry after the told `s` whose audience the session was in, in order; None if some was let go."""
    log: ReplayLog[int] = ReplayLog(MOST_BYTES, WINDOW_S)
    for one in life:
        log.append(Entry(one.s, "T", b"x" * size, one.audience, "c:1", one.s, one.at))
        assert log.size <= MOST_BYTES or not len(log)
    session = data.draw(sessions)
    told = data.draw(st.sampled_from([0, *(one.s for one in life)]))
    got = log.after(told, session)
    sent = [one.s for one in life if one.s > told and session in one.audience]
    if got is None:
        assert told < log.floor
        assert any(one.s == log.floor for one in life)
    else:
        assert [entry.s for entry in got] == sent
    kept = [one for one in life if one.s > log.floor]
    assert len(kept) == len(log)
    assert all(life[-1].at - one.at <= WINDOW_S for one in kept)


@given(st.lists(st.tuples(st.sampled_from(["", "c:1", "c:2", "g:1"]), st.integers(0, 5))), st.integers(0, 6))
def test_what_a_client_has_is_not_sent_again(entries: list[tuple[str, int]], position: int) -> None:
    """Of a stream whose position is told only what is above it; of all others, and of what is no event, all."""
    log = [Entry(index, "T", b"", (), stream, seq, 0.0) for index, (stream, seq) in enumerate(entries)]
    kept = [(entry.stream, entry.seq) for entry in not_had(log, {"c:1": position})]
    assert kept == [(stream, seq) for stream, seq in entries if stream != "c:1" or not seq or seq > position]


def test_a_cleared_log_has_nothing_and_says_so() -> None:
    """After the counter began anew nothing from before can be had."""
    log: ReplayLog[int] = ReplayLog(MOST_BYTES, WINDOW_S)
    log.append(Entry(5, "T", b"", (1,), "", 0, 0.0))
    log.clear(5)
    assert log.after(4, 1) is None
    assert log.after(5, 1) == []
    assert log.statistics() == {"entries": 0, "bytes": 0}
