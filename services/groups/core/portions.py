"""Portions: how much of what was asked for is read at a time, so that an answer is full and comes in time.

Ring 1 (core). Judged by what the last portions took and came to: more than fits would be read for nothing, and what
takes longer than its caller waits, too. When all gets slower portions get smaller, and each is still answered.
"""

from __future__ import annotations

from typing import Final

_WEIGHT: Final = 0.5
"""How much the last portion says of the next."""


class Portions:
    """The portions of answers of one kind. `first`: how many a portion has before anything is known."""

    def __init__(self, most_bytes: int, most_s: float, *, first: int) -> None:
        self._bytes = most_bytes / first
        self._seconds = most_s / first

    def count(self, bytes_left: float, seconds_left: float) -> int:
        """Return how many more are likely to fit; 0 if not one is."""
        return max(int(min(bytes_left / max(self._bytes, 1), seconds_left / max(self._seconds, 1e-6))), 0)

    def note(self, count: int, size: int, seconds: float) -> None:
        """Take in how many bytes a portion of so many had, and how long it took."""
        self._bytes += _WEIGHT * (size / count - self._bytes)
        self._seconds += _WEIGHT * (seconds / count - self._seconds)

    def note_unfinished(self, count: int, seconds: float) -> None:
        """Take in that a portion of so many was given up after so long: it would have taken longer."""
        self._seconds = max(self._seconds, seconds / count)
