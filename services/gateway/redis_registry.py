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
from shared.redis_client import RedisAway, RedisClient

# Each takes many sessions as KEYS and returns a list with 1 for each that it changed, else 0.
# ARGV: ms to live, 1 to restore; then of each session epoch, claim, lifted. The same claim again is ours as before.
_CLAIM: Final = """
local answers = {}
for i, key in ipairs(KEYS) do
    local epoch, claim = tonumber(ARGV[3 * i]), ARGV[3 * i + 1]
    local stored = redis.call('HMGET', key, 'epoch', 'claim')
    local held = tonumber(stored[1] or 0)
    local same = held == epoch and stored[2] == claim
    local next = held + 1 == epoch or (ARGV[2] == '1' and held < epoch)
    answers[i] = 0
    if same or next then
        redis.call('HSET', key, 'epoch', ARGV[3 * i], 'claim', claim, 'lifted', ARGV[3 * i + 2])
        redis.call('PEXPIRE', key, ARGV[1])
        answers[i] = 1
    end
end
return answers
"""
# ARGV: ms to live; then of each session epoch, lifted.
_TOUCH: Final = """
local answers = {}
for i, key in ipairs(KEYS) do
    answers[i] = 0
    if redis.call('HGET', key, 'epoch') == ARGV[2 * i] then
        redis.call('HSET', key, 'lifted', ARGV[2 * i + 1])
        answers[i] = redis.call('PEXPIRE', key, ARGV[1])
    end
end
return answers
"""
# Returns fields instead: nothing is changed.
_READ: Final = """
local answers = {}
for i, key in ipairs(KEYS) do answers[i] = redis.call('HMGET', key, 'claim', 'lifted') end
return answers
"""
# ARGV: of each session epoch.
_RELEASE: Final = """
local answers = {}
for i, key in ipairs(KEYS) do
    answers[i] = 0
    if redis.call('HGET', key, 'epoch') == ARGV[i] then answers[i] = redis.call('DEL', key) end
end
return answers
"""

_Args = Sequence[str | int | bytes]
_Script = Callable[[Sequence[str], _Args], Awaitable[Any]]

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
        self._read = client.script(_READ)

    async def claim(self, entry: SessionEntry, *, ttl_s: float) -> bool:
        """Store the entry if its epoch is one above the stored one's (1: none stored); True if it is ours now."""
        (is_ours,) = await self.claim_many((entry,), ttl_s=ttl_s)
        return is_ours

    async def claim_many(self, entries: Sequence[SessionEntry], *, ttl_s: float) -> list[bool]:
        """Claim many in one question, each for itself."""
        return await self._claim_all(entries, ttl_s, 0)

    async def restore(self, entry: SessionEntry, *, ttl_s: float) -> bool:
        """Store an entry that was claimed before, unless a later claim or another of this epoch is stored."""
        (is_ours,) = await self._claim_all((entry,), ttl_s, 1)
        return is_ours

    async def touch(self, session_id: str, epoch: int, lifted: Lifted, *, ttl_s: float) -> bool:
        """Begin the time to live anew, and store `lifted`; False if it is gone or was claimed by a later epoch."""
        (is_there,) = await self._run(self._touch, (session_id,), (_ms(ttl_s), epoch, _text(lifted)))
        return is_there

    async def touch_many(self, entries: Sequence[SessionEntry], *, ttl_s: float) -> list[bool]:
        """Touch many in one question, each for itself, with their `lifted`."""
        args = [one for entry in entries for one in (entry.epoch, _text(entry.lifted))]
        return await self._run(self._touch, [entry.session_id for entry in entries], (_ms(ttl_s), *args))

    async def read(self, session_id: str) -> SessionEntry | None:
        """Return where a session lives; None also if it was written by a release that we do not understand."""
        return (await self.read_many((session_id,))).get(session_id)

    async def read_many(self, session_ids: Sequence[str]) -> dict[str, SessionEntry]:
        """Return where sessions live, those that there are, by one question; as `read`."""
        stored = await self._ask(self._read, session_ids, ())
        found = {one: _entry_of(*its) for one, its in zip(session_ids, stored, strict=True)}
        return {one: entry for one, entry in found.items() if entry is not None}

    async def release_many(self, claims: Sequence[tuple[str, int]]) -> list[bool]:
        """Remove the entries of these sessions that still have these epochs, in one question, each for itself."""
        return await self._run(self._release, [one for one, _ in claims], [epoch for _, epoch in claims])

    async def _claim_all(self, entries: Sequence[SessionEntry], ttl_s: float, restores: int) -> list[bool]:
        args = [one for entry in entries for one in (entry.epoch, _claim_of(entry), _text(entry.lifted))]
        return await self._run(self._claim, [entry.session_id for entry in entries], (_ms(ttl_s), restores, *args))

    async def _run(self, script: _Script, session_ids: Sequence[str], args: _Args) -> list[bool]:
        return [bool(one) for one in await self._ask(script, session_ids, args)]

    async def _ask(self, script: _Script, session_ids: Sequence[str], args: _Args) -> list[Any]:
        if not session_ids:
            return []
        try:
            answers: list[Any] = await script([self._key(one) for one in session_ids], args)
        except RedisAway as away:
            raise RegistryUnavailable(str(away)) from away
        return answers

    def _key(self, session_id: str) -> str:
        return f"{self._prefix}:session:{session_id}"


def _entry_of(claim: bytes | None, lifted: bytes | None) -> SessionEntry | None:
    if claim is None or lifted is None:
        return None
    try:
        told_s, until_s = map(int, lifted.split())
        return msgspec.structs.replace(_decode(claim), lifted=(told_s, until_s))
    except (msgspec.DecodeError, ValueError) as error:
        _log.warning("session_entry_unreadable", reason=str(error))
        return None


def _claim_of(entry: SessionEntry) -> bytes:
    """Encode what a claim says, which is the same again for the same claim."""
    return _encode(entry if entry.lifted == NOT_LIFTED else msgspec.structs.replace(entry, lifted=NOT_LIFTED))


def _text(lifted: Lifted) -> str:
    return f"{lifted[0]} {lifted[1]}"


def _ms(seconds: float) -> int:
    return max(int(seconds * 1000), 1)
