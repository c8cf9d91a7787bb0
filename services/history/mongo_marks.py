"""The mark store on MongoDB: collections `reactions` and `pins`, and the direct ones among the `channels`.

Ring 3 (adapter). Held by tests/contracts/test_marks.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError

from services.history.core.marks import Mark, Pin, Reactor, ReactorKey
from shared.audit import AuditStore
from shared.core.audit import Entry
from shared.core.ids import MAX_ID
from shared.core.model import Channel, User
from shared.mongo import Document, Mongo

_VERSION: Final = 1
_DUPLICATE_KEY: Final = 11000


class MongoMarks:
    """A `MarkStore` on MongoDB."""

    def __init__(self, mongo: Mongo, audit: AuditStore) -> None:
        self._mongo = mongo
        self._audit = audit
        self._reactions = mongo["reactions"]
        self._pins = mongo["pins"]

    async def put(self, marks: Sequence[Mark]) -> None:
        """Put marks; one whose `seq` is not above the stored one's changes nothing."""
        newest: dict[str, dict[Any, Mark]] = {"reactions": {}, "pins": {}, "channels": {}}
        entries = [mark.what for mark in marks if isinstance(mark.what, Entry)]
        for mark in sorted(marks, key=lambda mark: mark.seq):
            match mark.what:
                case Reactor() as reactor:
                    newest["reactions"][_name_of(reactor.key)] = mark
                case Pin(message_id=message_id):
                    newest["pins"][message_id] = mark
                case Channel(id=channel_id):
                    newest["channels"][channel_id] = mark
        puts = [self._put(name, its_marks) for name, its_marks in newest.items() if its_marks]
        await asyncio.gather(*puts, self._audit.put(entries))

    async def _put(self, collection: str, marks: Mapping[Any, Mark]) -> None:
        """Replace what is older. An upsert that meets a document is late, or lost a race: then it is tried without."""
        todo = [(key, mark, {"_id": key, "seq": {"$lt": mark.seq}}) for key, mark in marks.items()]
        async with self._mongo.asking():
            try:
                puts = [ReplaceOne(older, _document_of(key, mark), upsert=True) for key, mark, older in todo]
                await self._mongo[collection].bulk_write(puts, ordered=False)
            except BulkWriteError as error:
                failures = error.details["writeErrors"]
                if error.details["writeConcernErrors"] or any(one["code"] != _DUPLICATE_KEY for one in failures):
                    raise
                again = [todo[failure["index"]] for failure in failures]
                puts = [ReplaceOne(older, _document_of(key, mark)) for key, mark, older in again]
                await self._mongo[collection].bulk_write(puts, ordered=False)

    async def read_epochs(self, keys: Sequence[ReactorKey]) -> list[int]:
        """Return the epoch of each of these reactions, 0 where it is gone or never was."""
        names = [_name_of(key) for key in keys]
        query = {"_id": {"$in": names}, "gone": False}
        async with self._mongo.asking():
            documents = await self._reactions.find(query, {"epoch": 1}).to_list(len(names))
        epochs = {document["_id"]: int(document["epoch"]) for document in documents}
        return [epochs.get(name, 0) for name in names]

    async def list_reactors(self, message_id: int, emoji: str, epoch: int, after: int, limit: int) -> list[User]:
        """Return who reacted so in this epoch, by user id above `after`."""
        which = {"message_id": message_id, "emoji": emoji, "epoch": epoch, "gone": False}
        query = {**which, "user.id": {"$gt": after, "$lte": MAX_ID}}
        async with self._mongo.asking():
            documents = await self._reactions.find(query).sort("user.id", 1).limit(limit).to_list(limit)
        return [msgspec.convert(document["user"], User) for document in documents]

    async def list_own(self, user_id: int, message_ids: Sequence[int], epochs: Sequence[int]) -> list[Reactor]:
        """Return a user's reactions to these messages in these epochs, in one query."""
        which: Document = {"user.id": user_id, "message_id": {"$in": list(message_ids)}}
        query = {**which, "epoch": {"$in": list(epochs)}, "gone": False}
        async with self._mongo.asking():
            documents = await self._reactions.find(query).to_list(len(epochs))
        return [msgspec.convert(document, Reactor) for document in documents]

    async def list_pins(self, channel_id: int, before: int, limit: int) -> list[Pin]:
        """Return a channel's pins made before `before` (Unix ms), the newest first."""
        query = {"channel_id": channel_id, "gone": False, "at": {"$gt": 0, "$lt": before}}
        async with self._mongo.asking():
            cursor = self._pins.find(query).sort([("at", -1), ("message_id", -1)]).limit(limit)
            documents = await cursor.to_list(limit)
        return [msgspec.convert(document, Pin) for document in documents]

    async def read_directs(self, channel_ids: Sequence[int]) -> list[Channel | None]:
        """Return direct channels, by these ids."""
        async with self._mongo.asking():
            cursor = self._mongo["channels"].find({"_id": {"$in": list(channel_ids)}})
            documents = await cursor.to_list(len(channel_ids))
        found = {int(document["_id"]): msgspec.convert(document, Channel) for document in documents}
        return [found.get(channel_id) for channel_id in channel_ids]


def _name_of(key: ReactorKey) -> str:
    message_id, emoji, user_id = key
    return f"{message_id}:{emoji}:{user_id}"


def _document_of(key: Any, mark: Mark) -> Document:
    # Fields at their defaults are left out by the codec, and queries name them.
    defaults: Document = {}
    match mark.what:
        case Reactor():
            defaults = {"epoch": 0, "gone": False}
        case Pin():
            defaults = {"gone": False}
    return {"_id": key, "seq": mark.seq, "v": _VERSION, **defaults, **msgspec.to_builtins(mark.what)}
