"""How many keys the events of a batch are published under at once, learned from what the nodes say.

Ring 1 (core). A wide union saves publishes; a node bound to few of its keys decodes much that is not for it. So the
width halves when any node drops more than half of what it decodes, and grows by one when for two seconds no node
was near that. Silence changes nothing.

Too wide costs every node, too narrow only some publishes, so it shrinks fast and grows slowly. What nodes say is
the doing of all replicas of history together: each hears it and follows this rule, so the widest lose most, and it
ends where no node drops more than half, though the replicas may differ. After a decrease the reports on their way
still tell of what was before; they are passed over.
"""

from __future__ import annotations

from typing import Final

from shared.core.signs import DECODED_S, Decoded

MOST_KEYS: Final = 64
FIRST_KEYS: Final = 8
"""Between the ends: from here to one it is three reports, and eight keys save most of what there is to save."""
FEW_EVENTS: Final = 16
"""A report of fewer tells of chance, and of nothing that would cost."""
MOST_FOREIGN: Final = 1 / 2
"""A larger share of foreign events halves the width."""
CALM_FOREIGN: Final = 3 / 8
"""Only while every share is below this does the width grow: one step more rarely passes the limit then."""
_TWO_REPORTS_MS: Final = int(2 * DECODED_S * 1000)
"""Within this time every busy node has said something about what is so now."""


class UnionWidth:
    """`keys` is how many keys an envelope may have. `now` is ms of a clock that never goes back."""

    def __init__(self, keys: int = FIRST_KEYS) -> None:
        self.keys = keys
        self._calm_since = 0
        self._deaf_until = 0

    def hear(self, decoded: Decoded, now: int) -> None:
        """Take in what a node says; nonsense is ignored."""
        if not (decoded.events >= FEW_EVENTS and 0 <= decoded.foreign <= decoded.events) or now < self._deaf_until:
            return
        share = decoded.foreign / decoded.events
        if share > MOST_FOREIGN:
            self.keys = max(1, self.keys // 2)
            self._deaf_until = self._calm_since = now + _TWO_REPORTS_MS
        elif share >= CALM_FOREIGN:
            self._calm_since = now
        elif now - self._calm_since >= _TWO_REPORTS_MS:
            self.keys = min(MOST_KEYS, self.keys + 1)
            self._calm_since = now
