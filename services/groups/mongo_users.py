"""Users on MongoDB, as their streams tell them: profiles, void tokens, blocks, memberships; one document each.

Ring 3 (adapter).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from services.groups.mongo_documents import LAST_LETTER, VERSION, Documents, one_of, value_of
from services.groups.store import Membership, Profile
from shared.core.model import LastMessage, User
from shared.core.revocation import Revocations
from shared.core.titles import key_of_name
from shared.mongo import Document

_MOST_HIDDEN: Final = 2_000


class MongoUsers(Documents):
    """The users of a `GroupStore`. All raise `StoreUnavailable`."""

    async def put_user(self, user: User, seq: int, *, bio: str = "", owner: int = 0, gone: bool = False) -> None:
        """Project a user's profile. Users are found by `name`, bots by `owner`; who is gone has neither."""
        fields = {"v": VERSION, **msgspec.to_builtins(user), "bio": bio, "gone": gone}
        if not gone:
            fields |= {"name": key_of_name(user.username)} | ({"owner": owner} if owner else {})
        await self._mongo.put_newer("users", user.id, seq, fields)

    async def read_users(self, user_ids: Sequence[int]) -> dict[int, User]:
        """Return the users that exist among these."""
        return {user.id: user for user in await self._read_many("users", user_ids, User)}

    async def read_profile(self, user_id: int) -> Profile | None:
        """Return a user's profile."""
        document = await self._read("users", user_id)
        return _profile_of(document) if document is not None else None

    async def list_bots(self, owner: int, limit: int) -> list[Profile]:
        """Return a user's bots by id, without the gone."""
        cursor = self._mongo["users"].find({"owner": owner}).limit(limit)
        async with self._mongo.asking():
            documents = await cursor.to_list(limit)
        return sorted(map(_profile_of, documents), key=lambda one: one.user.id)

    async def find_users(self, prefix: str, after: str, limit: int) -> list[User]:
        """Return users by the key of their name."""
        begin = {"$gt": after} if after >= prefix else {"$gte": prefix}
        cursor = self._mongo["users"].find({"name": {**begin, "$lt": prefix + LAST_LETTER}}).sort("name", 1)
        async with self._mongo.asking():
            return [msgspec.convert(document, User) for document in await cursor.limit(limit).to_list(limit)]

    async def put_revocations(self, user_id: int, revocations: Revocations, seq: int) -> None:
        """Project which tokens of a user are void."""
        await self._put("revocations", user_id, seq, revocations)

    async def read_revocations(self, user_ids: Sequence[int]) -> dict[int, Revocations]:
        """Return which tokens of these users are void."""
        if not user_ids:
            return {}
        query = {"_id": {"$in": list(user_ids)}}
        async with self._mongo.asking():
            documents = await self._mongo["revocations"].find(query).to_list(len(user_ids))
        return {int(document["_id"]): msgspec.convert(document, Revocations) for document in documents}

    async def put_block(self, owner: int, user_id: int, seq: int, *, at: int, present: bool) -> None:
        """Project whether `owner` blocks a user."""
        fields = {"v": VERSION, "owner": owner, "user_id": user_id, "at": at, "present": present}
        await self._mongo.put_newer("blocks", f"{owner}:{user_id}", seq, fields)

    async def read_blocks(self, pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
        """Return those of these (owner, user id) where the one blocks the other."""
        query = {"_id": {"$in": [f"{owner}:{user_id}" for owner, user_id in pairs]}, "present": True}
        async with self._mongo.asking():
            documents = await self._mongo["blocks"].find(query).to_list(len(pairs))
        return {(int(one["owner"]), int(one["user_id"])) for one in documents}

    async def list_blocked(self, owner: int, limit: int) -> list[int]:
        """Return whom a user blocks, by id."""
        cursor = self._mongo["blocks"].find({"owner": owner, "present": True}).limit(limit)
        async with self._mongo.asking():
            return sorted(int(one["user_id"]) for one in await cursor.to_list(limit))

    async def put_hidden(self, user_id: int, channel_id: int, seq: int, *, upto: LastMessage | None) -> None:
        """Project that a user closed a direct channel up to this message; None: opened it again."""
        fields = {"v": VERSION, "user_id": user_id, "channel_id": channel_id, "present": upto is not None}
        fields |= {"upto": msgspec.to_builtins(upto)}
        await self._mongo.put_newer("hidden_directs", f"{user_id}:{channel_id}", seq, fields)

    async def read_hidden(self, user_id: int, channel_id: int) -> LastMessage | None:
        """Return the message up to which a user closed a direct channel; None if it is not closed."""
        document = await self._read("hidden_directs", f"{user_id}:{channel_id}")
        return msgspec.convert(document["upto"], LastMessage | None) if document is not None else None

    async def list_hidden(self, user_ids: Sequence[int], limit: int) -> dict[int, dict[int, LastMessage]]:
        """Return of each of these users that closed any: direct channels, and up to which message each.

        Most users have few, so they are read together; where it is more than a few thousand, by fewer at a time.
        """
        if not user_ids:
            return {}
        alone = len(user_ids) == 1
        most = limit if alone else _MOST_HIDDEN
        query = {"user_id": one_of(user_ids), "present": True}
        cursor = self._mongo["hidden_directs"].find(query).sort("channel_id", -1).limit(most)
        async with self._mongo.asking():
            documents = await cursor.to_list(most)
        if not alone and len(documents) == most:
            half = len(user_ids) // 2
            return {
                **await self.list_hidden(user_ids[:half], limit),
                **await self.list_hidden(user_ids[half:], limit),
            }
        found: dict[int, dict[int, LastMessage]] = {}
        for document in documents:
            its = found.setdefault(int(document["user_id"]), {})
            if len(its) < limit:
                its[int(document["channel_id"])] = msgspec.convert(document["upto"], LastMessage)
        return found

    async def put_membership(self, membership: Membership, seq: int) -> None:
        """Project a user's own view of a group, by the user's stream."""
        await self._put("memberships", f"{membership.user_id}:{membership.group_id}", seq, membership)

    async def read_membership(self, user_id: int, group_id: int) -> Membership | None:
        """Return a user's own view of one group, present or not."""
        return value_of(await self._read("memberships", f"{user_id}:{group_id}"), Membership)

    async def list_memberships(self, user_ids: Sequence[int], limit: int) -> dict[int, list[int]]:
        """Return the ids of the groups that each user is in, ascending.

        How many there may be is for those to bound who write them.
        """
        query = {"user_id": one_of(user_ids), "present": True}
        async with self._mongo.asking():
            documents = await self._mongo["memberships"].find(query, {"user_id": 1, "group_id": 1}).to_list(None)
        found: dict[int, list[int]] = {}
        for document in documents:
            found.setdefault(int(document["user_id"]), []).append(int(document["group_id"]))
        return {user_id: sorted(group_ids)[:limit] for user_id, group_ids in found.items()}


def _profile_of(document: Document) -> Profile:
    told = document.get("bio", ""), int(document.get("owner", 0)), document.get("gone", False)
    return Profile(msgspec.convert(document, User), *told)
