"""A stream store that counts what is read of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.core.stream import Bucket, Head
from shared.memory_streams import MemoryStreams


class CountingStreams(MemoryStreams):
    """Counts what is read, by kind; and lets something happen right after a head was read."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = self.buckets = self.applied = 0
        self.then: Callable[[], object] | None = None

    async def read_head(self, stream: str) -> Head:
        """Count one."""
        self.heads += 1
        head = await super().read_head(stream)
        if self.then is not None:
            then, self.then = self.then, None
            await asyncio.to_thread(then)
        return head

    async def read_bucket(self, stream: str, first_seq: int) -> Bucket | None:
        """Count one."""
        self.buckets += 1
        return await super().read_bucket(stream, first_seq)

    async def read_buckets(
        self, stream: str, first: int, last: int, limit: int, *, backward: bool = False
    ) -> list[Bucket]:
        """Count them."""
        found = await super().read_buckets(stream, first, last, limit, backward=backward)
        self.buckets += len(found)
        return found

    async def find_bucket_of_id(self, stream: str, message_id: int) -> Bucket | None:
        """Count one."""
        self.buckets += 1
        return await super().find_bucket_of_id(stream, message_id)

    async def read_applied(self, stream: str, first_seq: int) -> int | None:
        """Count one."""
        self.applied += 1
        return await super().read_applied(stream, first_seq)

    def taken(self) -> tuple[int, int, int]:
        """Return heads, buckets and marks read since the last time."""
        counts = self.heads, self.buckets, self.applied
        self.heads = self.buckets = self.applied = 0
        return counts
