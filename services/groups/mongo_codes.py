"""The store of codes on MongoDB: one document per key.

Ring 3 (adapter). Held by tests/contracts/test_code_store.py.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from services.groups.core.codes import LIFETIME_MS, Code
from shared.mongo import Mongo

_VERSION: Final = 1


class MongoCodes:
    """A `CodeStore` on MongoDB. All raise `StoreUnavailable`."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    async def read(self, key: str) -> Code | None:
        """Return the last code of a key."""
        async with self._mongo.asking():
            return _code_of(await self._mongo["codes"].find_one({"_id": key}))

    async def put(self, code: Code) -> None:
        """Keep a code in the place of the one before."""
        document = {"_id": code.key, "v": _VERSION, **msgspec.to_builtins(code)}
        async with self._mongo.asking():
            try:
                await self._mongo["codes"].replace_one({"_id": code.key}, document, upsert=True)
            except DuplicateKeyError:
                await self._mongo["codes"].replace_one({"_id": code.key}, document)

    async def spend_try(self, key: str, now: int) -> Code | None:
        """Use one of a good code's tries."""
        good = {"_id": key, "tries": {"$gt": 0}, "at": {"$gt": now - LIFETIME_MS}}
        async with self._mongo.asking():
            spent = await self._mongo["codes"].find_one_and_update(
                good, {"$inc": {"tries": -1}}, return_document=ReturnDocument.AFTER
            )
        return _code_of(spent)

    async def use_up(self, code: Code) -> bool:
        """Make this very code worth nothing."""
        same = {"_id": code.key, "digest": code.digest, "tries": {"$gte": 0}}
        async with self._mongo.asking():
            result = await self._mongo["codes"].update_one(same, {"$set": {"tries": -1}})
        return result.matched_count == 1

    async def forget(self, before: int) -> None:
        """Drop codes that were sent before then."""
        async with self._mongo.asking():
            await self._mongo["codes"].delete_many({"at": {"$gte": 0, "$lt": before}})


def _code_of(document: Any) -> Code | None:
    return msgspec.convert(document, Code) if document is not None else None
