"""The session registry on Redis: one hash per session, changed by scripts that compare the epoch first.

Ring 3 (adapter). Held by tests/contracts/test_registry.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from services.gateway.registry import RegistryUnavailable, SessionEntry
from shared.redis_client import RedisAway, RedisClient

# KEYS: session. ARGV: epoch, node, user id, ms to live. The same claim again is ours as before.
_CLAIM: Final = """
local stored = redis.call('HMGET', KEYS[1], 'epoch', 'node', 'user_id')
local epoch = tonumber(ARGV[1])
local held = tonumber(stored[1] or 0)
local same = held == epoch and stored[2] == ARGV[2] and stored[3] == ARGV[3]
if not same and held + 1 ~= epoch then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'node', ARGV[2], 'user_id', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
"""
# KEYS: session. ARGV: epoch, ms to live.
_TOUCH: Final = """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
# KEYS: session. ARGV: epoch.
_RELEASE: Final = """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

_Script = Callable[[Sequence[str], Sequence[str | int | bytes]], Awaitable[Any]]


class RedisRegistry:
    """A `SessionRegistry` on Redis. `prefix` is the first part of every key."""

    def __init__(self, client: RedisClient, prefix: str = "starling") -> None:
        self._client = client
        self._prefix = prefix
        self._claim = client.script(_CLAIM)
        self._touch = client.script(_TOUCH)
        self._release = client.script(_RELEASE)

    async def claim(self, entry: SessionEntry, *, ttl_s: float) -> bool:
        """Store the entry if its epoch is one above the stored one's (1: none stored); True if it is ours now."""
        args = (entry.epoch, entry.node, entry.user_id, _ms(ttl_s))
        return await self._run(self._claim, entry.session_id, args)

    async def touch(self, session_id: str, epoch: int, *, ttl_s: float) -> bool:
        """Begin the time to live anew; False if the entry is gone or was claimed by a later epoch."""
        return await self._run(self._touch, session_id, (epoch, _ms(ttl_s)))

    async def read(self, session_id: str) -> SessionEntry | None:
        """Return where a session lives."""
        try:
            epoch, node, user_id = await self._client.hash(self._key(session_id), ("epoch", "node", "user_id"))
        except RedisAway as away:
            raise RegistryUnavailable(str(away)) from away
        if epoch is None or node is None or user_id is None:
            return None
        return SessionEntry(session_id, int(user_id), node.decode(), int(epoch))

    async def release(self, session_id: str, epoch: int) -> bool:
        """Remove the entry if it still has this epoch."""
        return await self._run(self._release, session_id, (epoch,))

    async def _run(self, script: _Script, session_id: str, args: Sequence[str | int]) -> bool:
        try:
            return bool(await script((self._key(session_id),), args))
        except RedisAway as away:
            raise RegistryUnavailable(str(away)) from away

    def _key(self, session_id: str) -> str:
        return f"{self._prefix}:session:{session_id}"


def _ms(seconds: float) -> int:
    return max(int(seconds * 1000), 1)
