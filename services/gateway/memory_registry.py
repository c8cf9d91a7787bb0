"""The session registry in the memory of one process.

Ring 2. Bounded: beyond `max_sessions` the entry that was touched longest ago is lost, as an entry in Redis may
be. Held by tests/contracts/test_registry.py.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

from services.gateway.registry import Lifted, SessionEntry, is_same_claim


class MemoryRegistry:
    """A `SessionRegistry` without a server. `clock` counts seconds and never goes back."""

    def __init__(self, *, max_sessions: int = 200_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_sessions = max_sessions
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, SessionEntry]] = OrderedDict()

    async def claim(self, entry: SessionEntry, *, ttl_s: float) -> bool:
        """Store the entry if its epoch is one above the stored one's (1: none stored)."""
        stored = self._live(entry.session_id)
        if not is_same_claim(stored, entry) and entry.epoch != (stored.epoch if stored is not None else 0) + 1:
            return False
        self._set(entry, ttl_s)
        self._make_room()
        return True

    async def claim_many(self, entries: Sequence[SessionEntry], *, ttl_s: float) -> list[bool]:
        """Claim many, each for itself."""
        return [await self.claim(entry, ttl_s=ttl_s) for entry in entries]

    async def restore(self, entry: SessionEntry, *, ttl_s: float) -> bool:
        """Store an entry that was claimed before, unless a later claim or another of this epoch is stored."""
        stored = self._live(entry.session_id)
        if stored is not None and stored.epoch >= entry.epoch and not is_same_claim(stored, entry):
            return False
        self._set(entry, ttl_s)
        self._make_room()
        return True

    async def touch(self, session_id: str, epoch: int, lifted: Lifted, *, ttl_s: float) -> bool:
        """Begin the time to live anew, and store `lifted`; False if it is gone or was claimed by a later epoch."""
        stored = self._live(session_id)
        if stored is None or stored.epoch != epoch:
            return False
        self._set(msgspec.structs.replace(stored, lifted=lifted), ttl_s)
        return True

    async def touch_many(self, entries: Sequence[SessionEntry], *, ttl_s: float) -> list[bool]:
        """Touch many, each for itself."""
        return [await self.touch(entry.session_id, entry.epoch, entry.lifted, ttl_s=ttl_s) for entry in entries]

    async def read(self, session_id: str) -> SessionEntry | None:
        """Return where a session lives."""
        return self._live(session_id)

    async def read_many(self, session_ids: Sequence[str]) -> dict[str, SessionEntry]:
        """Return where sessions live, those that there are."""
        return {one: entry for one in session_ids if (entry := await self.read(one)) is not None}

    async def release_many(self, claims: Sequence[tuple[str, int]]) -> list[bool]:
        """Remove the entries of these sessions that still have these epochs, each for itself."""
        return [self._release(*one) for one in claims]

    def _release(self, session_id: str, epoch: int) -> bool:
        stored = self._live(session_id)
        if stored is None or stored.epoch != epoch:
            return False
        del self._entries[session_id]
        return True

    def _live(self, session_id: str) -> SessionEntry | None:
        held = self._entries.get(session_id)
        if held is None:
            return None
        until, entry = held
        if self._clock() < until:
            return entry
        del self._entries[session_id]
        return None

    def _set(self, entry: SessionEntry, ttl_s: float) -> None:
        self._entries[entry.session_id] = (self._clock() + ttl_s, entry)
        self._entries.move_to_end(entry.session_id)

    def _make_room(self) -> None:
        """Drop what is over from the front: with equal times to live the first touched is the first to expire."""
        now = self._clock()
        while self._entries:
            until, entry = next(iter(self._entries.values()))
            if now < until and len(self._entries) <= self._max_sessions:
                return
            del self._entries[entry.session_id]
