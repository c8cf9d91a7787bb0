"""The pulse of `starling.invalidate`: whose turn it is to be heard there.

Ring 1 (core). Everyone with a queue of invalidations hears the same signs. Whoever has heard none for a second and a
little, drawn anew each time, gives one; the others hear it and wait again. So there are one or two a second, however
many processes there are, and whichever of them die. What silence means is in `sequencer.Shard`.
"""

from __future__ import annotations

from typing import Final

SIGN_MS: Final = 1_000
"""How long there is at least between two signs, as far as one process hears."""
JITTER_MS: Final = 400
"""How much longer a process waits at most; the first of many to be done speaks for all."""
SILENCE_MS: Final = 2_000
"""After so long without a sign nobody knows what was missed."""


class Pulse:
    """When it is this process's turn. `now` is ms of a clock that never goes back, `chance` is drawn from [0, 1)."""

    def __init__(self) -> None:
        self._due_at: int | None = None

    def hear(self, now: int, chance: float) -> None:
        """Take in that something came, or that this process has just given a sign."""
        self._due_at = now + SIGN_MS + int(JITTER_MS * chance)

    def wait_ms(self, now: int) -> int:
        """Return how long it is until this process's turn, should nothing come; 0: it is now."""
        return 0 if self._due_at is None else max(self._due_at - now, 0)
