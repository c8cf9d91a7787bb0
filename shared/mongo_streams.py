"""The stream store on MongoDB: bucket chains in `buckets`, heads in `heads`.

Ring 3 (adapter). The fence is in `commit`: an upsert whose filter names bucket, `next_seq` and "not sealed", so
that outdated knowledge meets the unique `_id` as a duplicate-key error. The rules are in `shared.core.stream`;
held by tests/contracts/test_streams.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, DocumentTooLarge, PyMongoError

from shared.combining import Combining
from shared.core.amending import Amendment
from shared.core.ids import first_id_at
from shared.core.stream import (
    BUCKET_VERSION,
    Bucket,
    Head,
    Limits,
    Record,
    Write,
    bucket_name,
)
from shared.mongo import Document, Mongo
from shared.streams import StoreRefused, StoreUnavailable

_DUPLICATE_KEY: Final = 11000
_REFUSALS: Final = frozenset({2, 9, 14, 22, 121, 10334, 17419, 17420})
"""BadValue, FailedToParse, TypeMismatch, InvalidBSON, DocumentValidationFailure, and three of too large a document."""
_RAISE_ATTEMPTS: Final = 3
_INSERT_ATTEMPTS: Final = 3
_RAISED: Final = tuple(field for field in Head.__struct_fields__ if field != "stream")
_BUCKET_SEQS: Final = Limits().messages + Limits().changes
"""No bucket holds more events than this, so its `first_seq` is at most so far below any of its seqs."""
_TOGETHER: Final = 128
"""Writes of one bulk, of all who write at once in this process."""
_HEADS_AT_ONCE: Final = 32
"""Heads of one query: the embedded server compares each that it finds with all names that were asked for."""
_FIRST_STEP: Final = first_id_at(1000) - first_id_at(0)
_STEP_FACTOR: Final = 16
_MOST_WIDTHS: Final = 10_000


class MongoStreams:
    """A `StreamStore` on MongoDB."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._buckets = mongo["buckets"]
        self._heads = mongo["heads"]
        self._widths: dict[str, int] = {}
        """By stream: about how far the ids of one bucket are apart. Only a hint where to look."""
        self._commits = Combining(self._commit, most=_TOGETHER, outage=StoreUnavailable)
        self._raises = Combining(self._raise_heads, most=_TOGETHER, outage=StoreUnavailable)

    async def read_head(self, stream: str) -> Head:
        """Return a stream's head; an empty one if there is none. Raises `StoreUnavailable`, as all here."""
        async with self._mongo.asking():
            document = await self._heads.find_one({"_id": stream})
        return _head_of(document) if document is not None else Head(stream)

    async def read_heads(self, streams: Sequence[str]) -> dict[str, Head]:
        """Return the heads of many streams in a few queries at once; streams without one are left out."""
        parts = [streams[start : start + _HEADS_AT_ONCE] for start in range(0, len(streams), _HEADS_AT_ONCE)]
        async with self._mongo.asking():
            found = await asyncio.gather(
                *(self._heads.find({"_id": {"$in": list(part)}}).to_list(len(part)) for part in parts)
            )
        return {document["_id"]: _head_of(document) for documents in found for document in documents}

    async def read_ends(self, heads: Sequence[Head]) -> dict[str, int]:
        """Return the last committed seq of these heads' streams, but for those that may have gone on elsewhere."""
        if not heads:
            return {}
        names = [bucket_name(head.stream, head.tail) for head in heads]
        query = {"_id": {"$in": names}, "sealed": False}
        async with self._mongo.asking():
            documents = await self._buckets.find(query, {"stream": 1, "next_seq": 1}).to_list(len(names))
        return {document["stream"]: document["next_seq"] - 1 for document in documents}

    async def read_bucket(self, stream: str, first_seq: int) -> Bucket | None:
        """Return a bucket by name."""
        async with self._mongo.asking():
            document = await self._buckets.find_one({"_id": bucket_name(stream, first_seq)})
        return _bucket_of(document)

    async def read_applied(self, stream: str, first_seq: int) -> int | None:
        """Return a bucket's `applied_seq` without the rest of it; None if it is not there."""
        async with self._mongo.asking():
            document = await self._buckets.find_one({"_id": bucket_name(stream, first_seq)}, {"applied_seq": 1})
        return document.get("applied_seq", 0) if document is not None else None

    async def read_buckets(
        self, stream: str, first: int, last: int, limit: int, *, backward: bool = False
    ) -> list[Bucket]:
        """Return the first `limit` buckets whose first_seq is between these two; `backward`: the last, descending."""
        # Not by `_id`: the embedded server reads the whole collection for a range of those.
        query = {"stream": stream, "first_seq": {"$gte": first, "$lte": last}}
        async with self._mongo.asking():
            cursor = self._buckets.find(query).sort("first_seq", -1 if backward else 1).limit(limit)
            documents = await cursor.to_list(limit)
        return [msgspec.convert(document, Bucket) for document in documents]

    async def find_bucket_of_seq(self, stream: str, seq: int) -> Bucket | None:
        """Return the bucket that holds `seq`; None if the stream has no such event."""
        found = await self._last(stream, "first_seq", seq - _BUCKET_SEQS, seq)
        return found if found is not None and seq < found.next_seq else None

    async def find_bucket_of_id(self, stream: str, message_id: int) -> Bucket | None:
        """Return the last bucket with `0 < first_id <= message_id`; None if there is none.

        Looks back as far as the stream's buckets were wide the last time, at first one second, then sixteen times as
        far, and so on: at most eight reads of one index, mostly one. The embedded server reads all of a range before
        it takes the last, so the range must be short.
        """
        step = self._widths.get(stream, _FIRST_STEP)
        while True:
            above = max(message_id - step, 0)
            found = await self._last(stream, "first_id", above, message_id)
            if found is not None or not above:
                break
            step *= _STEP_FACTOR
        if found is not None:
            self._widths.pop(stream, None)
            self._widths[stream] = max(found.last_id - found.first_id, _FIRST_STEP) * 5 // 4
            if len(self._widths) > _MOST_WIDTHS:
                del self._widths[next(iter(self._widths))]
        return found

    async def _last(self, stream: str, field: str, above: int, upto: int) -> Bucket | None:
        query = {"stream": stream, field: {"$gt": above, "$lte": upto}}
        async with self._mongo.asking():
            documents = await self._buckets.find(query).sort(field, -1).limit(1).to_list(1)
        return _bucket_of(documents[0]) if documents else None

    async def read_messages(self, stream: str, first_seqs: Sequence[int], message_ids: Sequence[int]) -> list[Record]:
        """Return the messages of these ids that stand in the buckets of these names, in one query."""
        names = [bucket_name(stream, first_seq) for first_seq in first_seqs]
        wanted = {"input": "$messages", "as": "one", "cond": {"$in": ["$$one.id", list(message_ids)]}}
        steps: list[Document] = [{"$match": {"_id": {"$in": names}}}, {"$project": {"messages": {"$filter": wanted}}}]
        async with self._mongo.asking():
            documents = await self._buckets.aggregate(steps).to_list(len(names))
        return [msgspec.convert(one, Record) for document in documents for one in document["messages"]]

    async def commit(self, writes: Sequence[Write]) -> list[bool]:
        """Try these writes, at most one per stream, in one unordered bulk with those of others who commit at once.

        True: surely stored by majority. False: lost or unknown, and an outage is False for all. Raises `StoreRefused`.
        """
        return list(await self._commits.ask(writes))

    async def _commit(self, writes: Sequence[Write]) -> list[bool]:
        answer: Mapping[str, Any]
        try:
            async with asyncio.timeout(self._mongo.timeout_s):
                result = await self._buckets.bulk_write([_upsert_of(write) for write in writes], ordered=False)
            answer = result.bulk_api_result
        except BulkWriteError as error:
            answer = error.details
            require_possible(answer)
        except DocumentTooLarge as error:
            raise StoreRefused(str(error)) from error
        except (PyMongoError, TimeoutError):
            return [False] * len(writes)
        outcomes = outcomes_of(answer, len(writes))
        for inserted in answer["upserted"]:
            write = writes[inserted["index"]]
            if write.before.next_seq != write.before.first_seq:
                outcomes[inserted["index"]] = False
                await self._remove_stray(write)
        return outcomes

    async def _remove_stray(self, write: Write) -> None:
        """Take away what was inserted because the bucket to append to is not there: it holds a hole."""
        name = bucket_name(write.after.stream, write.after.first_seq)
        with suppress(StoreUnavailable):
            async with self._mongo.asking():
                await self._buckets.delete_one({"_id": name, "next_seq": write.after.next_seq, "stray": True})

    async def amend(self, amendments: Sequence[Amendment]) -> None:
        """Apply each amendment to its bucket if it is not applied yet, in one unordered bulk."""
        if not amendments:
            return
        async with self._mongo.asking():
            await self._buckets.bulk_write([_update_of(amendment) for amendment in amendments], ordered=False)

    async def raise_heads(self, heads: Sequence[Head]) -> None:
        """Raise each field to at least the value given; creates what is missing."""
        await self._raises.ask(heads)

    async def _raise_heads(self, heads: Sequence[Head]) -> Sequence[None]:
        todo = [UpdateOne({"_id": head.stream}, {"$max": _fields_of(head)}, upsert=True) for head in heads]
        for _ in range(_RAISE_ATTEMPTS):
            async with self._mongo.asking():
                try:
                    await self._heads.bulk_write(todo, ordered=False)
                except BulkWriteError as error:
                    failures = error.details["writeErrors"]
                    # Two upserts of one new head at once: the loser finds it there the next time.
                    if error.details["writeConcernErrors"] or any(f["code"] != _DUPLICATE_KEY for f in failures):
                        raise
                    todo = [todo[failure["index"]] for failure in failures]
                else:
                    return [None] * len(heads)
        raise StoreUnavailable("MongoDB: heads could not be raised")

    async def insert_buckets(self, buckets: Sequence[Bucket]) -> None:
        """Insert those of these buckets that are not there; return when all are stored by majority.

        A name that is there already counts only once a majority read has shown it.
        """
        missing = {bucket_name(bucket.stream, bucket.first_seq): bucket for bucket in buckets}
        for _ in range(_INSERT_ATTEMPTS):
            async with self._mongo.asking():
                found = await self._buckets.find({"_id": {"$in": list(missing)}}, {"_id": 1}).to_list(len(missing))
            for document in found:
                del missing[document["_id"]]
            if not missing:
                return
            documents = [{"_id": name, **msgspec.to_builtins(bucket)} for name, bucket in missing.items()]
            async with self._mongo.asking():
                try:
                    await self._buckets.insert_many(documents, ordered=False)
                except BulkWriteError as error:
                    failures = error.details["writeErrors"]
                    if error.details["writeConcernErrors"] or any(f["code"] != _DUPLICATE_KEY for f in failures):
                        raise
                else:
                    return
        raise StoreUnavailable("MongoDB: buckets could not be inserted")

    async def reopen(self, stream: str) -> None:
        """Take the mark of being closed from a stream's first bucket."""
        async with self._mongo.asking():
            await self._buckets.update_one({"_id": bucket_name(stream, 1)}, {"$set": {"closed": False}})

    async def find_dirty(self, before_ms: int, limit: int) -> list[tuple[str, int, int]]:
        """Return (stream, first_seq, next_seq) of buckets marked before `before_ms`, oldest mark first."""
        query = {"dirty_at": {"$gt": 0, "$lt": before_ms}}
        fields = {"stream": 1, "first_seq": 1, "next_seq": 1}
        async with self._mongo.asking():
            documents = await self._buckets.find(query, fields).sort("dirty_at", 1).limit(limit).to_list(limit)
        return [(document["stream"], document["first_seq"], document["next_seq"]) for document in documents]

    async def clean(self, stream: str, first_seq: int, next_seq: int) -> None:
        """Take the dirty mark from a bucket if its `next_seq` is still this."""
        query = {"_id": bucket_name(stream, first_seq), "next_seq": next_seq}
        async with self._mongo.asking():
            await self._buckets.update_one(query, {"$unset": {"dirty_at": ""}})


def require_possible(answer: Mapping[str, Any]) -> None:
    """Return unless a write of a bulk failed for what is in it, by what the server answered. Raises `StoreRefused`."""
    for failure in answer["writeErrors"]:
        if failure["code"] in _REFUSALS:
            raise StoreRefused(f"MongoDB refuses it with code {failure['code']}")


def outcomes_of(answer: Mapping[str, Any], count: int) -> list[bool]:
    """Return which of `count` writes of a bulk are surely stored, by what the server answered to it.

    A server that stops in the middle tells of fewer writes than it got, and a failed write concern may be that
    of any: then nothing is sure.
    """
    lost = {failure["index"] for failure in answer["writeErrors"]}
    if answer["writeConcernErrors"] or answer["nMatched"] + answer["nUpserted"] + len(lost) != count:
        return [False] * count
    return [index not in lost for index in range(count)]


def _upsert_of(write: Write) -> UpdateOne:
    before, after = write.before, write.after
    # All that `after` tells is set anew each time, so that an insert and an append are one statement.
    values: Document = {
        "next_seq": after.next_seq,
        "sealed": after.sealed,
        "window": after.window,
        "size": after.size,
        "first_id": after.first_id,
        "last_id": after.last_id,
        "last_ordinal": after.last_ordinal,
        "group_id": after.group_id,
        "to": list(after.to),
    }
    if write.dirty_at:
        values["dirty_at"] = write.dirty_at
    once: Document = {"stream": after.stream, "first_seq": after.first_seq, "prev": after.prev, "v": BUCKET_VERSION}
    if before.next_seq != before.first_seq:
        once["stray"] = True
    update: Document = {"$set": values, "$setOnInsert": once}
    push = {
        field: {"$each": msgspec.to_builtins(records)}
        for field, records in (("messages", write.messages), ("changes", write.changes))
        if records
    }
    if push:
        update["$push"] = push
    name = bucket_name(before.stream, before.first_seq)
    # "Not true" instead of "false": the embedded server looks through all indexes once for each plain value.
    query = {"_id": name, "next_seq": before.next_seq, "sealed": {"$ne": True}}
    return UpdateOne(query, update, upsert=True)


def _update_of(amendment: Amendment) -> UpdateOne:
    values: Document = {"applied_seq": amendment.seq}
    for index, patch in amendment.patches.items():
        place = f"messages.{index}.body"
        if patch.body is not None:
            values[place] = msgspec.to_builtins(patch.body)
        for field, value in patch.fields.items():
            values[f"{place}.{field}"] = msgspec.to_builtins(value)
    name = bucket_name(amendment.stream, amendment.first_seq)
    # "Not at or above" is true of a bucket without the field, too: nothing was applied to it yet.
    return UpdateOne({"_id": name, "applied_seq": {"$not": {"$gte": amendment.seq}}}, {"$set": values})


def _bucket_of(document: Document | None) -> Bucket | None:
    return msgspec.convert(document, Bucket) if document is not None else None


def _head_of(document: Any) -> Head:
    return msgspec.convert({**document, "stream": document["_id"]}, Head)


def _fields_of(head: Head) -> Document:
    """Return what is to be raised: a field left at 0 says nothing."""
    return {field: value for field in _RAISED if (value := getattr(head, field))} or {"seq": 0}
