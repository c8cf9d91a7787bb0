"""The cache: what may be lost. The seam.

Ring 2. Implementations: `shared.memory_cache.MemoryCache` and `shared.redis_cache.RedisCache`, held by
tests/contracts/test_cache.py. An outage is a miss, never an error: with Redis down the system is slower,
never wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Cache(Protocol):
    """Small values under string keys, each with a version that only goes up and a time to live."""

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
