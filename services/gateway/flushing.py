"""Flushing: when what was pushed to connections is written to their sockets.

Ring 4 (shell). All that goes to one connection until its turn comes is written at once. Connections are flushed in the
order in which they were marked, in slices, so that a message to thousands never holds up the loop: between two slices
the loop reads, delivers and runs timers. How much may wait is bounded by who pushes (`delivery` waits for `flushed`)
and by each connection's own bound.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from operator import length_hint
from typing import Final, Protocol

SLICE_S: Final = 0.005
"""How long one slice may take. Sockets are written to at once (see `outbox`), so the clock sees the system calls."""
_PER_LOOK: Final = 64
"""Connections flushed between two looks at the clock: about 0.5 ms."""

Pending = bytes | list[bytes] | None
"""What waits to be written to one connection: mostly nothing, or one frame."""


class Flushable(Protocol):
    """What flushing needs of a connection. `fd`: where one frame may be written as it is, or -1."""

    pending: Pending
    fd: int

    def flush(self) -> None:
        """Write what is pending. If some of it is left for another turn it marks itself."""


class Flusher:
    """The writes of one node. `clock` is seconds that never go back; `write` is the system's."""

    def __init__(self, clock: Callable[[], float], write: Callable[[int, bytes], int] = os.write) -> None:
        self._clock = clock
        self._write = write
        self.marked: list[Flushable] = []
        """Who is to be flushed after those of the round. Who appends calls `arm` in the same step."""
        self._round: Iterator[Flushable] = iter(())
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._is_due = False
        self._begun = 0
        """Turns of all rounds so far, those still to come in this one too."""
        self._slices = 0

    def mark(self, connection: Flushable) -> None:
        """Have a connection flushed in its turn; it is marked again only after that."""
        self.marked.append(connection)
        self.arm()

    def arm(self) -> None:
        """See to it that those who are marked are flushed."""
        if not self._is_due and self.marked:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    async def flushed(self) -> None:
        """Wait until everything pushed before has had its turn: as many slices as it takes, none of which can hang."""
        if self._is_due:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((self._begun + len(self.marked), turn))
            await turn

    def write_nowait(self, fd: int, data: bytes) -> int:
        """Return how many of these bytes a socket took at once: none if it can't, for whatever reason."""
        try:
            return self._write(fd, data)
        except OSError:
            return 0

    def _flush(self) -> None:
        """Flush for one slice; whatever a connection does, the others get their turn."""
        self._slices += 1
        ends_at = self._clock() + SLICE_S
        try:
            while self._has_turns() and self._clock() < ends_at:
                self._flush_some()
        finally:
            turns = self._turns
            while self._waiting and self._waiting[0][0] <= turns:
                _, turn = self._waiting.popleft()
                if not turn.done():
                    turn.set_result(None)
            self._is_due = self._has_turns()
            if self._is_due:
                asyncio.get_running_loop().call_soon(self._flush)

    def _has_turns(self) -> bool:
        """Whether somebody is to be flushed; begins the next round if this one is over."""
        if length_hint(self._round):
            return True
        if not self.marked:
            return False
        self._begun += len(self.marked)
        self._round, self.marked = iter(self.marked), []
        return True

    def _flush_some(self) -> None:
        # For each recipient of each message: so without a call beside the system's own.
        write = self._write
        for connection in islice(self._round, _PER_LOOK):
            pending = connection.pending
            if connection.fd >= 0 and type(pending) is bytes:
                connection.pending = None
                try:
                    sent = write(connection.fd, pending)
                except OSError:
                    sent = 0
                if sent != len(pending):
                    connection.pending = pending[sent:]
                    connection.flush()
            else:
                connection.flush()

    @property
    def _turns(self) -> int:
        return self._begun - length_hint(self._round)

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        behind = length_hint(self._round) + len(self.marked)
        return {"turns": self._turns, "slices": self._slices, "behind": behind}
