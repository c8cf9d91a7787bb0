"""Pages of messages and of events, read from the chain of buckets.

Ring 4 (shell). A page walks the chain by name from the bucket that holds its cursor: one or two documents
where messages are dense, never more than the page has messages. Newest first, with Discord's meaning of
`before`, `after` and `around`. Buckets: `shared.core.stream`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import islice
from typing import Final

import msgspec

from shared.core.calls import EventPage
from shared.core.events import MessageCreated
from shared.core.ids import MAX_ID
from shared.core.stream import Bucket, Event, Record, channel_stream, event_of
from shared.streams import StreamStore

MAX_LIMIT: Final = 100


class Pages:
    """Reads channels' history. Every read is a majority read, so it never lacks what was acknowledged before."""

    def __init__(self, streams: StreamStore) -> None:
        self._streams = streams

    async def before(self, channel_id: int, message_id: int, limit: int) -> list[Record]:
        """Return the `limit` messages next before `message_id` (`MAX_ID`: the latest), newest first."""
        page: list[Record] = []
        async for bucket in self._backward(channel_stream(channel_id), message_id):
            older = (record for record in reversed(bucket.messages) if record.id < message_id and is_live(record))
            page += islice(older, limit - len(page))
            if len(page) == limit:
                break
        return page

    async def after(self, channel_id: int, message_id: int, limit: int) -> list[Record]:
        """Return the `limit` messages next after `message_id`, newest first."""
        page: list[Record] = []
        async for bucket in self._forward(channel_stream(channel_id), message_id):
            newer = (record for record in bucket.messages if record.id > message_id and is_live(record))
            page += islice(newer, limit - len(page))
            if len(page) == limit:
                break
        return page[::-1]

    async def around(self, channel_id: int, message_id: int, limit: int) -> list[Record]:
        """Return a window: `limit // 2` messages before `message_id`, the rest from it on; newest first."""
        older = await self.before(channel_id, message_id, limit // 2)
        newer = await self.after(channel_id, message_id - 1, limit - limit // 2)
        return newer + older

    async def find(self, channel_id: int, message_id: int) -> Record | None:
        """Return one message; None if the channel has none of this id."""
        bucket = await self._streams.find_bucket_of_id(channel_stream(channel_id), message_id)
        if bucket is None:
            return None
        return next((record for record in bucket.messages if record.id == message_id and is_live(record)), None)

    async def events(self, channel_id: int, after_seq: int, limit: int) -> EventPage:
        """Return every event after `after_seq`, in order, at most `limit`, and whether there are more."""
        stream = channel_stream(channel_id)
        bucket = await self._streams.find_bucket_of_seq(stream, after_seq + 1)
        events: list[Event] = []
        while bucket is not None:
            for record in bucket.records():
                if record.seq > after_seq:
                    if len(events) == limit:
                        return EventPage(tuple(events), has_more=True)
                    events.append(event_of(bucket, record))
            bucket = await self._streams.read_bucket(stream, bucket.next_seq) if bucket.sealed else None
        return EventPage(tuple(events), has_more=False)

    async def news(self, channel_id: int, after_seq: int, limit: int) -> EventPage:
        """Return the same without what was imported, for who would tell it to clients: no event, and nothing new."""
        head = await self._streams.read_head(channel_stream(channel_id))
        if after_seq >= head.imported:
            return await self.events(channel_id, after_seq, limit)
        page = await self.events(channel_id, head.imported, limit)
        after_id = head.last_id if head.seq == head.imported else 0
        return msgspec.structs.replace(page, after=head.imported, after_id=after_id)

    async def heads(self, streams: Sequence[str]) -> dict[str, int]:
        """Return the last seq of each stream that has events; of a group's or user's, the last projected one."""
        heads = await self._streams.read_heads(streams)
        return {stream: head.seq if stream.startswith("c:") else head.projected for stream, head in heads.items()}

    async def _backward(self, stream: str, message_id: int) -> AsyncIterator[Bucket]:
        """Walk from the bucket of `message_id` to the first."""
        if message_id >= MAX_ID:
            bucket = await self._tail(stream)
        else:
            bucket = await self._streams.find_bucket_of_id(stream, message_id)
        while bucket is not None:
            yield bucket
            if not bucket.prev:
                return
            bucket = await self._streams.read_bucket(stream, bucket.prev)

    async def _forward(self, stream: str, message_id: int) -> AsyncIterator[Bucket]:
        """Walk from the bucket of `message_id`, or the first, to the last."""
        bucket = await self._streams.find_bucket_of_id(stream, message_id) if message_id > 0 else None
        if bucket is None:
            bucket = await self._streams.read_bucket(stream, 1)
        while bucket is not None:
            yield bucket
            bucket = await self._streams.read_bucket(stream, bucket.next_seq) if bucket.sealed else None

    async def _tail(self, stream: str) -> Bucket | None:
        """Return the last bucket: the one that the head names, or one behind it."""
        head = await self._streams.read_head(stream)
        bucket = await self._streams.read_bucket(stream, head.tail or 1)
        while bucket is not None and bucket.sealed:
            behind = await self._streams.read_bucket(stream, bucket.next_seq)
            if behind is None:
                break
            bucket = behind
        return bucket


def is_live(record: Record) -> bool:
    """Whether a message is still there: a deleted one leaves a stub, which nobody sees."""
    return isinstance(record.body, MessageCreated)
