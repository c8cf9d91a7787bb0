"""Revocation: what was void stays void, in whatever order it is told and however often."""

from __future__ import annotations

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from shared.core.revocation import NOTHING_REVOKED, Bearer, Revocations
from shared.core.user_events import TokensRevoked

TIMES = st.integers(1, 6)
BEARERS = st.builds(lambda issued, mark: Bearer(1, issued, f"{issued}{mark}"), TIMES, st.sampled_from("ab"))
EVENTS = st.one_of(
    st.builds(lambda before: TokensRevoked(before), TIMES),
    st.builds(lambda one, before: TokensRevoked(before, one.issued, one.fingerprint), BEARERS, st.integers(0, 6)),
)


def after_all(events: list[TokensRevoked]) -> Revocations:
    """Return what is void after these events."""
    return reduce(Revocations.after, events, NOTHING_REVOKED)


@given(st.lists(EVENTS, max_size=8), BEARERS)
def test_a_token_is_void_if_an_event_says_so(events: list[TokensRevoked], bearer: Bearer) -> None:
    """A token is void exactly if it is named by some event or older than some event's time."""
    said = any(bearer.issued < event.before or bearer.fingerprint == event.fingerprint for event in events)
    assert after_all(events).void(bearer) == said


@given(st.lists(EVENTS, max_size=8), st.randoms(use_true_random=False), st.integers(0, 8))
def test_order_and_repeats_make_no_difference(events: list[TokensRevoked], random: object, repeated: int) -> None:
    """A node that acts on one early, or is told one twice, ends where the others do."""
    told = events + events[:repeated]
    random.shuffle(told)  # type: ignore[attr-defined]
    assert after_all(told) == after_all(events)
