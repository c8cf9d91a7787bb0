"""Leases of worker ids in MongoDB: one document per worker id in `workers`.

Ring 3 (adapter). Held by tests/contracts/test_lease.py; what a lease is for: `shared.lease`.
"""

from __future__ import annotations

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from shared.lease import SKEW_MS
from shared.mongo import Mongo


class MongoLeases:
    """A `LeaseStore` on MongoDB."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._workers = mongo["workers"]

    async def take(self, worker: int, holder: str, *, now: int, until: int) -> int | None:
        """Lease a worker id; None if another holds it. Raises `StoreUnavailable`, as all here."""
        free = {"_id": worker, "until": {"$lt": now - SKEW_MS}}
        change = {"$set": {"v": 1, "holder": holder, "until": until}}
        async with self._mongo.asking():
            try:
                before = await self._workers.find_one_and_update(
                    free, change, upsert=True, return_document=ReturnDocument.BEFORE
                )
            except DuplicateKeyError:
                return None
        return int(before.get("last_id", 0)) if before is not None else 0

    async def renew(self, worker: int, holder: str, *, until: int) -> bool:
        """Hold it longer; False if it is no longer ours."""
        async with self._mongo.asking():
            result = await self._workers.update_one({"_id": worker, "holder": holder}, {"$set": {"until": until}})
        return result.matched_count == 1

    async def release(self, worker: int, holder: str, last_id: int) -> None:
        """Give it back at once."""
        free = {"$set": {"holder": "", "until": 0, "last_id": last_id}}
        async with self._mongo.asking():
            await self._workers.update_one({"_id": worker, "holder": holder}, free)
