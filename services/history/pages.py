"""Pages of messages and of events, read from the chain of buckets.

Ring 4 (shell). Every answer is of one moment: first the head is read, then as much of the chain as is needed, and what
is above the head's seq is left out. The head is raised before anybody is told of an event, so an answer never lacks
what was acknowledged before it was asked for. Readers who want the same share one query (`shared.joining`), and sealed
buckets are kept (`core.cached`); both hold to that. Newest first, with Discord's meaning of `before`, `after`
and `around`.

A page reads the bucket that holds its cursor, then walks the chain by name: one or two documents where messages are
dense. Where they are sparse it reads neighbours together, never more than it still lacks messages. Buckets in which
all was deleted are walked over, in growing steps, at most `MOST_BUCKETS` of them: beyond that a page is short.
Buckets: `shared.core.stream`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from services.history.core.cached import Kept, SealedBuckets
from shared.core.calls import EventPage
from shared.core.message_events import MessageCreated
from shared.core.stream import Bucket, Event, Head, Record, channel_stream, event_of
from shared.joining import Joining
from shared.streams import StreamStore

MAX_LIMIT: Final = 100
MOST_BUCKETS: Final = 400
"""Most buckets that one page is made of, read or kept."""
_CACHE_BYTES: Final = 64 * 1024 * 1024
_MOST_AT_ONCE: Final = 64

Page = tuple[Record, ...]


class Pages:
    """Reads channels' history."""

    def __init__(self, streams: StreamStore, *, cache_bytes: int = _CACHE_BYTES) -> None:
        self._streams = streams
        self._sealed = SealedBuckets(cache_bytes)
        self._joining: Joining[Page] = Joining()
        self.hits = 0
        self.misses = 0

    async def before(self, channel_id: int, message_id: int, limit: int) -> Page:
        """Return the `limit` messages next before `message_id` (`MAX_ID`: the latest), newest first."""
        return await self._joining.ask(
            ("before", channel_id, message_id, limit),
            lambda: self._page(channel_id, message_id, older=limit, newer=0),
        )

    async def after(self, channel_id: int, message_id: int, limit: int) -> Page:
        """Return the `limit` messages next after `message_id`, newest first."""
        return await self._joining.ask(
            ("after", channel_id, message_id, limit),
            lambda: self._page(channel_id, message_id + 1, older=0, newer=limit),
        )

    async def around(self, channel_id: int, message_id: int, limit: int) -> Page:
        """Return a window: `limit // 2` messages before `message_id`, the rest from it on; newest first."""
        return await self._joining.ask(
            ("around", channel_id, message_id, limit),
            lambda: self._page(channel_id, message_id, older=limit // 2, newer=limit - limit // 2),
        )

    async def find(self, channel_id: int, message_id: int) -> Record | None:
        """Return one message; None if the channel has none of this id."""
        page = await self._joining.ask(("find", channel_id, message_id), lambda: self._find(channel_id, message_id))
        return page[0] if page else None

    async def last_id(self, channel_id: int) -> int:
        """Return the id of the last message that was ever written in a channel, 0 for none."""
        return (await self._streams.read_head(channel_stream(channel_id))).last_id

    async def events(self, channel_id: int, after_seq: int, limit: int) -> EventPage:
        """Return every event after `after_seq`, in order, at most `limit`, and whether there are more."""
        head = await self._streams.read_head(channel_stream(channel_id))
        return await self._events(head, after_seq, limit)

    async def news(self, channel_id: int, after_seq: int, limit: int) -> EventPage:
        """Return the same without what was imported, for who would tell it to clients: no event, and nothing new."""
        head = await self._streams.read_head(channel_stream(channel_id))
        if after_seq >= head.imported:
            return await self._events(head, after_seq, limit)
        page = await self._events(head, head.imported, limit)
        after_id = head.last_id if head.seq == head.imported else 0
        return msgspec.structs.replace(page, after=head.imported, after_id=after_id)

    async def heads(self, streams: Sequence[str]) -> dict[str, int]:
        """Return the last seq of each stream that has events; of a group's or user's, the last projected one."""
        heads = await self._streams.read_heads(streams)
        return {stream: head.seq if stream.startswith("c:") else head.projected for stream, head in heads.items()}

    def statistics(self) -> dict[str, float]:
        """Return figures for metrics."""
        asked = {"pages_asked": self._joining.asked, "page_queries": self._joining.queries}
        kept = {"cache_hits": self.hits, "cache_misses": self.misses}
        return {**asked, **self._sealed.statistics(), **kept}

    async def _events(self, head: Head, after_seq: int, limit: int) -> EventPage:
        events: list[Event] = []
        bucket = None
        if after_seq < head.seq:
            bucket = await self._streams.find_bucket_of_seq(head.stream, after_seq + 1)
        while bucket is not None:
            for record in bucket.records():
                if not after_seq < record.seq <= head.seq:
                    continue
                if len(events) == limit:
                    return EventPage(tuple(events), has_more=True)
                events.append(event_of(bucket, record))
            bucket = await self._named(head, bucket.next_seq) if bucket.next_seq <= head.seq else None
        return EventPage(tuple(events), has_more=False)

    async def _find(self, channel_id: int, message_id: int) -> Page:
        head = await self._streams.read_head(channel_stream(channel_id))
        bucket = await self._bucket_at(head, message_id) if 0 < message_id <= head.last_id else None
        messages = bucket.messages if bucket is not None else ()
        return tuple(one for one in messages if one.id == message_id and _is_there(one, head))

    async def _page(self, channel_id: int, cursor: int, *, older: int, newer: int) -> Page:
        """Return the `newer` messages next from `cursor` on and the `older` ones next before it, newest first."""
        head = await self._streams.read_head(channel_stream(channel_id))
        if not head.seq:
            return ()
        start = await self._bucket_at(head, cursor)
        page: list[Record] = []
        if newer:
            async for bucket in self._forward(head, start, newer):
                page += [one for one in bucket.messages if one.id >= cursor and _is_there(one, head)]
                if len(page) >= newer:
                    break
            page = page[:newer][::-1]
        most = len(page) + older
        if older and start is not None:
            async for bucket in self._backward(head, start, older):
                page += [one for one in reversed(bucket.messages) if one.id < cursor and _is_there(one, head)]
                if len(page) >= most:
                    break
        return tuple(page[:most])

    async def _bucket_at(self, head: Head, cursor: int) -> Bucket | None:
        """Return the last bucket with a message at or before a cursor; None if all are behind it."""
        if cursor > head.last_id:
            return await self._named(head, head.tail)
        found = await self._right(head, self._sealed.find(head.stream, cursor))
        if found is None:
            found = await self._streams.find_bucket_of_id(head.stream, cursor)
            self._keep(head, found)
        return found

    async def _named(self, head: Head, first_seq: int) -> Bucket | None:
        bucket = await self._kept(head, first_seq)
        if bucket is None:
            bucket = await self._streams.read_bucket(head.stream, first_seq)
            self._keep(head, bucket)
        return bucket

    async def _kept(self, head: Head, first_seq: int) -> Bucket | None:
        return await self._right(head, self._sealed.get(head.stream, first_seq))

    async def _right(self, head: Head, kept: Kept | None) -> Bucket | None:
        """Return a kept bucket if it is as the store has it."""
        if kept is not None and kept.as_of < head.changed:
            applied = await self._streams.read_applied(head.stream, kept.bucket.first_seq)
            if applied == kept.bucket.applied_seq:
                self._sealed.renew(kept, head.projected)
            else:
                kept = None
        if kept is None:
            self.misses += 1
            return None
        self.hits += 1
        return kept.bucket

    def _keep(self, head: Head, bucket: Bucket | None) -> None:
        if bucket is not None:
            self._sealed.put(bucket, head.projected)

    async def _backward(self, head: Head, start: Bucket, wanted: int) -> AsyncIterator[Bucket]:
        """Walk from a bucket to the first."""
        yield start
        left, span, first_seq = MOST_BUCKETS - 1, wanted, start.prev
        while first_seq and left > 0:
            bucket = await self._kept(head, first_seq)
            if bucket is not None:
                some = [bucket]
            else:
                at_once = min(left, _MOST_AT_ONCE)
                begin = max(first_seq - span, 0) + 1
                some = await self._streams.read_buckets(head.stream, begin, first_seq, at_once, backward=True)
                span *= 2
            for bucket in some:
                self._keep(head, bucket)
                yield bucket
            if not some:
                return
            left -= len(some)
            first_seq = some[-1].prev

    async def _forward(self, head: Head, start: Bucket | None, wanted: int) -> AsyncIterator[Bucket]:
        """Walk from a bucket, or the first, to the last up to the head."""
        left, span, first_seq = MOST_BUCKETS, wanted, 1
        if start is not None:
            yield start
            left, first_seq = left - 1, start.next_seq
        while first_seq <= head.seq and left > 0:
            bucket = await self._kept(head, first_seq)
            if bucket is not None:
                some = [bucket]
            else:
                at_once = min(left, _MOST_AT_ONCE)
                some = await self._streams.read_buckets(head.stream, first_seq, first_seq + span - 1, at_once)
                span *= 2
            for bucket in some:
                self._keep(head, bucket)
                yield bucket
            if not some:
                return
            left -= len(some)
            first_seq = some[-1].next_seq


def _is_there(record: Record, head: Head) -> bool:
    """Whether a message is to be seen: a deleted one left something else in its place."""
    return record.seq <= head.seq and isinstance(record.body, MessageCreated)
