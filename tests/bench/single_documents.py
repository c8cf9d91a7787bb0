"""The other way to keep a channel: one document per message. Just enough of it to be measured beside buckets.

A message's name is its place, so that a rival's write meets a unique name, as with buckets. A page is one look-up of
the cursor's place by an index, then the documents of so many places, named by both ends. It is as good as it gets
without deletions, which leave holes among the places.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from pymongo.errors import BulkWriteError

from services.history.core.importing import head_of
from shared.core.stream import Bucket, Record, Write, bucket_name
from shared.mongo import Document, Mongo
from shared.mongo_streams import MongoStreams

_AT_ONCE: Final = 10


class SingleDocuments(MongoStreams):
    """A store for the worker that knows no buckets: heads as they are, and a document for each message."""

    def __init__(self, mongo: Mongo) -> None:
        super().__init__(mongo)
        self._mongo_of_mine = mongo
        self._messages = mongo["messages"]

    async def prepare(self) -> None:
        """Make the indexes: of places, and of ids."""
        await self._messages.create_index([("stream", 1), ("seq", 1)])
        await self._messages.create_index([("stream", 1), ("id", 1)])

    async def read_bucket(self, stream: str, first_seq: int) -> Bucket | None:
        """Return nothing: here channels are new, and their worker keeps in mind what it has written."""
        return None

    async def commit(self, writes: Sequence[Write]) -> list[bool]:
        """Insert the documents of all writes in one unordered bulk."""
        places = [index for index, write in enumerate(writes) for _ in write.records]
        documents = [_document_of(write.after.stream, record) for write in writes for record in write.records]
        lost: set[int] = set()
        if documents:
            try:
                async with asyncio.timeout(self._mongo_of_mine.timeout_s):
                    await self._messages.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                lost = {places[failure["index"]] for failure in error.details["writeErrors"]}
        return [index not in lost for index in range(len(writes))]

    async def load_all(self, buckets: Iterable[Bucket]) -> None:
        """Store the messages of a channel's buckets, and the head behind them."""
        some: list[Bucket] = []
        last = Bucket("", 1, 1)
        for bucket in buckets:
            some.append(bucket)
            if len(some) == _AT_ONCE:
                await self.insert_messages(some)
                last, some = bucket, []
        if some:
            await self.insert_messages(some)
            last = some[-1]
        await self.raise_heads([head_of(last)])

    async def insert_messages(self, buckets: Iterable[Bucket]) -> None:
        """Store the messages of some buckets."""
        documents = [_document_of(bucket.stream, record) for bucket in buckets for record in bucket.messages]
        await self._messages.insert_many(documents, ordered=False)

    async def page(self, stream: str, message_id: int, *, older: int, newer: int) -> list[Record]:
        """Return the `newer` messages from a cursor on (a message's id, or above all), and the `older` before."""
        found = await self._messages.find_one({"stream": stream, "id": message_id}, {"seq": 1})
        seq = found["seq"] if found is not None else (await self.read_head(stream)).seq + 1
        query = {"stream": stream, "seq": {"$gte": max(seq - older, 1), "$lt": seq + newer}}
        documents = await self._messages.find(query).sort("seq", -1).to_list(older + newer)
        return [msgspec.convert(document, Record) for document in documents]


def _document_of(stream: str, record: Record) -> Document:
    fields: Document = msgspec.to_builtins(record)
    return {"_id": bucket_name(stream, record.seq), "stream": stream, **fields}
