"""The stream store in the memory of one process: for tests, and the measure of the MongoDB one.

Ring 2. `commit` follows the rule of the conditional upsert on a unique name, step by step, so that the pure
writers meet the same fence here as there. Held by tests/contracts/test_streams.py. Nothing is evicted:
it is the only copy.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

import msgspec

from shared.core.amending import Amendment
from shared.core.stream import Bucket, Head, Record, Write, bucket_of

_Name = tuple[str, int]


class MemoryStreams:
    """A `StreamStore` without a server."""

    def __init__(self) -> None:
        self._buckets: dict[_Name, Bucket] = {}
        self._chains: dict[str, list[int]] = {}
        self._heads: dict[str, Head] = {}
        self._dirty: dict[_Name, int] = {}

    async def read_head(self, stream: str) -> Head:
        """Return a stream's head; an empty one if there is none."""
        return self._heads.get(stream) or Head(stream)

    async def read_heads(self, streams: Sequence[str]) -> dict[str, Head]:
        """Return the heads of many streams; streams without one are left out."""
        return {stream: self._heads[stream] for stream in streams if stream in self._heads}

    async def read_ends(self, heads: Sequence[Head]) -> dict[str, int]:
        """Return the last committed seq of these heads' streams, but for those that may have gone on elsewhere."""
        tails = [self._buckets.get((head.stream, head.tail)) for head in heads]
        return {tail.stream: tail.next_seq - 1 for tail in tails if tail is not None and not tail.sealed}

    async def read_bucket(self, stream: str, first_seq: int) -> Bucket | None:
        """Return a bucket by name."""
        return self._buckets.get((stream, first_seq))

    async def read_applied(self, stream: str, first_seq: int) -> int | None:
        """Return a bucket's `applied_seq`."""
        bucket = self._buckets.get((stream, first_seq))
        return bucket.applied_seq if bucket is not None else None

    async def read_buckets(
        self, stream: str, first: int, last: int, limit: int, *, backward: bool = False
    ) -> list[Bucket]:
        """Return the first `limit` buckets whose first_seq is between these two; `backward`: the last, descending."""
        chain = self._chains.get(stream, [])
        found = chain[bisect_left(chain, first) : bisect_right(chain, last)]
        return [self._buckets[stream, one] for one in (found[::-1] if backward else found)[:limit]]

    async def find_bucket_of_seq(self, stream: str, seq: int) -> Bucket | None:
        """Return the bucket that holds `seq`; None if the stream has no such event."""
        chain = self._chains.get(stream, [])
        place = bisect_right(chain, seq)
        if not place:
            return None
        bucket = self._buckets[stream, chain[place - 1]]
        return bucket if seq < bucket.next_seq else None

    async def find_bucket_of_id(self, stream: str, message_id: int) -> Bucket | None:
        """Return the last bucket with `0 < first_id <= message_id`; None if there is none."""
        for first_seq in reversed(self._chains.get(stream, [])):
            bucket = self._buckets[stream, first_seq]
            if 0 < bucket.first_id <= message_id:
                return bucket
        return None

    async def read_messages(self, stream: str, first_seqs: Sequence[int], message_ids: Sequence[int]) -> list[Record]:
        """Return the messages of these ids that stand in the buckets of these names."""
        return [
            record
            for first_seq in first_seqs
            if (bucket := self._buckets.get((stream, first_seq))) is not None
            for record in bucket.messages
            if record.id in message_ids
        ]

    async def commit(self, writes: Sequence[Write]) -> list[bool]:
        """Try these writes, each for itself; True for those that are stored."""
        return [self._upsert(write) for write in writes]

    def _upsert(self, write: Write) -> bool:
        before, after = write.before, write.after
        name = (before.stream, before.first_seq)
        stored = self._buckets.get(name)
        if stored is None:
            if before.next_seq != before.first_seq:
                return False
            insort(self._chains.setdefault(before.stream, []), before.first_seq)
            self._buckets[name] = bucket_of(after, write.messages, write.changes)
        elif stored.next_seq == before.next_seq and not stored.sealed:
            self._buckets[name] = bucket_of(
                after,
                stored.messages + write.messages,
                stored.changes + write.changes,
                applied_seq=stored.applied_seq,
                imported=stored.imported,
            )
        else:
            return False
        if write.dirty_at:
            self._dirty[name] = write.dirty_at
        return True

    async def amend(self, amendments: Sequence[Amendment]) -> None:
        """Apply each amendment to its bucket if it is not applied yet."""
        for amendment in amendments:
            name = (amendment.stream, amendment.first_seq)
            if (bucket := self._buckets.get(name)) is not None:
                self._buckets[name] = amendment.apply(bucket)

    async def raise_heads(self, heads: Sequence[Head]) -> None:
        """Raise each field to at least the value given; creates what is missing."""
        for head in heads:
            stored = self._heads.get(head.stream) or Head(head.stream)
            self._heads[head.stream] = Head(
                head.stream,
                *(max(getattr(stored, field), getattr(head, field)) for field in _RAISED),
            )

    async def insert_buckets(self, buckets: Sequence[Bucket]) -> None:
        """Insert those of these buckets that are not there."""
        for bucket in buckets:
            if (name := (bucket.stream, bucket.first_seq)) not in self._buckets:
                insort(self._chains.setdefault(bucket.stream, []), bucket.first_seq)
                self._buckets[name] = bucket

    async def reopen(self, stream: str) -> None:
        """Take the mark of being closed from a stream's first bucket."""
        if (bucket := self._buckets.get((stream, 1))) is not None:
            self._buckets[stream, 1] = msgspec.structs.replace(bucket, closed=False)

    async def find_dirty(self, before_ms: int, limit: int) -> list[tuple[str, int, int]]:
        """Return (stream, first_seq, next_seq) of buckets marked before `before_ms`, oldest mark first."""
        marks = sorted((at, name) for name, at in self._dirty.items() if at < before_ms)
        return [(*name, self._buckets[name].next_seq) for _, name in marks[:limit]]

    async def clean(self, stream: str, first_seq: int, next_seq: int) -> None:
        """Take the dirty mark from a bucket if its `next_seq` is still this."""
        bucket = self._buckets.get((stream, first_seq))
        if bucket is not None and bucket.next_seq == next_seq:
            self._dirty.pop((stream, first_seq), None)


_RAISED = tuple(field for field in Head.__struct_fields__ if field != "stream")
