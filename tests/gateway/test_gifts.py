"""What a node keeps of sessions that it gave away: to be given again, and bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.core.gifts import Gifts
from services.gateway.core.handover import Handed, Missed


def parts_of(*sizes: int) -> tuple[Handed, ...]:
    """Return a session in as many parts as sizes are told, each with one frame of that size."""
    return tuple(Handed(1, 2, {}, (Missed("T", bytes(size)),), len(sizes)) for size in sizes)


def test_it_is_given_again_to_who_tells_the_same() -> None:
    """A session is there for a client with the same `s`, as it was given last; another `s` finds nothing."""
    gifts = Gifts(10, 1 << 20, 60.0)
    first, second = parts_of(3, 4), parts_of(5)
    gifts.keep("a", 7, first, 0.0)
    assert gifts.get("a", 7) == first
    assert gifts.get("a", 8) is None
    assert gifts.get("b", 7) is None
    gifts.keep("a", 8, second, 1.0)
    assert gifts.get("a", 7) is None
    assert gifts.get("a", 8) == second
    assert len(gifts) == 1


def test_large_ones_push_out_the_oldest() -> None:
    """So many bytes and no more: the oldest go first, but one that is larger than all of it is kept, alone."""
    gifts = Gifts(1_000, 10_000, 60.0)
    for number in range(10):
        gifts.keep(str(number), 1, parts_of(2_000), float(number))
    assert [str(number) for number in range(10) if gifts.get(str(number), 1)] == ["7", "8", "9"]
    assert gifts.size <= 10_000
    gifts.keep("large", 1, parts_of(20_000, 20_000), 10.0)
    assert gifts.get("large", 1) is not None
    assert len(gifts) == 1
    gifts.keep("small", 1, parts_of(1), 11.0)
    assert gifts.get("large", 1) is None
    assert gifts.get("small", 1) is not None


steps = st.tuples(st.sampled_from("abcdef"), st.integers(1, 2), st.lists(st.integers(0, 3_000), min_size=1, max_size=3))


@given(st.lists(steps, max_size=40), st.integers(1, 5), st.integers(1, 12_000), st.floats(0.5, 20.0))
def test_the_bounds_hold(told: list[tuple[str, int, list[int]]], most: int, most_bytes: int, keep_s: float) -> None:
    """In number, bytes and age, with the newest always there; forgetting all leaves nothing counted."""
    gifts = Gifts(most, most_bytes, keep_s)
    kept: dict[str, float] = {}
    for now, (session_id, told_s, sizes) in enumerate(told):
        parts = parts_of(*sizes)
        gifts.keep(session_id, told_s, parts, float(now))
        kept[session_id] = now
        assert gifts.get(session_id, told_s) == parts
        assert len(gifts) <= most
        assert gifts.size <= most_bytes or len(gifts) == 1
        for other, at in kept.items():
            if now - at > keep_s:
                assert gifts.get(other, 1) is gifts.get(other, 2) is None
        assert gifts.statistics() == {"given": len(gifts), "given_bytes": gifts.size}
    gifts.let_go(1e9)
    assert (len(gifts), gifts.size) == (0, 0)
