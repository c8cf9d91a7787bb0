"""The stream store: where bucket chains and heads live. The seam, and the driver of the pure writers.

Ring 2. Implementations: `MemoryStreams` (shared/memory_streams.py) and `MongoStreams`
(shared/mongo_streams.py), held by tests/contracts/test_streams.py. The rules are in `shared.core.stream`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Protocol, TypeVar

from shared.core.amending import Amendment
from shared.core.stream import Bucket, Head, Record, Write
from shared.core.writing import Amend, Commit, FindBucket, RaiseHeads, ReadBucket, ReadHead, Together

T = TypeVar("T")


class StoreUnavailable(Exception):
    """The store did not answer or did not do it; for a read: try again, for a write: unknown."""


class StoreRefused(Exception):
    """The store refuses a write for what is in it, now and always: whoever made it has a defect."""


class StreamStore(Protocol):
    """Bucket chains and heads. Every read is a majority read, every write is journaled by majority."""

    async def read_head(self, stream: str) -> Head:
        """Return a stream's head; an empty one if there is none. Raises `StoreUnavailable`, as all here."""

    async def read_heads(self, streams: Sequence[str]) -> dict[str, Head]:
        """Return the heads of many streams at once; streams without one are left out."""

    async def read_ends(self, heads: Sequence[Head]) -> dict[str, int]:
        """Return the last committed seq of these heads' streams, in one query.

        Left out are streams that have gone on to another bucket than the head's tail, or may have.
        """

    async def read_bucket(self, stream: str, first_seq: int) -> Bucket | None:
        """Return a bucket by name."""

    async def read_applied(self, stream: str, first_seq: int) -> int | None:
        """Return a bucket's `applied_seq` without the rest of it; None if it is not there."""

    async def read_buckets(
        self, stream: str, first: int, last: int, limit: int, *, backward: bool = False
    ) -> list[Bucket]:
        """Return the first `limit` buckets whose first_seq is between these two, both included, in ascending order.

        `backward`: the last `limit`, in descending order.
        """

    async def find_bucket_of_seq(self, stream: str, seq: int) -> Bucket | None:
        """Return the bucket that holds `seq`; None if the stream has no such event."""

    async def find_bucket_of_id(self, stream: str, message_id: int) -> Bucket | None:
        """Return the last bucket with `0 < first_id <= message_id`; None if there is none."""

    async def read_messages(self, stream: str, first_seqs: Sequence[int], message_ids: Sequence[int]) -> list[Record]:
        """Return the messages of these ids that stand in the buckets of these names, in one query."""

    async def commit(self, writes: Sequence[Write]) -> list[bool]:
        """Try these writes, at most one per stream, in one unordered bulk.

        True: surely stored by majority. False: lost (the tail is not as `before` tells) or unknown. Never raises
        for an outage: that is False for all. Raises `StoreRefused` if one can't ever be stored; the others may be.
        """

    async def amend(self, amendments: Sequence[Amendment]) -> None:
        """Apply each amendment to its bucket if it is not applied yet, in one unordered bulk.

        Of one bucket at most one. What has stood in the bucket before, its `next_seq` and seal too, stays as it is.
        """

    async def raise_heads(self, heads: Sequence[Head]) -> None:
        """Raise each field to at least the value given; creates what is missing."""

    async def insert_buckets(self, buckets: Sequence[Bucket]) -> None:
        """Insert those of these buckets that are not there; return when all are stored by majority.

        For imports: what has such a name already stays as it is, and nothing else is looked at. At most 100.
        """

    async def reopen(self, stream: str) -> None:
        """Take the mark of being closed from a stream's first bucket."""

    async def find_dirty(self, before_ms: int, limit: int) -> list[tuple[str, int, int]]:
        """Return (stream, first_seq, next_seq) of buckets whose `dirty_at` is below `before_ms`, oldest first."""

    async def clean(self, stream: str, first_seq: int, next_seq: int) -> None:
        """Take the dirty mark from a bucket if its `next_seq` is still this."""


Perform = Callable[[Any], Awaitable[Any]]
"""Performs the effects that are not the stream store's own."""


async def drive(generator: Generator[Any, Any, T], store: StreamStore, perform: Perform) -> T:
    """Run a pure writer to its end; `perform` gets every effect that is not the store's.

    Raises what the store or `perform` raises, and what the generator raises (refusals).
    """

    async def one(effect: Any) -> Any:
        match effect:
            case ReadHead(stream):
                return await store.read_head(stream)
            case ReadBucket(stream, first_seq):
                return await store.read_bucket(stream, first_seq)
            case FindBucket(stream, message_id):
                return await store.find_bucket_of_id(stream, message_id)
            case Amend(amendments):
                return await store.amend(amendments)
            case Commit(writes):
                return await store.commit(writes)
            case RaiseHeads(heads):
                return await store.raise_heads(heads)
            case Together(effects):
                return await asyncio.gather(*(one(inner) for inner in effects))
            case _:
                return await perform(effect)

    try:
        effect = next(generator)
        while True:
            effect = generator.send(await one(effect))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        generator.close()
