"""Flushing: when what was pushed to connections is written to their sockets.

Ring 4 (shell). All that goes to one connection until its turn comes is written at once. Connections are flushed in the
order in which they were marked, in slices, so that a message to thousands never holds up the loop: between two slices
the loop reads, delivers and runs timers. How much may wait is bounded by who pushes (`delivery` waits for `flushed`)
and by each connection's own bound.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

SLICE_S: Final = 0.005
"""How long one slice may take. The transports write at once (see `Connection`), so the clock sees the system calls."""
_PER_LOOK: Final = 32
"""Connections flushed between two looks at the clock: about 0.3 ms."""


class Flushable(Protocol):
    """What flushing needs of a connection."""

    def flush(self) -> bool:
        """Write what was pushed; True if some is left, so that another turn is needed."""


class Flusher:
    """The writes of one node. `clock` is seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._marked: deque[Flushable] = deque()
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._is_due = False
        self._turns = 0
        self._slices = 0

    def mark(self, connection: Flushable) -> None:
        """Have a connection flushed in its turn; it marks itself again only after that."""
        self._marked.append(connection)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    async def flushed(self) -> None:
        """Wait until everything pushed before has had its turn: as many slices as it takes, none of which can hang."""
        if self._marked:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((self._turns + len(self._marked), turn))
            await turn

    def _flush(self) -> None:
        """Flush for one slice; whatever a connection does, the others get their turn."""
        marked = self._marked
        self._slices += 1
        ends_at = self._clock() + SLICE_S
        try:
            while marked and self._clock() < ends_at:
                for _ in range(min(_PER_LOOK, len(marked))):
                    connection = marked.popleft()
                    self._turns += 1
                    if connection.flush():
                        marked.append(connection)
        finally:
            while self._waiting and self._waiting[0][0] <= self._turns:
                _, turn = self._waiting.popleft()
                if not turn.done():
                    turn.set_result(None)
            self._is_due = bool(marked)
            if marked:
                asyncio.get_running_loop().call_soon(self._flush)

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {"turns": self._turns, "slices": self._slices, "behind": len(self._marked)}
