"""The limiter on Redis: one budget per key for all processes. While Redis is away each process counts for itself.

Ring 3 (adapter). A key holds when its budget will be full again (the "theoretical arrival time" of GCRA, the generic
cell rate algorithm of ATM traffic management), and is gone by itself then. Held by tests/contracts/test_limiter.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from shared.core.limits import Spent
from shared.limiter import LocalLimiter
from shared.redis_client import RedisAway, RedisClient

# KEYS: budget. ARGV: now (ms), ms that one use takes to come back, uses at once. Returns ms to wait, 0 if it was used,
# and ms until the budget is full again: as text, since Redis cuts numbers to whole ones.
_SPEND: Final = """
local now, each, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + each
local over = full - now - each * burst
if over > 0 then return {math.ceil(over), string.format('%.3f', full - each - now)} end
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil(full - now))
return {0, string.format('%.3f', full - now)}
"""


class RedisLimiter:
    """A `Limiter` for all processes that use one Redis and prefix. `name` tells it from other limiters there."""

    def __init__(self, client: RedisClient, prefix: str, name: str, per_minute: int, now: Callable[[], int]) -> None:
        self._spend = client.script(_SPEND)
        self._place = f"{prefix}:limit:{name}"
        self._per_minute = per_minute
        self._now = now
        self._alone = LocalLimiter(per_minute, now)

    async def spend(self, key: str) -> Spent:
        """Use one; return how long to wait if there was no room, and what is left: in one question."""
        # What strangers say makes a key, of any length.
        digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:32]
        each_ms = 60_000 / self._per_minute
        try:
            wait, full = await self._spend((f"{self._place}:{digest}",), (self._now(), each_ms, self._per_minute))
        except RedisAway:
            return await self._alone.spend(key)
        full_ms = float(full)
        remaining = int(self._per_minute - full_ms / each_ms + 1e-6)
        return Spent(int(wait) / 1000, self._per_minute, max(remaining, 0), full_ms / 1000)
