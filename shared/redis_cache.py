"""The cache on Redis: a value and its version, put and dropped by scripts so that older never follows newer.

Ring 3 (adapter). Two keys per entry: the value with its version before it, and the highest version known, which
outlives the value. Redis may evict either without the other, so `put` looks at both. Held by
tests/contracts/test_cache.py.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from shared.redis_client import RedisAway, RedisClient

_VERSION_DIGITS: Final = 20
_JITTER: Final = 0.1

# Versions are ordered as decimal strings of equal length: Lua's numbers are doubles, exact only to 2^53.
# KEYS: value, version. ARGV: version, value, ms to live. The version lives as long as the longest ask.
_PUT: Final = f"""
local known = redis.call('GET', KEYS[2])
if known and known > ARGV[1] then return 0 end
if redis.call('GETRANGE', KEYS[1], 0, {_VERSION_DIGITS - 1}) > ARGV[1] then return 0 end
local left = redis.call('PTTL', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[1], 'PX', math.max(left, tonumber(ARGV[3])))
return 1
"""
# KEYS: value, version. ARGV: version, ms to refuse.
_DROP: Final = """
local known = redis.call('GET', KEYS[2])
local left = redis.call('PTTL', KEYS[2])
local version = ARGV[1]
if known and known >= version then version = known else redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[2], version, 'PX', math.max(left, tonumber(ARGV[2])))
return 1
"""


class RedisCache:
    """A `Cache` on Redis: while it is away there is nothing in it. `prefix` is the first part of every key."""

    def __init__(self, client: RedisClient, prefix: str = "starling") -> None:
        self._client = client
        self._prefix = prefix
        self._put = client.script(_PUT)
        self._drop = client.script(_DROP)

    def _keys(self, key: str) -> tuple[str, str]:
        # The part in braces alone decides about the slot, so a Redis Cluster keeps both keys together.
        place = f"{self._prefix}:cache:{{{key}}}"
        return f"{place}:value", f"{place}:version"

    async def get(self, key: str) -> tuple[int, bytes] | None:
        """Return (version, value), or None."""
        try:
            stored = await self._client.get(self._keys(key)[0])
        except RedisAway:
            return None
        return _entry_of(stored) if stored is not None else None

    async def get_many(self, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Return (version, value) by key, as far as there are."""
        try:
            stored = await self._client.get_many([self._keys(key)[0] for key in keys])
        except RedisAway:
            return {}
        return {key: _entry_of(one) for key, one in zip(keys, stored, strict=True) if one is not None}

    async def put(self, key: str, version: int, value: bytes, *, ttl_s: float) -> bool:
        """Store unless a newer version was stored or dropped; True if stored."""
        lives_ms = _ms(ttl_s * (1 - _JITTER * random.random()))  # noqa: S311 (no secret)
        try:
            return bool(await self._put(self._keys(key), (_ordered(version), value, lives_ms)))
        except RedisAway:
            return False

    async def drop(self, key: str, version: int, *, ttl_s: float = 60.0) -> None:
        """Forget a value below `version`, and for `ttl_s` refuse every `put` of a version below it."""
        try:
            await self._drop(self._keys(key), (_ordered(version), _ms(ttl_s)))
        except RedisAway:
            return


def _entry_of(stored: bytes) -> tuple[int, bytes]:
    return int(stored[:_VERSION_DIGITS]), stored[_VERSION_DIGITS:]


def _ordered(version: int) -> str:
    return f"{version:0{_VERSION_DIGITS}d}"


def _ms(seconds: float) -> int:
    return max(int(seconds * 1000), 1)
