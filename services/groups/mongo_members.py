"""Members and bans on MongoDB: one document for each user and group.

Ring 3 (adapter). A page costs what it holds, whatever the size of the group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from services.groups.mongo_documents import LAST_LETTER, VERSION, Documents, value_of
from services.groups.store import MemberState, Tally, keys_of
from shared.core.ids import MAX_ID
from shared.core.model import Ban, Member
from shared.mongo import Document


class MongoMembers(Documents):
    """The members and bans of a `GroupStore`. All raise `StoreUnavailable`."""

    async def put_member(self, member: Member, seq: int) -> None:
        """Project that somebody is a member. Members are found by `name`, and by `shown` where they show another."""
        name, *shown = keys_of(member)
        found_by = {"name": name} | ({"shown_in": member.group_id, "shown": shown[0]} if shown else {})
        fields = {"v": VERSION, **msgspec.to_builtins(member), **found_by, "gone": False}
        await self._mongo.put_newer("members", f"{member.group_id}:{member.user.id}", seq, fields)

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
        """Return a page of members by user id above `after`, without the gone.

        Looks into as much of the ids as should hold the page, and where they lie thinner into eight times as much:
        mostly one read of the index. The embedded server reads all of a range, however few are asked for;
        others stop at the page's end, also where ids lie thicker than on the average.
        """
        tally = await self._read_tally(group_id)
        if tally is None:
            return await self._list_between(group_id, after, MAX_ID, limit)
        found: list[Member] = []
        low, each = max(after, tally.low - 1), (tally.high - tally.low) // max(tally.members, 1) + 1
        while len(found) < limit and low < tally.high:
            missing = limit - len(found)
            high = min(low + each * missing * 5 // 4, tally.high)
            some = await self._list_between(group_id, low, high, missing)
            found += some
            low, each = high, each if len(some) * 2 > missing else each * 8
        return found

    async def _list_between(self, group_id: int, above: int, upto: int, limit: int) -> list[Member]:
        query = {"group_id": group_id, "gone": False, "user.id": {"$gt": above, "$lte": upto}}
        cursor = self._mongo["members"].find(query).sort("user.id", 1).limit(limit)
        async with self._mongo.asking():
            return [msgspec.convert(document, Member) for document in await cursor.to_list(limit)]

    async def find_members(self, group_id: int, prefix: str, limit: int) -> list[Member]:
        """Return members whose username, or shown name in the group, begins with `prefix`."""
        between = {"$gte": prefix, "$lt": prefix + LAST_LETTER}
        queries: tuple[Document, ...] = (
            {"group_id": group_id, "name": between},
            {"shown_in": group_id, "shown": between},
        )
        cursors = [self._mongo["members"].find(query).limit(limit) for query in queries]
        async with self._mongo.asking():
            found = await asyncio.gather(*(cursor.to_list(limit) for cursor in cursors))
        members = {one["user"]["id"]: msgspec.convert(one, Member) for documents in found for one in documents}
        return [members[user_id] for user_id in sorted(members)][:limit]

    async def put_tally(self, group_id: int, tally: Tally) -> None:
        """Project what is known of all members of a group."""
        await self._put("tallies", group_id, tally.seq, tally)

    async def tally_members(self, group_ids: Sequence[int]) -> dict[int, Tally]:
        """Return the tally of each group; where none was put yet, by a survey."""
        query = {"_id": {"$in": list(group_ids)}}
        async with self._mongo.asking():
            documents = await self._mongo["tallies"].find(query).to_list(len(group_ids))
        found = {int(document["_id"]): msgspec.convert(document, Tally) for document in documents}
        return {one: found.get(one) or await self._survey(one) for one in group_ids}

    async def _read_tally(self, group_id: int) -> Tally | None:
        return value_of(await self._read("tallies", group_id), Tally)

    async def _survey(self, group_id: int) -> Tally:
        """Look at all members: of groups whose last join or leave was in a release without tallies."""
        cursor = self._mongo["members"].find({"group_id": group_id, "gone": False}, {"user.id": 1})
        async with self._mongo.asking():
            ids = [int(document["user"]["id"]) for document in await cursor.to_list(None)]
        return Tally(len(ids), min(ids, default=0), max(ids, default=0))

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
