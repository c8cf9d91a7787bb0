"""The cache in the memory of one process: least recently used goes first.

Ring 2. Bounded by bytes: each entry counts its key, its value and `ENTRY_BYTES` of Python around them. An entry
that is evicted takes its version with it, as in Redis. Held by tests/contracts/test_cache.py.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

ENTRY_BYTES: Final = 400


@dataclass(slots=True)
class _Entry:
    version: int
    value: bytes | None
    value_until: float
    version_until: float

    def cost(self, key: str) -> int:
        return ENTRY_BYTES + len(key) + len(self.value or b"")


class MemoryCache:
    """A `Cache` of at most `max_bytes`. `clock` counts seconds and never goes back."""

    def __init__(self, *, max_bytes: int = 64 * 1024 * 1024, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    async def get(self, key: str) -> tuple[int, bytes] | None:
        """Return (version, value), or None."""
        entry = self._live(key)
        if entry is None or entry.value is None or self._clock() >= entry.value_until:
            return None
        self._entries.move_to_end(key)
        return entry.version, entry.value

    async def get_many(self, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Return (version, value) by key, as far as there are."""
        found = {key: await self.get(key) for key in keys}
        return {key: entry for key, entry in found.items() if entry is not None}

    async def put(self, key: str, version: int, value: bytes, *, ttl_s: float) -> bool:
        """Store unless a newer version was stored or dropped, or it is larger than the cache; True if stored."""
        known = self._live(key)
        if known is not None and known.version > version:
            return False
        until = self._clock() + ttl_s
        entry = _Entry(version, value, until, max(until, known.version_until if known else 0.0))
        if entry.cost(key) > self._max_bytes:
            return False
        self._set(key, entry)
        return True

    async def drop(self, key: str, version: int, *, ttl_s: float = 60.0) -> None:
        """Forget a value below `version`, and for `ttl_s` refuse every `put` of a version below it."""
        known = self._live(key)
        until = self._clock() + ttl_s
        if known is None or known.version < version:
            self._set(key, _Entry(version, None, 0.0, max(until, known.version_until if known else 0.0)))
        else:
            known.version_until = max(known.version_until, until)

    def statistics(self) -> dict[str, int]:
        """Return how many entries and bytes are held, for gauges."""
        return {"entries": len(self._entries), "bytes": self._bytes}

    def _live(self, key: str) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is not None and self._clock() >= entry.version_until:
            self._remove(key)
            return None
        return entry

    def _set(self, key: str, entry: _Entry) -> None:
        if key in self._entries:
            self._remove(key)
        self._entries[key] = entry
        self._bytes += entry.cost(key)
        while self._bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))

    def _remove(self, key: str) -> None:
        self._bytes -= self._entries.pop(key).cost(key)
