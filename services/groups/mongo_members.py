"""Members and bans on MongoDB: one document for each user and group.

Ring 3 (adapter). A page costs what it holds, whatever the size of the group.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.groups.mongo_documents import VERSION, Documents, value_of
from services.groups.store import MemberState
from shared.core.ids import MAX_ID
from shared.core.model import Ban, Member


class MongoMembers(Documents):
    """The members and bans of a `GroupStore`. All raise `StoreUnavailable`."""

    async def put_member(self, member: Member, seq: int) -> None:
        """Project that somebody is a member."""
        await self._put("members", f"{member.group_id}:{member.user.id}", seq, member, gone=False)

    async def remove_member(self, group_id: int, user_id: int, seq: int) -> None:
        """Project that somebody is not a member any more: a tombstone."""
        tombstone = {"v": VERSION, "gone": True, "group_id": group_id, "user": {"id": user_id}}
        await self._mongo.put_newer("members", f"{group_id}:{user_id}", seq, tombstone)

    async def read_member(self, group_id: int, user_id: int) -> MemberState | None:
        """Return a member's projection; None if the user never was one."""
        document = await self._read("members", f"{group_id}:{user_id}")
        if document is None:
            return None
        return MemberState(None if document["gone"] else msgspec.convert(document, Member), document["seq"])

    async def read_members(self, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Member]:
        """Return the members among these (group id, user id), without the gone."""
        names = [f"{group_id}:{user_id}" for group_id, user_id in pairs]
        found = await self._read_many("members", names, Member, gone=False)
        return {(member.group_id, member.user.id): member for member in found}

    async def list_members(self, group_id: int, after: int, limit: int) -> list[Member]:
        """Return a page of members by user id above `after`, without the gone."""
        query = {"group_id": group_id, "gone": False, "user.id": {"$gt": after, "$lte": MAX_ID}}
        cursor = self._mongo["members"].find(query).sort("user.id", 1).limit(limit)
        async with self._mongo.asking():
            return [msgspec.convert(document, Member) for document in await cursor.to_list(limit)]

    async def count_members(self, group_id: int) -> int:
        """Return how many members a group has."""
        async with self._mongo.asking():
            return await self._mongo["members"].count_documents({"group_id": group_id, "gone": False})

    async def put_ban(self, ban: Ban, seq: int) -> None:
        """Project that a user may not be in a group."""
        await self._put("bans", f"{ban.group_id}:{ban.user.id}", seq, ban)

    async def lift_ban(self, group_id: int, user_id: int, seq: int) -> None:
        """Project that a user may be in a group again: a tombstone, in no group's list."""
        await self._mongo.put_newer("bans", f"{group_id}:{user_id}", seq, {"v": VERSION, "gone": True})

    async def read_ban(self, group_id: int, user_id: int) -> Ban | None:
        """Return the ban of a user from a group, if there is one."""
        document = await self._read("bans", f"{group_id}:{user_id}")
        return value_of(document, Ban) if document is not None and not document.get("gone") else None

    async def list_bans(self, group_id: int, after: int, before: int, limit: int) -> list[Ban]:
        """Return a page of bans by user id between the two: the first, the last ones where only `before` bounds it."""
        forward = bool(after) or before > MAX_ID
        query = {"group_id": group_id, "user.id": {"$gt": after, "$lt": min(before, MAX_ID)}}
        cursor = self._mongo["bans"].find(query).sort("user.id", 1 if forward else -1).limit(limit)
        async with self._mongo.asking():
            bans = [msgspec.convert(document, Ban) for document in await cursor.to_list(limit)]
        return bans if forward else bans[::-1]
