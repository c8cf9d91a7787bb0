"""The session registry on Redis: one hash per session, changed by scripts that compare the epoch first.

Ring 3 (adapter). Field `claim` has what a claim says, in MessagePack, `lifted` what touches say, as "told up-to".
Held by tests/contracts/test_registry.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
import structlog

from services.gateway.registry import NOT_LIFTED, Lifted, RegistryUnavailable, SessionEntry
from shared.redis_client import Call, RedisAway, RedisClient

# KEYS: session. ARGV: epoch, claim, lifted, ms to live, 1 to restore. The same claim again is ours as before.
_CLAIM: Final = """
local stored = redis.call('HMGET', KEYS[1], 'epoch', 'claim')
local epoch, held = tonumber(ARGV[1]), tonumber(stored[1] or 0)
local same = held == epoch and stored[2] == ARGV[2]
local next = held + 1 == epoch or (ARGV[5] == '1' and held < epoch)
if not same and not next then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'claim', ARGV[2], 'lifted', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
"""
# KEYS: session. ARGV: epoch, lifted, ms to live.
_TOUCH: Final = """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'lifted', ARGV[2])
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
"""
# KEYS: session. ARGV: epoch.
_RELEASE: Final = """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

_Args = Sequence[str | int | bytes]
_Script = Callable[[Sequence[str], _Args], Awaitable[Any]]
_Scripts = Callable[[Sequence[Call]], Awaitable[list[Any]]]

_log = structlog.get_logger(__name__)
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(SessionEntry).decode


class RedisRegistry:
    """A `SessionRegistry` on Redis. `prefix` is the first part of every key."""

    def __init__(self, client: RedisClient, prefix: str = "starling") -> None:
        self._client = client
        self._prefix = prefix
        self._claim = client.script(_CLAIM)
        self._touch = client.script(_TOUCH)
        self._release = client.script(_RELEASE)
        self._claims = client.scripts(_CLAIM)
        self._touches = client.scripts(_TOUCH)

    async def claim(self, entry: SessionEntry, *, ttl_s: float) -> bool:
        """Store the entry if its epoch is one above the stored one's (1: none stored); True if it is ours now."""
        return await self._run(self._claim, entry.session_id, (*_claim_of(entry), _ms(ttl_s), 0))

    async def claim_many(self, entries: Sequence[SessionEntry], *, ttl_s: float) -> list[bool]:
        """Claim many in one question, each for itself."""
        return await self._run_many(
            self._claims, [(entry.session_id, (*_claim_of(entry), _ms(ttl_s), 0)) for entry in entries]
        )

    async def restore(self, entry: SessionEntry, *, ttl_s: float) -> bool:
        """Store an entry that was claimed before, unless a later claim or another of this epoch is stored."""
        return await self._run(self._claim, entry.session_id, (*_claim_of(entry), _ms(ttl_s), 1))

    async def touch(self, session_id: str, epoch: int, lifted: Lifted, *, ttl_s: float) -> bool:
        """Begin the time to live anew, and store `lifted`; False if it is gone or was claimed by a later epoch."""
        return await self._run(self._touch, session_id, (epoch, _text(lifted), _ms(ttl_s)))

    async def touch_many(self, entries: Sequence[SessionEntry], *, ttl_s: float) -> list[bool]:
        """Touch many in one question, each for itself, with their `lifted`."""
        return await self._run_many(
            self._touches, [(one.session_id, (one.epoch, _text(one.lifted), _ms(ttl_s))) for one in entries]
        )

    async def read(self, session_id: str) -> SessionEntry | None:
        """Return where a session lives; None also if it was written by a release that we do not understand."""
        try:
            claim, lifted = await self._client.hash(self._key(session_id), ("claim", "lifted"))
        except RedisAway as away:
            raise RegistryUnavailable(str(away)) from away
        if claim is None or lifted is None:
            return None
        try:
            told_s, until_s = map(int, lifted.split())
            return msgspec.structs.replace(_decode(claim), lifted=(told_s, until_s))
        except (msgspec.DecodeError, ValueError) as error:
            _log.warning("session_entry_unreadable", reason=str(error))
            return None

    async def release(self, session_id: str, epoch: int) -> bool:
        """Remove the entry if it still has this epoch."""
        return await self._run(self._release, session_id, (epoch,))

    async def _run(self, script: _Script, session_id: str, args: Sequence[str | int | bytes]) -> bool:
        try:
            return bool(await script((self._key(session_id),), args))
        except RedisAway as away:
            raise RegistryUnavailable(str(away)) from away

    async def _run_many(self, script: _Scripts, calls: Sequence[tuple[str, _Args]]) -> list[bool]:
        try:
            return [bool(one) for one in await script([((self._key(one),), args) for one, args in calls])]
        except RedisAway as away:
            raise RegistryUnavailable(str(away)) from away

    def _key(self, session_id: str) -> str:
        return f"{self._prefix}:session:{session_id}"


def _claim_of(entry: SessionEntry) -> tuple[int, bytes, str]:
    claim = msgspec.structs.replace(entry, lifted=NOT_LIFTED)
    return entry.epoch, _encode(claim), _text(entry.lifted)


def _text(lifted: Lifted) -> str:
    return f"{lifted[0]} {lifted[1]}"


def _ms(seconds: float) -> int:
    return max(int(seconds * 1000), 1)
