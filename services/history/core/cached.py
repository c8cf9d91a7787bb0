"""Sealed buckets kept in memory: which there are, and whether one still is as the store has it.

Ring 1 (core). A sealed bucket takes no more events, so only a later change of one of its messages makes a kept copy
wrong. Every change is an event of the same stream, and its seq stands in the head (`Head.changed`) before anybody is
told that it was done. So a copy that was read when everything up to `as_of` was projected is right as long as the head,
read after the request came, says that nothing was changed above that; else `applied_seq` of the stored bucket tells.
Bounded in buckets and in bytes; the least recently used go first.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import OrderedDict
from typing import Final

import msgspec

from shared.core.stream import Bucket

BYTES_PER_STORED: Final = 4
"""A bucket decoded takes about so many times the bytes that it takes encoded (measured: 3.5 to 4)."""
_OVERHEAD: Final = 2_000

_Name = tuple[str, int]


class Kept(msgspec.Struct, frozen=True):
    """A copy of a bucket, read when everything up to `as_of` was projected."""

    bucket: Bucket
    as_of: int


class SealedBuckets:
    """Copies of sealed buckets: at most `most_bytes` of them, as they are estimated, and at most `most`."""

    def __init__(self, most_bytes: int, most: int = 20_000) -> None:
        self._most_bytes = most_bytes
        self._most = most
        self._kept: OrderedDict[_Name, Kept] = OrderedDict()
        self._by_id: dict[str, list[tuple[int, int]]] = {}
        """(first_id, first_seq) of each stream's buckets that have messages, ascending."""
        self._bytes = 0

    def put(self, bucket: Bucket, as_of: int) -> None:
        """Keep a bucket, if it is sealed, that was read after everything up to `as_of` was projected."""
        if not bucket.sealed or bucket.closed or _bytes_of(bucket) > self._most_bytes:
            return
        name = (bucket.stream, bucket.first_seq)
        self._drop(name)
        self._kept[name] = Kept(bucket, as_of)
        self._bytes += _bytes_of(bucket)
        if bucket.first_id:
            insort(self._by_id.setdefault(bucket.stream, []), (bucket.first_id, bucket.first_seq))
        while self._bytes > self._most_bytes or len(self._kept) > self._most:
            self._drop(next(iter(self._kept)))

    def get(self, stream: str, first_seq: int) -> Kept | None:
        """Return the copy of the bucket of this name."""
        kept = self._kept.get((stream, first_seq))
        if kept is not None:
            self._kept.move_to_end((stream, first_seq))
        return kept

    def find(self, stream: str, message_id: int) -> Kept | None:
        """Return the copy of the bucket among whose messages an id is or would be; None also if that is between two."""
        places = self._by_id.get(stream, ())
        index = bisect_right(places, (message_id, 1 << 62))
        if not index:
            return None
        kept = self.get(stream, places[index - 1][1])
        return kept if kept is not None and message_id <= kept.bucket.last_id else None

    def renew(self, kept: Kept, as_of: int) -> None:
        """Take in that a copy was still right when everything up to `as_of` was projected."""
        name = (kept.bucket.stream, kept.bucket.first_seq)
        if self._kept.get(name) is kept:
            self._kept[name] = Kept(kept.bucket, as_of)

    def _drop(self, name: _Name) -> None:
        kept = self._kept.pop(name, None)
        if kept is None:
            return
        bucket = kept.bucket
        self._bytes -= _bytes_of(bucket)
        if bucket.first_id:
            places = self._by_id[bucket.stream]
            places.remove((bucket.first_id, bucket.first_seq))
            if not places:
                del self._by_id[bucket.stream]

    def statistics(self) -> dict[str, float]:
        """Return figures for metrics."""
        return {"cached_buckets": len(self._kept), "cached_bytes": self._bytes}


def _bytes_of(bucket: Bucket) -> int:
    return bucket.size * BYTES_PER_STORED + _OVERHEAD
