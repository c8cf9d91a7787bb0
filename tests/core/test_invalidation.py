"""Invalidations: what goes in comes out, and anything else is told as unreadable."""

from hypothesis import given
from hypothesis import strategies as st

from shared.core.ids import MAX_ID
from shared.core.invalidation import Invalidation, decode_invalidation, encode_invalidation


@given(st.integers(1, MAX_ID), st.integers(1, MAX_ID))
def test_round_trip(group_id: int, seq: int) -> None:
    """A subscriber learns exactly the group and the seq that were published."""
    invalidation = Invalidation(group_id, seq)
    assert decode_invalidation(encode_invalidation(invalidation)) == invalidation


@given(st.binary(max_size=40))
def test_unreadable_is_none_or_well_formed(body: bytes) -> None:
    """No bytes make the decoder raise."""
    decoded = decode_invalidation(body)
    assert decoded is None or isinstance(decoded.seq, int)
