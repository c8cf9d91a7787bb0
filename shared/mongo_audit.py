"""Audit logs on MongoDB: one document for each entry, with all the keys under which a page may ask for it.

Ring 3 (adapter). A key says of group, user, action and target those that are asked for, so any filter is one range of
one index, and a page costs what it holds. Held by tests/contracts/test_audit.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Final

import msgspec
from pymongo.errors import BulkWriteError

from shared.core.audit import AuditFilter, Entry
from shared.core.ids import MAX_ID
from shared.mongo import Document, Mongo

_VERSION: Final = 1
_DUPLICATE_KEY: Final = 11000


class MongoAudit:
    """An `AuditStore` on MongoDB."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    async def put(self, entries: Sequence[Entry]) -> None:
        """Keep entries; one of a record that has one already changes nothing."""
        if not entries:
            return
        async with self._mongo.asking():
            try:
                await self._mongo["audit"].insert_many([_document_of(entry) for entry in entries], ordered=False)
            except BulkWriteError as error:
                told = error.details or {}
                if told.get("writeConcernErrors") or any(one["code"] != _DUPLICATE_KEY for one in told["writeErrors"]):
                    raise

    async def page(
        self, group_id: int, which: AuditFilter, after: int, before: int, limit: int, *, oldest_first: bool = False
    ) -> list[Entry]:
        """Return entries with ids between the two."""
        query: Document = {
            "keys": _key_of(group_id, which.by, which.action, which.target),
            "id": {"$gt": after, "$lt": min(before, MAX_ID)},
        }
        cursor = self._mongo["audit"].find(query).sort("id", 1 if oldest_first else -1).limit(limit)
        async with self._mongo.asking():
            return [msgspec.convert(document, Entry) for document in await cursor.to_list(limit)]

    async def forget(self, before: int, limit: int) -> int:
        """Drop entries of what was done before then, at most `limit`; return how many."""
        async with self._mongo.asking():
            cursor = self._mongo["audit"].find({"at": {"$gte": 0, "$lt": before}}, {"_id": 1}).limit(limit)
            old = [document["_id"] for document in await cursor.to_list(limit)]
            if old:
                await self._mongo["audit"].delete_many({"_id": {"$in": old}})
        return len(old)


def _document_of(entry: Entry) -> Document:
    users, actions, targets = (0, entry.by), (0, int(entry.action)), (0, *entry.targets)
    keys = [_key_of(entry.group_id, *some) for some in product(users, actions, targets)]
    name = f"{entry.stream}:{entry.seq}"
    return {"_id": name, "v": _VERSION, "id": entry.id, "keys": keys, **msgspec.to_builtins(entry)}


def _key_of(group_id: int, by: int, action: int, target: int) -> str:
    return f"{group_id}:{by}:{action}:{target}"
