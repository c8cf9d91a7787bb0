"""Latencies in a few thousand counts, in the manner of HdrHistogram: whatever the value, known to within 1 %.

Core: values in, values out. A value below 256 us has a count of its own; above, each doubling is cut into 128.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

_BITS: Final = 7
_HALF: Final = 1 << _BITS
_MOST_US: Final = (1 << 36) - 1
"""19 hours: what is longer counts as this."""


class Histogram:
    """Counts of whole microseconds."""

    __slots__ = ("counts", "total")

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = dict(counts or {})
        """By `slot_of`; this is what is sent from process to process."""
        self.total = sum(self.counts.values())

    def record(self, us: int) -> None:
        """Count one value; below 0 is 0."""
        slot = slot_of(us)
        self.counts[slot] = self.counts.get(slot, 0) + 1
        self.total += 1

    def add(self, counts: Mapping[int, int]) -> None:
        """Count all that another one has counted."""
        for slot, count in counts.items():
            self.counts[slot] = self.counts.get(slot, 0) + count
            self.total += count

    def take(self) -> dict[int, int]:
        """Return the counts and begin anew."""
        counts, self.counts, self.total = self.counts, {}, 0
        return counts

    def percentile(self, share: float) -> int:
        """Return the value in us that this share of all does not exceed (nearest rank); 0 where there are none."""
        left = max(1, -int(-share * self.total // 1))
        for slot in sorted(self.counts):
            left -= self.counts[slot]
            if left <= 0:
                return value_of(slot)
        return 0

    def steps(self) -> Iterator[tuple[int, int]]:
        """Yield each value that occurred, with its count, from the least on."""
        for slot in sorted(self.counts):
            yield value_of(slot), self.counts[slot]


def slot_of(us: int) -> int:
    """Return the number of the slot that a value belongs to."""
    if us < 2 * _HALF:
        return max(us, 0)
    us = min(us, _MOST_US)
    shift = us.bit_length() - _BITS - 1
    return (shift << _BITS) + (us >> shift)


def value_of(slot: int) -> int:
    """Return the largest value of a slot."""
    if slot < 2 * _HALF:
        return slot
    shift = (slot >> _BITS) - 1
    return ((slot - (shift << _BITS) + 1) << shift) - 1


def merged(some: Iterable[Mapping[int, int]]) -> Histogram:
    """Return one of all these counts."""
    whole = Histogram()
    for counts in some:
        whole.add(counts)
    return whole
