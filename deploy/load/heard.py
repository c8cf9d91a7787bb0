"""What one session heard of its channels, event by event: nothing may be missing, twice, or out of order.

Core. A channel's events are numbered densely, and a body of the channel tells where one begins (docs/protocol.md,
"Positions"). A number above the next one leaves a hole. What comes later and fills it was out of order; what never
comes is lost. What is not above the last number is a repeat, which is allowed only up to where a new session found its
node behind what the client had.
"""

from __future__ import annotations

from typing import Final

import msgspec

_MOST_HOLES: Final = 100_000
"""Numbers that one session remembers as missing; more are counted as lost at once."""


class Tally(msgspec.Struct):
    """How often what happened, over all sessions of a process. The first four must be 0 in the end."""

    lost: int = 0
    """events that never came though later ones of their channel did, or others had them"""
    doubled: int = 0
    """events that came again"""
    unordered: int = 0
    """events that came after later ones"""
    astray: int = 0
    """events of channels that the session knows nothing of"""
    repeated: int = 0
    """events that came again from a node that was behind when the session began anew (allowed)"""
    unread: int = 0
    """events that a session which began anew did not tell: clients read them by REST"""

    @property
    def is_good(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.lost or self.doubled or self.unordered or self.astray)


class Heard:
    """What one session heard. The loop over deliveries reads and writes `last` itself while all is in order."""

    __slots__ = ("_again_to", "_holes", "last")

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        """The highest seq by channel id."""
        self._holes: dict[str, set[int]] | None = None
        self._again_to: dict[str, int] | None = None

    def begin(self, channel_id: str, head: int, tally: Tally) -> None:
        """Take in that a session begins to tell of a channel behind `head`."""
        last = self.last.get(channel_id)
        if last is None or head == last:
            self.last[channel_id] = head
        elif head > last:
            tally.unread += head - last
            self.last[channel_id] = head
        else:
            self._again_to = self._again_to or {}
            self._again_to[channel_id] = last

    def take(self, channel_id: str, seq: int, tally: Tally) -> None:
        """Take in an event."""
        last = self.last.get(channel_id)
        if last is None:
            tally.astray += 1
        elif seq > last:
            if seq > last + 1:
                self._miss(channel_id, last + 1, seq, tally)
            self.last[channel_id] = seq
        elif self._holes and seq in (holes := self._holes.get(channel_id, set())):
            holes.discard(seq)
            tally.unordered += 1
        elif self._again_to and seq <= self._again_to.get(channel_id, 0):
            tally.repeated += 1
        else:
            tally.doubled += 1

    def end(self, heads: dict[str, int], tally: Tally) -> None:
        """Count what never came; `heads`: the last seq of each channel that anybody was told."""
        for channel_id, last in self.last.items():
            tally.lost += max(0, heads.get(channel_id, 0) - last)
        if self._holes:
            tally.lost += sum(map(len, self._holes.values()))

    def _miss(self, channel_id: str, first: int, end: int, tally: Tally) -> None:
        self._holes = self._holes or {}
        holes = self._holes.setdefault(channel_id, set())
        if len(holes) + end - first > _MOST_HOLES:
            tally.lost += end - first
        else:
            holes.update(range(first, end))
