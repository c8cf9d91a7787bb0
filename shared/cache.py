"""The cache: what may be lost. The seam.

Ring 2. Implementations: `shared.memory_cache.MemoryCache` and `shared.redis_cache.RedisCache`, held by
tests/contracts/test_cache.py. An outage is a miss, never an error: with Redis down the system is slower,
never wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class CacheUse:
    """What came of looking into a cache for one kind of value."""

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        """Nothing was there, or the cache was away."""
        self.outdated = 0
        """What was there was of an older version than the store's."""

    def note_miss(self, *, was_there: bool) -> None:
        """Take in that the value has to be read from the store."""
        self.outdated += was_there
        self.misses += not was_there

    def statistics(self, kind: str) -> dict[str, float]:
        """Return figures for metrics."""
        return {
            f"cached_{kind}_hits": self.hits,
            f"cached_{kind}_misses": self.misses,
            f"cached_{kind}_outdated": self.outdated,
        }


class Cache(Protocol):
    """Small values under string keys, each with a version that only goes up and a time to live.

    Of that up to a tenth may be cut, drawn anew each time, so that what was put together does not end together.
    """

    async def get(self, key: str) -> tuple[int, bytes] | None:
        """Return (version, value), or None: not there, expired, dropped or the cache is away."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Return (version, value) by key, as far as there are; one question for all."""

    async def put(self, key: str, version: int, value: bytes, *, ttl_s: float) -> bool:
        """Store unless a newer version was stored or dropped; True if stored.

        A slow reader can so never overwrite newer with older. False too when the cache is away.
        """

    async def drop(self, key: str, version: int, *, ttl_s: float = 60.0) -> None:
        """Forget a value below `version`, and for `ttl_s` refuse every `put` of a version below it.

        A value of this version or above already has what the drop is about, and stays.
        """
