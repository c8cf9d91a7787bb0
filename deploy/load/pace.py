"""When what is due: a steady rate, or one that rises or falls evenly.

Core. The plan is open: who is late does not change when the next is due, and latency counts from when a message was
due, not from when there was time to send it. Else a server that stands still would be asked less, and look well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """From `first` to `last` per second, evenly over `seconds`, and `last` after that."""

    first: float
    last: float
    seconds: float

    def count(self, at_s: float) -> float:
        """Return how many are due up to `at_s` after the begin."""
        inside = min(max(at_s, 0.0), self.seconds)
        slope = (self.last - self.first) / self.seconds if self.seconds else 0.0
        return self.first * inside + slope * inside * inside / 2 + self.last * max(0.0, at_s - self.seconds)

    def due_s(self, number: int) -> float:
        """Return when the `number`-th (from 1 on) is due, in seconds after the begin; infinity if never."""
        total = self.count(self.seconds)
        if number > total:
            return self.seconds + (number - total) / self.last if self.last else math.inf
        slope = (self.last - self.first) / self.seconds
        # The root of slope/2 t^2 + first t = number, in the form that also holds where the slope is 0.
        return 2 * number / (self.first + math.sqrt(max(0.0, self.first**2 + 2 * slope * number)))

    def share(self, part: float) -> Pace:
        """Return the pace of one who does this part of all."""
        return Pace(self.first * part, self.last * part, self.seconds)


def pace_of(text: str, seconds: float) -> Pace:
    """Parse `300` or `50-1000`. Raises `ValueError`."""
    first, _, last = text.partition("-")
    pace = Pace(float(first), float(last or first), seconds)
    if pace.first < 0 or pace.last < 0:
        raise ValueError(text)
    return pace
