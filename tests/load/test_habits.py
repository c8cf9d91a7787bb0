"""Who speaks, where, how long: draws are as the tables of real logs say."""

from __future__ import annotations

import random
from statistics import mean

import pytest

from deploy.load.habits import BURSTS, LENGTHS, Urn, author_weights, drawn, text_of, zipf_weights
from deploy.load.people import layout_of, real_layout


def test_texts_are_as_long_as_real_ones() -> None:
    """The mean of what is drawn is the logs' 56 bytes, within a tenth or two; none is empty."""
    chance = random.Random(1)  # noqa: S311 (a draw to repeat)
    texts = [text_of(chance) for _ in range(4000)]
    assert all(text.strip() for text in texts)
    assert 45 < mean(map(len, texts)) < 67
    assert max(map(len, texts)) <= LENGTHS[-1]


def test_bursts_are_silence_and_crowds() -> None:
    """Two in ten minutes are silent, and the mean is not far from 1."""
    chance = random.Random(2)  # noqa: S311 (a draw to repeat)
    draws = [drawn(BURSTS, chance) for _ in range(10_000)]
    assert sum(one == 0 for one in draws) / len(draws) == pytest.approx(0.2, abs=0.03)
    assert 0.7 < mean(draws) < 1.6


def test_few_say_most() -> None:
    """In a group of 166 the first ten say 43 %, and all together everything."""
    weights = author_weights(166)
    assert sum(weights[:10]) == pytest.approx(0.431)
    assert sum(weights) == pytest.approx(1)
    assert len(author_weights(1000)) == 1000


def test_an_urn_draws_by_weight() -> None:
    """By Zipf's law the first of three is drawn six times in eleven; what weighs nothing is never drawn."""
    urn = Urn([*zipf_weights(3, 1), 0], random.Random(3))  # noqa: S311 (a draw to repeat)
    draws = [urn.draw() for _ in range(11_000)]
    assert draws.count(0) == pytest.approx(6000, rel=0.05)
    assert draws.count(3) == 0
    with pytest.raises(ValueError, match="nothing"):
        Urn([0, 0], random.Random(3)).draw()  # noqa: S311


@pytest.mark.parametrize(("users", "size", "each"), [(1000, 50, 1), (103, 10, 1), (120, 7, 5), (2, 2, 1), (50, 50, 3)])
def test_everybody_is_in_so_many_groups(users: int, size: int, each: int) -> None:
    """Each user is in `each` groups, once in each, and groups are of the size or little more."""
    layout = layout_of(users, size, each)
    times = [sum(member in place for place in layout) for member in range(users)]
    assert set(times) == {each}
    assert all(len(set(place)) == len(place) >= size for place in layout)
    assert max(map(len, layout)) < 2 * size


@pytest.mark.parametrize(("users", "size", "each"), [(10, 11, 1), (10, 0, 1), (10, 2, 0)])
def test_what_can_not_be_is_refused(users: int, size: int, each: int) -> None:
    """A group larger than all users, or none, is a `ValueError`."""
    with pytest.raises(ValueError, match="users"):
        layout_of(users, size, each)


@pytest.mark.parametrize("users", [1, 200, 1000, 10_000])
def test_real_groups_are_as_large_as_real_channels(users: int) -> None:
    """Each user is in one group; all but the last are as large as the logs' channels."""
    layout = real_layout(users, seed=1)
    assert [member for place in layout for member in place] == list(range(users))
    assert all(133 <= len(place) <= 216 for place in layout[:-1])
    assert 0 < len(layout[-1]) <= 216
