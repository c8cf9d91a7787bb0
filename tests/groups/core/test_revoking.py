"""Decisions on tokens: nothing that was revoked is ever good again, and what is kept is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.groups.core.revoking import MAX_NAMED, decide_revoke, decide_revoke_before
from shared.core.revocation import NOTHING_REVOKED, Bearer, Named, Revocations
from shared.core.user_events import TokensRevoked

FULL = Revocations(10, tuple(Named(100 + one, f"old{one}") for one in range(MAX_NAMED)))


def test_one_token() -> None:
    """One token is named, once; the others of its user stay good."""
    bearer, other = Bearer(1, 50, "this"), Bearer(1, 50, "other")
    event = decide_revoke(NOTHING_REVOKED, bearer)
    assert event == TokensRevoked(0, 50, "this")
    known = NOTHING_REVOKED.after(event)
    assert known.void(bearer)
    assert not known.void(other)
    assert decide_revoke(known, bearer) is None


def test_all_before() -> None:
    """All that were issued before a time go; to go back in time changes nothing."""
    event = decide_revoke_before(NOTHING_REVOKED, 50)
    assert event == TokensRevoked(50)
    known = NOTHING_REVOKED.after(event)
    assert known.void(Bearer(1, 49, "old"))
    assert not known.void(Bearer(1, 50, "new"))
    assert decide_revoke_before(known, 50) is None
    assert decide_revoke_before(known, 49) is None


def test_where_there_is_no_room() -> None:
    """With as many names as are kept, the oldest is covered by time from then on, and no more than it."""
    newer = decide_revoke(FULL, Bearer(1, 500, "new"))
    assert newer == TokensRevoked(101, 500, "new")
    older = decide_revoke(FULL, Bearer(1, 50, "mine"))
    assert older == TokensRevoked(51, 50, "mine")
    assert len(FULL.after(older).named) == MAX_NAMED


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), min_size=MAX_NAMED, max_size=3 * MAX_NAMED))
def test_any_history(history: list[tuple[int, bool]]) -> None:
    """Whatever is revoked in whatever order: it all stays void, in at most so many names."""
    known = NOTHING_REVOKED
    revoked: list[Bearer] = []
    for number, (issued, is_all) in enumerate(history):
        bearer = Bearer(1, issued, f"token{number}")
        event = decide_revoke_before(known, issued // 8) if is_all else decide_revoke(known, bearer)
        known = known.after(event) if event is not None else known
        revoked += [] if is_all else [bearer]
        assert len(known.named) <= MAX_NAMED
    assert all(known.void(bearer) for bearer in revoked)
