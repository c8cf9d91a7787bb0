"""The Redis client: whatever the driver raises, callers are told that Redis is away, and the next question is asked."""

from __future__ import annotations

from typing import cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.redis_client import PAUSE_S, RedisAway, RedisClient


class Failing:
    """A driver that fails once, then answers."""

    def __init__(self, error: Exception) -> None:
        self.errors = [error]

    async def get(self, key: str) -> bytes:
        """Return what is there."""
        if self.errors:
            raise self.errors.pop()
        return key.encode()


@pytest.mark.parametrize(
    "error",
    [
        RedisError("lost"),
        ConnectionResetError(),
        TimeoutError(),
        # What uvloop says where a connection is closed between two steps of one question.
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_lost_connection_is_an_outage(error: Exception) -> None:
    """No caller falls over it, and who asks after the pause is answered."""
    now = [0.0]
    client = RedisClient(cast("Redis", Failing(error)), 1.0, clock=lambda: now[0])
    with pytest.raises(RedisAway):
        await client.get("key")
    now[0] = PAUSE_S
    assert await client.get("key") == b"key"
