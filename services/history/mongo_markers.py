"""The marker store on MongoDB: one document for each user and channel, in the collection `markers`.

Ring 3 (adapter). Held by tests/contracts/test_markers.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pymongo.errors import DuplicateKeyError

from shared.core.calls import Marker
from shared.mongo import Document, Mongo

_VERSION: Final = 1
_MOST: Final = 2_000
"""Markers of several users that are read at a time; where it is more, fewer users are."""


class MongoMarkers:
    """A `MarkerStore` on MongoDB."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._markers = mongo["markers"]

    async def advance(self, user_id: int, marker: Marker) -> bool:
        """Put a user's marker of a channel, unless it is there or further on already."""
        behind = {"_id": _name_of(user_id, marker.channel_id), "message_id": {"$lt": marker.message_id}}
        now = {"user_id": user_id, "channel_id": marker.channel_id, "message_id": marker.message_id, "v": _VERSION}
        async with self._mongo.asking():
            try:
                await self._markers.update_one(behind, {"$set": now}, upsert=True)
            except DuplicateKeyError:  # it is not behind; or another first one was quicker, and that may be
                return (await self._markers.update_one(behind, {"$set": now})).matched_count == 1
        return True

    async def read(self, user_id: int, channel_id: int) -> Marker | None:
        """Return a user's marker of a channel."""
        async with self._mongo.asking():
            document = await self._markers.find_one({"_id": _name_of(user_id, channel_id)})
        return _marker_of(document) if document is not None else None

    async def list_markers(self, user_ids: Sequence[int], limit: int) -> dict[int, list[Marker]]:
        """Return markers of each user, those at the newest messages first."""
        alone = len(user_ids) == 1
        which = user_ids[0] if alone else {"$in": list(user_ids)}
        most = limit if alone else _MOST
        async with self._mongo.asking():
            cursor = self._markers.find({"user_id": which}).sort("message_id", -1).limit(most)
            documents = await cursor.to_list(most)
        if not alone and len(documents) == most:
            half = len(user_ids) // 2
            return {
                **await self.list_markers(user_ids[:half], limit),
                **await self.list_markers(user_ids[half:], limit),
            }
        found: dict[int, list[Marker]] = {}
        for document in documents:
            if len(its := found.setdefault(int(document["user_id"]), [])) < limit:
                its.append(_marker_of(document))
        return found


def _name_of(user_id: int, channel_id: int) -> str:
    return f"{user_id}:{channel_id}"


def _marker_of(document: Document) -> Marker:
    return Marker(int(document["channel_id"]), int(document["message_id"]))
