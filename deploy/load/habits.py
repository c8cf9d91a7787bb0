"""How people talk: who, where, how much at once, how long. Tables from real logs, and draws from them.

Core. The tables were made from ten stretches of #ubuntu on IRC, 2004 to 2016, 1,250 lines each (the raw files of the
data set of Kummerfeld et al., ACL 2019, CC-BY 4.0): lines `[hh:mm] <nick> text` only, 11,612 messages.

- `LENGTHS`: every twentieth of all texts' lengths in bytes of UTF-8; the mean is 56.
- `AUTHORS`: which share of a log's messages the n most active nicks wrote, the mean of the ten logs.
- `BURSTS`: messages of a minute divided by the log's mean, each tenth of 3,154 minutes: two in ten are silent, one in
  ten has more than twice the mean.
- `SIZES`: nicks that a log names, speakers and those who came, went or were renamed, each tenth of the ten logs.

Between two entries of a table values are taken evenly.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

LENGTHS: Final = (1, 4, 8, 13, 16, 20, 24, 29, 32, 37, 41, 46, 51, 57, 64, 72, 83, 97, 120, 163, 465)
AUTHORS: Final = ((0, 0.0), (1, 0.091), (2, 0.155), (3, 0.208), (5, 0.291), (10, 0.431), (20, 0.603), (40, 0.786),
                  (60, 0.882), (80, 0.934), (100, 0.964), (166, 1.0))  # fmt: skip
BURSTS: Final = (0.0, 0.0, 0.0, 0.29, 0.59, 0.85, 0.93, 1.26, 1.68, 2.18, 10.83)
SIZES: Final = (133, 144, 149, 153, 169, 184, 188, 190, 195, 203, 216)
_WORDS: Final = tuple(
    "the to you it is i a and in that have what for on how do of can not with my if just this me so when no "  # noqa: SIM905
    "get but use try install need know file run from there work does package it's are thanks then".split()
)


def drawn(table: Sequence[float], chance: random.Random) -> float:
    """Draw from a table of evenly spaced quantiles."""
    place = chance.random() * (len(table) - 1)
    below = int(place)
    return table[below] + (place - below) * (table[below + 1] - table[below])


def text_of(chance: random.Random) -> str:
    """Draw a text as long as people's are, of words that they use."""
    length = max(1, round(drawn(LENGTHS, chance)))
    words = [chance.choice(_WORDS)]
    left = length - len(words[0])
    while left > 0:
        words.append(chance.choice(_WORDS))
        left -= len(words[-1]) + 1
    return " ".join(words)[:length].rstrip() or "k"


def author_weights(size: int) -> list[float]:
    """Return how much each member of a group says, the most active first; the sum is 1 for groups up to 166."""
    shares: list[float] = []
    for (low, before), (high, after) in pairwise(AUTHORS):
        shares += [(after - before) / (high - low)] * (high - low)
    return [shares[min(number, len(shares) - 1)] for number in range(size)]


def zipf_weights(count: int, exponent: float) -> list[float]:
    """Return the weights of `count` groups, the busiest first: 1 / rank ** exponent. 0 makes all alike."""
    return [rank**-exponent for rank in range(1, count + 1)]


class Urn:
    """Draws indices by weight, in O(log n)."""

    def __init__(self, weights: Sequence[float], chance: random.Random) -> None:
        self._edges = list(accumulate(weights))
        self._chance = chance

    def draw(self) -> int:
        """Return an index. Raises `ValueError` where all weights are 0."""
        if not self._edges or self._edges[-1] <= 0:
            raise ValueError("nothing to draw from")
        return bisect(self._edges, self._chance.random() * self._edges[-1])
