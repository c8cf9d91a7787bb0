"""How wide unions become: fast down, slow up, never beyond the ends."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.history.core.union import FEW_EVENTS, FIRST_KEYS, MOST_KEYS, UnionWidth
from shared.core.signs import Decoded

CALM, NEAR, MUCH = Decoded(100, 10), Decoded(100, 45), Decoded(100, 51)
S = 1000


def heard(keys: int, *said: tuple[int, Decoded]) -> int:
    """Return the width after these reports, each at its time in ms."""
    width = UnionWidth(keys)
    for now, decoded in said:
        width.hear(decoded, now)
    return width.keys


@pytest.mark.parametrize(
    ("before", "said", "after"),
    [
        (16, [(9 * S, MUCH)], 8),
        (16, [(9 * S, MUCH), (10 * S, MUCH)], 8),
        (16, [(9 * S, MUCH), (10 * S, CALM), (11 * S, MUCH)], 4),
        (16, [(9 * S, MUCH), (11 * S, CALM), (12 * S, CALM), (13 * S, CALM)], 9),
        (1, [(9 * S, MUCH)], 1),
        (16, [(9 * S, CALM), (10 * S, CALM), (11 * S, CALM)], 18),
        (MOST_KEYS, [(9 * S, CALM)], MOST_KEYS),
        (16, [(9 * S, NEAR), (10 * S, CALM)], 16),
        (16, [(9 * S, NEAR), (10 * S, CALM), (11 * S, CALM)], 17),
        (16, [(9 * S, Decoded(100, 50))], 16),
        (16, [(9 * S, Decoded(FEW_EVENTS - 1, FEW_EVENTS - 1))], 16),
    ],
)
def test_the_rule(before: int, said: list[tuple[int, Decoded]], after: int) -> None:
    """More than half halves, and what comes within two seconds of that is passed over; calm for two adds one."""
    assert heard(before, *said) == after


@given(st.lists(st.tuples(st.integers(), st.integers(), st.integers(0, 3 * S)), max_size=60))
def test_whatever_is_said_it_stays_within_its_ends(said: list[tuple[int, int, int]]) -> None:
    """Reports are others' words: nonsense is ignored, and no report makes the width leave 1..64."""
    width, now = UnionWidth(), 0
    for events, foreign, pause in said:
        now += pause
        before = width.keys
        width.hear(Decoded(events, foreign), now)
        assert 1 <= width.keys <= MOST_KEYS
        if not 0 <= foreign <= events:
            assert width.keys == before


def simulate(seconds: int, follows: list[set[int]], groups: int, widths: list[UnionWidth], seed: int) -> list[float]:
    """Let replicas publish batches to nodes; return the share of foreign events of the worst node, each second.

    Each second each replica publishes twenty batches of one message in each of sixteen groups. Nodes report each
    at its own moment; a report tells of the second before it.
    """
    draw = Random(seed)  # noqa: S311 (a seed to find a run again)
    shares: list[float] = []
    phases = [draw.randrange(S) for _ in follows]
    for second in range(1, seconds + 1):
        counts = [[0, 0] for _ in follows]
        for width in widths:
            for _ in range(20):
                batch = draw.sample(range(groups), 16)
                for begin in range(0, len(batch), width.keys):
                    union = batch[begin : begin + width.keys]
                    for count, followed in zip(counts, follows, strict=True):
                        if not followed.isdisjoint(union):
                            count[0] += len(union)
                            count[1] += sum(one not in followed for one in union)
        for phase, count in sorted(zip(phases, counts, strict=True)):
            for width in widths:
                width.hear(Decoded(*count), second * S + phase)
        shares.append(max(foreign / max(1, events) for events, foreign in counts))
    return shares


@pytest.mark.parametrize(
    ("nodes", "share", "at_least", "at_most"),
    [(2, 1.0, 30, 64), (3, 0.7, 30, 64), (4, 0.5, 2, 16), (8, 0.25, 2, 4), (20, 0.05, 1, 3)],
)
def test_the_width_settles_where_nodes_drop_at_most_half(nodes: int, share: float, at_least: int, at_most: int) -> None:
    """With k nodes that follow each a share of the groups: wide where all follow most, narrow where each follows few.

    Two replicas publish; one begins in the middle, one at the wide end, as after a change of who follows what.
    """
    groups = 100
    draw = Random(nodes)  # noqa: S311
    follows = [set(draw.sample(range(groups), int(groups * share))) for _ in range(nodes)]
    widths = [UnionWidth(FIRST_KEYS), UnionWidth(MOST_KEYS)]
    shares = simulate(60, follows, groups, widths, seed=nodes)
    late = shares[20:]
    assert sum(late) / len(late) <= 0.5
    assert sum(share > 0.5 for share in late) <= len(late) / 10, "a step too far is taken back at once"
    assert all(at_least <= width.keys <= at_most for width in widths), [width.keys for width in widths]
