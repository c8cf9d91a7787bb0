"""The Redis connection: every question has a deadline, and an outage costs the first who meet it, not everybody.

Ring 3 (adapter). What the driver raises leaves as `RedisAway`; after one, questions are refused at once for
`PAUSE_S`, so that callers do not wait for a server that is not there. An outage is logged once, when it begins
and when it ends. Read next: `shared.redis_cache` and `services.gateway.redis_registry`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from shared.settings import CacheSettings

PAUSE_S: Final = 0.5
CONNECTIONS: Final = 16
"""At most so many questions are with Redis at once; others wait, within their deadline.

Each connection costs its node a third of a millisecond to open, all of them at once when a crowd comes to a new node
or Redis comes back.
"""

_log = structlog.get_logger(__name__)


class RedisAway(Exception):
    """Redis did not answer in time: what was asked may or may not have happened."""


class RedisClient:
    """Asks Redis. `clock` counts seconds and never goes back."""

    def __init__(self, redis: Redis, timeout_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._timeout_s = timeout_s
        self._clock = clock
        self._away = False
        self._ask_again_at = 0.0

    async def get(self, key: str) -> bytes | None:
        """Return a string value. Raises `RedisAway`, as all here."""
        answer: bytes | None = await self._ask(lambda: self._redis.get(key))
        return answer

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return string values, None for each that is not there."""
        if not keys:
            return []
        answer: list[bytes | None] = await self._ask(lambda: self._redis.mget(keys))
        return answer

    def script(self, source: str) -> Callable[[Sequence[str], Sequence[str | int | float | bytes]], Awaitable[Any]]:
        """Return a function that runs this Lua script on keys and arguments, loading it where it is missing."""
        registered = self._redis.register_script(source)
        return lambda keys, args: self._ask(lambda: registered(keys=list(keys), args=list(args)))

    async def _ask(self, question: Callable[[], Awaitable[Any]]) -> Any:
        if self._away and self._clock() < self._ask_again_at:
            raise RedisAway("Redis is away")
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await question()
        except (RedisError, OSError, TimeoutError, RuntimeError) as error:  # the last: uvloop's, of a closed transport
            if not self._away:
                _log.warning("redis_lost", error=repr(error))
            self._away = True
            self._ask_again_at = self._clock() + PAUSE_S
            raise RedisAway("Redis did not answer") from error
        if self._away:
            self._away = False
            _log.info("redis_found")
        return answer


@asynccontextmanager
async def open_redis(settings: CacheSettings) -> AsyncIterator[RedisClient]:
    """Yield a client of the Redis at `settings.url`; connects when first asked, so it may be away at start."""
    timeout_s = settings.timeout.total_seconds()
    pool = BlockingConnectionPool.from_url(
        settings.url,
        max_connections=CONNECTIONS,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 1),  # once: a pooled connection may be of before a restart
        # Said at each connect otherwise, in two thirds of its time: who we are, and a wish of hosted Redis alone.
        driver_info=None,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    redis = Redis.from_pool(pool)
    try:
        yield RedisClient(redis, timeout_s)
    finally:
        await redis.aclose()
