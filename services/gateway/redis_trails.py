"""Trails on Redis: one hash per node, so that it is there as a whole or not at all.

Ring 3 (adapter). Fields: `#` has the newest checkpoint's number, `#n` checkpoint n, any other is a stream's name with
its row of the table. All values are MessagePack, which a script can string together: a reader gets a few long strings,
not thousands of short ones. Held by tests/contracts/test_trails.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import structlog

from services.gateway.core.positions import Changes, Checkpoint, Followed, Trail
from services.gateway.trails import TrailsUnavailable
from shared.redis_client import RedisAway, RedisClient

AT_ONCE: Final = 1_000
"""So many rows, or checkpoints, go into one question, each of which has the client's deadline."""
_STAGE_MS: Final = 60_000
_READS: Final = 5

# KEYS: trail. ARGV: number, ms to live, oldest number to keep; in MessagePack the checkpoint, {stream: row}, streams
# that are gone. A write that comes late, from before a rewrite, finds a newer number.
_APPEND: Final = """
local number = tonumber(ARGV[1])
local newest = tonumber(redis.call('HGET', KEYS[1], '#') or -2)
if newest ~= number and newest + 1 ~= number then return 0 end
if newest ~= number then
  for stream, row in pairs(cmsgpack.unpack(ARGV[5])) do redis.call('HSET', KEYS[1], stream, cmsgpack.pack(row)) end
  for _, stream in ipairs(cmsgpack.unpack(ARGV[6])) do redis.call('HDEL', KEYS[1], stream) end
  redis.call('HSET', KEYS[1], '#', ARGV[1], '#' .. ARGV[1], ARGV[4])
  local old = tonumber(ARGV[3]) - 1
  while redis.call('HDEL', KEYS[1], '#' .. old) == 1 do old = old - 1 end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
# KEYS: where the trail is put together. ARGV: ms to live, {stream: row} in MessagePack, field, value, field, value ...
_STAGE: Final = """
for stream, row in pairs(cmsgpack.unpack(ARGV[2])) do redis.call('HSET', KEYS[1], stream, cmsgpack.pack(row)) end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""
# KEYS: where the trail was put together, trail. ARGV: number, fields, ms to live. 0: some of it is lost.
_PUT: Final = """
if tonumber(redis.call('HGET', KEYS[2], '#') or -1) >= tonumber(ARGV[1]) then
  redis.call('DEL', KEYS[1])
  return 1
end
if redis.call('HLEN', KEYS[1]) ~= tonumber(ARGV[2]) then return 0 end
redis.call('RENAME', KEYS[1], KEYS[2])
return redis.call('PEXPIRE', KEYS[2], ARGV[3])
"""
# KEYS: trail. ARGV: where to go on, about how many fields. Returns where to go on, the newest number, how many rows
# there are, streams and rows, how many checkpoints, the checkpoints.
_READ: Final = """
local rows, checkpoints = {}, {}
local found = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
for i = 1, #found[2], 2 do
  local field, value = found[2][i], found[2][i + 1]
  if string.byte(field) ~= 35 then
    rows[#rows + 1] = cmsgpack.pack(field)
    rows[#rows + 1] = value
  elseif field ~= '#' then
    checkpoints[#checkpoints + 1] = value
  end
end
local newest = redis.call('HGET', KEYS[1], '#')
return {found[1], newest, #rows / 2, table.concat(rows), #checkpoints, table.concat(checkpoints)}
"""
# KEYS: trail.
_NEWEST: Final = "return redis.call('HGET', KEYS[1], '#')"


class _Found(NamedTuple):
    """A part of a trail as the script returns it: rows and checkpoints strung together."""

    cursor: bytes
    newest: bytes | None
    row_count: int
    rows: bytes
    checkpoint_count: int
    checkpoints: bytes


_Part = TypeVar("_Part")
_Script = Callable[[Sequence[str], Sequence[str | int | bytes]], Awaitable[Any]]

_log = structlog.get_logger(__name__)
_encode: Final = msgspec.msgpack.Encoder().encode
_NO_ROWS: Final = _encode({})
_decode_rows: Final = msgspec.msgpack.Decoder(dict[str, Followed]).decode
_decode_checkpoints: Final = msgspec.msgpack.Decoder(list[Checkpoint]).decode


class RedisTrails:
    """`Trails` on Redis. `prefix` is the first part of every key."""

    def __init__(self, client: RedisClient, prefix: str = "starling") -> None:
        self._prefix = prefix
        self._append = client.script(_APPEND)
        self._stage = client.script(_STAGE)
        self._put = client.script(_PUT)
        self._read = client.script(_READ)
        self._newest = client.script(_NEWEST)

    async def append(self, node: str, changes: Changes, *, ttl_s: float) -> bool:
        """Store a checkpoint and what changed in the table with it, if it is the next one."""
        checkpoint = changes.checkpoint
        args = (
            checkpoint.number,
            _ms(ttl_s),
            changes.oldest,
            _encode(checkpoint),
            _encode(changes.changed),
            _encode(list(changes.gone)),
        )
        return bool(await _run(self._append, (self._key(node),), args))

    async def rewrite(self, trail: Trail, *, ttl_s: float) -> None:
        """Store the whole trail, in place of an older one. Written in parts beside it, then put there at once."""
        stage = f"{self._key(trail.node)}:{trail.number}"
        for rows in _parts(trail.table.items()):
            await _run(self._stage, (stage,), (_STAGE_MS, _encode(dict(rows))))
        for checkpoints in _parts(trail.checkpoints):
            fields: list[str | int | bytes] = ["#", trail.number]
            for one in checkpoints:
                fields += (f"#{one.number}", _encode(one))
            await _run(self._stage, (stage,), (_STAGE_MS, _NO_ROWS, *fields))
        count = len(trail.table) + len(trail.checkpoints) + 1
        if not await _run(self._put, (stage, self._key(trail.node)), (trail.number, count, _ms(ttl_s))):
            raise TrailsUnavailable("Redis lost parts of what was written")

    async def read(self, node: str) -> Trail | None:
        """Return a node's trail; None also if it was written by a release that we do not understand.

        Read in parts, each with the client's deadline; anew if the node wrote meanwhile, since it lives.
        """
        for _ in range(_READS):
            parts = await self._scan(node)
            newest = {part.newest for part in parts}
            if newest == {None}:
                return None
            if len(newest) == 1:
                return _trail_of(node, parts)
        raise TrailsUnavailable("it is being written")

    async def newest(self, node: str) -> int | None:
        """Return the number of the newest checkpoint in a node's trail."""
        newest = await _run(self._newest, (self._key(node),), ())
        return None if newest is None else int(newest)

    async def _scan(self, node: str) -> list[_Found]:
        """Return all of a trail, in parts, or less if it changed meanwhile."""
        parts: list[_Found] = []
        while not parts or (parts[-1].cursor != b"0" and parts[-1].newest == parts[0].newest):
            cursor = parts[-1].cursor if parts else b"0"
            parts.append(_Found(*await _run(self._read, (self._key(node),), (cursor, AT_ONCE))))
        return parts

    def _key(self, node: str) -> str:
        # The part in braces alone decides about the slot, so a Redis Cluster keeps both keys of a rewrite together.
        return f"{self._prefix}:trail:{{{node}}}"


def _trail_of(node: str, parts: list[_Found]) -> Trail | None:
    table: dict[str, Followed] = {}
    checkpoints: dict[int, Checkpoint] = {}  # a field may be found twice
    try:
        for part in parts:
            table |= _decode_rows(b"\xdf" + part.row_count.to_bytes(4, "big") + part.rows)
            found = _decode_checkpoints(b"\xdd" + part.checkpoint_count.to_bytes(4, "big") + part.checkpoints)
            checkpoints |= {one.number: one for one in found}
    except msgspec.DecodeError as error:
        _log.warning("trail_unreadable", node=node, reason=str(error))
        return None
    return Trail(node, tuple(checkpoints[number] for number in sorted(checkpoints)), table)


async def _run(script: _Script, keys: Sequence[str], args: Sequence[str | int | bytes]) -> Any:
    try:
        return await script(keys, args)
    except RedisAway as away:
        raise TrailsUnavailable(str(away)) from away


def _parts(all_of_it: Iterable[_Part]) -> Iterator[list[_Part]]:
    left = iter(all_of_it)
    while part := list(islice(left, AT_ONCE)):
        yield part


def _ms(seconds: float) -> int:
    return max(int(seconds * 1000), 1)
