"""An outage: whether what does not answer may be back in a moment, or has been away for longer.

Ring 1 (core). `now` is seconds of a clock that never goes back.
"""

from __future__ import annotations

from typing import Final

MOMENT_S: Final = 15.0
"""So long what is away is waited for. What is not asked for as long is taken to be there."""


class Outage:
    """What is known of one that is asked now and then."""

    def __init__(self) -> None:
        self._since = 0.0
        self._missed_at = float("-inf")

    def answered(self) -> None:
        """Take in that it is there."""
        self._missed_at = float("-inf")

    def missed(self, now: float) -> bool:
        """Take in that it did not answer; return whether it may be back in a moment."""
        if now - self._missed_at > MOMENT_S:
            self._since = now
        self._missed_at = now
        return now - self._since < MOMENT_S
