"""Leases of presence on Redis: one hash per user, a field per node with the time until which it is good.

Ring 3 (adapter). Times are the server's. Held by tests/contracts/test_presence_leases.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from services.gateway.core.board import decode_presence, encode_presence
from services.gateway.presence_leases import LeasesUnavailable
from shared.core.model import OFFLINE, Presence
from shared.redis_client import RedisAway, RedisClient

AT_ONCE: Final = 500
"""So many users go into one question."""

# KEYS: users. ARGV: ms to live, node; then of each user what is said of it, empty for nothing.
_PUT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local untill = string.format('%.0f', now + ARGV[1])
for i, key in ipairs(KEYS) do
    if ARGV[i + 2] == '' then
        redis.call('HDEL', key, ARGV[2])
    else
        local held = redis.call('HGETALL', key)
        for j = 1, #held, 2 do  -- what ran out: or each node that was ever there would stay while the user does
            if tonumber(string.match(held[j + 1], '^%d+')) <= now then redis.call('HDEL', key, held[j]) end
        end
        redis.call('HSET', key, ARGV[2], untill .. ' ' .. ARGV[i + 2])
        redis.call('PEXPIRE', key, ARGV[1])
    end
end
return 1
"""
# KEYS: users. Returns the time in ms, then of each user its fields and values.
_READ: Final = """
local time = redis.call('TIME')
local answers = {string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))}
for i, key in ipairs(KEYS) do answers[i + 1] = redis.call('HGETALL', key) end
return answers
"""


class RedisPresenceLeases:
    """`PresenceLeases` on Redis. `prefix` is the first part of every key."""

    def __init__(self, client: RedisClient, prefix: str = "starling") -> None:
        self._prefix = prefix
        self._put = client.script(_PUT)
        self._read = client.script(_READ)

    async def put(self, node: str, presences: Mapping[int, Presence], *, ttl_s: float) -> None:
        """Keep how these users are on a node."""
        users = list(presences)
        for start in range(0, len(users), AT_ONCE):
            some = users[start : start + AT_ONCE]
            said = [b"" if presences[one].status == OFFLINE.status else encode_presence(presences[one]) for one in some]
            try:
                await self._put([self._key(one) for one in some], [max(int(ttl_s * 1000), 1), node, *said])
            except RedisAway as away:
                raise LeasesUnavailable(str(away)) from away

    async def read(self, user_ids: Collection[int]) -> dict[int, dict[str, Presence]]:
        """Return how these users are, by node."""
        users = list(user_ids)
        found: dict[int, dict[str, Presence]] = {}
        for start in range(0, len(users), AT_ONCE):
            some = users[start : start + AT_ONCE]
            try:
                now, *answers = await self._read([self._key(one) for one in some], [])
            except RedisAway as away:
                raise LeasesUnavailable(str(away)) from away
            for user_id, fields in zip(some, answers, strict=True):
                if good := _good(fields, int(now)):
                    found[user_id] = good
        return found

    def _key(self, user_id: int) -> str:
        return f"{self._prefix}:presence:{user_id}"


def _good(fields: list[Any], now_ms: int) -> dict[str, Presence]:
    good: dict[str, Presence] = {}
    for node, value in zip(fields[::2], fields[1::2], strict=True):
        until, _, said = value.partition(b" ")
        if int(until) > now_ms and (presence := decode_presence(said)) is not None:
            good[node.decode()] = presence
    return good
