"""What the documents of the group store have in common: how a projection is put, and how values are read back.

Ring 3 (adapter). A projection is one replacement conditional on `seq`, so it can be redone in any order by anyone; what
a removal leaves is a tombstone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from shared.mongo import Document, Mongo

T = TypeVar("T")

VERSION: Final = 1
"""The version that documents carry as `v`."""
_KEYS_AT_ONCE: Final = 64
"""Keys of one query: the embedded server compares each document that it finds with all keys that were asked for."""
LAST_LETTER: Final = "\U0010ffff"
"""No name holds it, and no letter is above it."""


class Documents:
    """A part of the store: collections of one database. All raise `StoreUnavailable`."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    async def _put(self, collection: str, key: int | str, seq: int, value: msgspec.Struct, **marks: bool) -> None:
        fields = {"v": VERSION, **msgspec.to_builtins(value), **marks}
        await self._mongo.put_newer(collection, key, seq, fields)

    async def _read(self, collection: str, key: int | str) -> Document | None:
        async with self._mongo.asking():
            return await self._mongo[collection].find_one({"_id": key})

    async def _read_many(
        self, collection: str, keys: Sequence[int] | Sequence[str], kind: type[T], **marks: bool
    ) -> list[T]:
        if not keys:
            return []
        parts = [keys[start : start + _KEYS_AT_ONCE] for start in range(0, len(keys), _KEYS_AT_ONCE)]
        read = await asyncio.gather(*(self._read_some(collection, part, marks) for part in parts))
        return [msgspec.convert(document, kind) for documents in read for document in documents]

    async def _read_some(
        self, collection: str, keys: Sequence[int] | Sequence[str], marks: Mapping[str, bool]
    ) -> list[Document]:
        """Ask one question: each that is answered says that the database is there (`shared.reach`)."""
        async with self._mongo.asking():
            found: list[Document] = (
                await self._mongo[collection].find({"_id": {"$in": list(keys)}, **marks}).to_list(len(keys))
            )
        return found


def one_of(ids: Sequence[int]) -> Any:
    """Return a condition on ids; one is asked for by itself, which every server plans well."""
    return ids[0] if len(ids) == 1 else {"$in": list(ids)}


def value_of(document: Any, kind: type[T]) -> T | None:
    """Return what a document holds; None where there is none."""
    return msgspec.convert(document, kind) if document is not None else None
