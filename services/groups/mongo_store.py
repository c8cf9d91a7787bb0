"""The group store on MongoDB: one document per account, claim, user, group, channel, member and membership.

Ring 3 (adapter). A projection is one replacement conditional on `seq`, so it can be redone in any order by anyone;
what a removal leaves is a tombstone. Indexes: `shared.mongo_schema`. Held by tests/contracts/test_group_store.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from services.groups.core.names import key_of_name
from services.groups.store import Account, Claim, Job, Membership, MemberState, Profile, State
from shared.core.ids import MAX_ID
from shared.core.model import Ban, Channel, Group, Invite, Member, Role, User
from shared.core.revocation import Revocations
from shared.mongo import Document, Mongo

T = TypeVar("T")

_VERSION: Final = 1
_MOST_CHANNELS: Final = 500
_MOST_ROLES: Final = 250
_MOST_DIRECTS: Final = 2_000
_LAST_LETTER: Final = "\U0010ffff"
"""No name holds it, and no letter is above it."""


class MongoGroups:
    """A `GroupStore` on MongoDB. All raise `StoreUnavailable`."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    async def claim(self, claim: Claim) -> Claim:
        """Claim a key; return the claim that holds now, ours or an earlier one's."""
        document = {"_id": claim.key, "v": _VERSION, "owner": claim.owner, "at": claim.at}
        async with self._mongo.asking():
            try:
                await self._mongo["claims"].insert_one(document)
            except DuplicateKeyError:
                held = await self._mongo["claims"].find_one({"_id": claim.key})
                if held is not None:  # claims are replaced, never removed
                    return _claim_of(held)
        return claim

    async def replace_claim(self, old: Claim, new: Claim) -> bool:
        """Take over a claim; False if it is no longer `old`."""
        same = {"_id": old.key, "owner": old.owner, "at": old.at}
        async with self._mongo.asking():
            result = await self._mongo["claims"].update_one(same, {"$set": {"owner": new.owner, "at": new.at}})
        return result.matched_count == 1

    async def read_claim(self, key: str) -> Claim | None:
        """Return who holds a key."""
        document = await self._read("claims", key)
        return _claim_of(document) if document is not None else None

    async def create_account(self, account: Account) -> None:
        """Store an account once; a second call for the same user changes nothing."""
        document = {"_id": account.user_id, "v": _VERSION, **msgspec.to_builtins(account)}
        async with self._mongo.asking():
            try:
                await self._mongo["accounts"].insert_one(document)
            except DuplicateKeyError:
                return

    async def read_account(self, user_id: int) -> Account | None:
        """Return an account."""
        return _value_of(await self._read("accounts", user_id), Account)

    async def issue(self, user_id: int, password_hash: str, now: int) -> int | None:
        """Return the time to issue a token at; None if the hash is not the account's."""
        same = {"_id": user_id, "password_hash": password_hash, "state": {"$nin": ["blocked", "deleted"]}}
        async with self._mongo.asking():
            after = await self._mongo["accounts"].find_one_and_update(
                same, {"$max": {"issued": now}}, return_document=ReturnDocument.AFTER
            )
        return int(after["issued"]) if after is not None else None

    async def set_state(self, user_id: int, state: State, *, unless: Sequence[State] = ()) -> Account | None:
        """Give an account another state; None if it was in one of `unless`."""
        change = {"state": state} | ({"password_hash": "", "email": ""} if state == "deleted" else {})
        async with self._mongo.asking():
            after = await self._mongo["accounts"].find_one_and_update(
                {"_id": user_id, "state": {"$nin": list(unless)}},
                {"$set": change, "$inc": {"issued": 1}},
                return_document=ReturnDocument.AFTER,
            )
        return _value_of(after, Account)

    async def set_email(self, user_id: int, email: str) -> bool:
        """Give an account another proved address."""
        same = {"_id": user_id, "state": {"$nin": ["deleted"]}}
        async with self._mongo.asking():
            result = await self._mongo["accounts"].update_one(same, {"$set": {"email": email}})
        return result.matched_count == 1

    async def replace_password(self, old: Account, password_hash: str) -> bool:
        """Give the account another hash; False if it is no longer `old`."""
        same = {"_id": old.user_id, "password_hash": old.password_hash, "issued": old.issued}
        change = {"$set": {"password_hash": password_hash, "issued": old.issued + 1}}
        async with self._mongo.asking():
            result = await self._mongo["accounts"].update_one(same, change)
        return result.matched_count == 1

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

    async def put_user(self, user: User, seq: int, *, bio: str = "", owner: int = 0, gone: bool = False) -> None:
        """Project a user's profile. Users are found by `name`, bots by `owner`; who is gone has neither."""
        fields = {"v": _VERSION, **msgspec.to_builtins(user), "bio": bio, "gone": gone}
        if not gone:
            fields |= {"name": key_of_name(user.username)} | ({"owner": owner} if owner else {})
        await self._mongo.put_newer("users", user.id, seq, fields)

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
        cursor = self._mongo["users"].find({"name": {**begin, "$lt": prefix + _LAST_LETTER}}).sort("name", 1)
        async with self._mongo.asking():
            return [msgspec.convert(document, User) for document in await cursor.limit(limit).to_list(limit)]

    async def put_block(self, owner: int, user_id: int, seq: int, *, at: int, present: bool) -> None:
        """Project whether `owner` blocks a user."""
        fields = {"v": _VERSION, "owner": owner, "user_id": user_id, "at": at, "present": present}
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

    async def close_direct(self, channel_id: int, *, closed: bool) -> None:
        """Say of a direct channel whether anybody may write there."""
        async with self._mongo.asking():
            await self._mongo["channels"].update_one({"_id": channel_id}, {"$set": {"closed": closed}})

    async def rename_recipient(self, user: User) -> None:
        """Show a user in all of its direct channels as it is called now."""
        change = {"$set": {"recipients.$": msgspec.to_builtins(user)}}
        async with self._mongo.asking():
            await self._mongo["channels"].update_many({"recipients.id": user.id}, change)

    async def put_job(self, job: Job) -> None:
        """Ask for work, in place of an earlier asking for the same."""
        asked = {"_id": job.key, "v": _VERSION, "due": job.due, "mark": job.mark}
        async with self._mongo.asking():
            try:
                await self._mongo["jobs"].replace_one({"_id": job.key}, asked, upsert=True)
            except DuplicateKeyError:
                await self._mongo["jobs"].replace_one({"_id": job.key}, asked)

    async def find_jobs(self, before: int, limit: int) -> list[Job]:
        """Return jobs whose `due` is below `before`, the longest due first."""
        cursor = self._mongo["jobs"].find({"due": {"$gte": 0, "$lt": before}}).sort("due", 1).limit(limit)
        async with self._mongo.asking():
            return [Job(one["_id"], int(one["due"]), int(one["mark"])) for one in await cursor.to_list(limit)]

    async def take_job(self, job: Job, due: int) -> Job | None:
        """Give a job another `due`; None if it is no longer as it was seen."""
        same = {"_id": job.key, "due": job.due, "mark": job.mark}
        async with self._mongo.asking():
            result = await self._mongo["jobs"].update_one(same, {"$set": {"due": due}})
        return Job(job.key, due, job.mark) if result.matched_count else None

    async def end_job(self, job: Job) -> None:
        """Take a job away, unless it was asked for anew or somebody else took it up."""
        async with self._mongo.asking():
            await self._mongo["jobs"].delete_one({"_id": job.key, "due": job.due, "mark": job.mark})

    async def read_users(self, user_ids: Sequence[int]) -> dict[int, User]:
        """Return the users that exist among these."""
        return {user.id: user for user in await self._read_many("users", user_ids, User)}

    async def put_group(self, group: Group, seq: int) -> None:
        """Project a group."""
        await self._put("groups", group.id, seq, group)

    async def read_groups(self, group_ids: Sequence[int]) -> dict[int, Group]:
        """Return the groups that exist among these."""
        return {group.id: group for group in await self._read_many("groups", group_ids, Group)}

    async def put_channel(self, channel: Channel, seq: int) -> None:
        """Project a channel of a group, or a direct one."""
        await self._put("channels", channel.id, seq, channel)

    async def remove_channel(self, channel_id: int, seq: int) -> None:
        """Project that a group's channel is gone: a tombstone, in no group's list."""
        await self._mongo.put_newer("channels", channel_id, seq, {"v": _VERSION, "gone": True})

    async def read_channel(self, channel_id: int) -> Channel | None:
        """Return a channel."""
        document = await self._read("channels", channel_id)
        return _value_of(document, Channel) if document is not None and not document.get("gone") else None

    async def list_channels(self, group_ids: Sequence[int]) -> dict[int, list[Channel]]:
        """Return the channels of each group by position, then id."""
        query = {"group_id": _one_of(group_ids)}
        async with self._mongo.asking():
            documents = await self._mongo["channels"].find(query).to_list(_MOST_CHANNELS * len(group_ids))
        found: dict[int, list[Channel]] = {}
        channels = [msgspec.convert(document, Channel) for document in documents]
        for channel in sorted(channels, key=lambda channel: (channel.position, channel.id)):
            found.setdefault(channel.group_id, []).append(channel)
        return found

    async def list_directs(self, user_ids: Sequence[int], limit: int) -> dict[int, list[Channel]]:
        """Return direct channels of each user, newest id first.

        Most users have few, so they are read together; where it is more than a few thousand, by fewer at a time.
        """
        alone = len(user_ids) == 1
        most = limit if alone else _MOST_DIRECTS
        cursor = self._mongo["channels"].find({"recipients.id": _one_of(user_ids)}).sort("_id", -1).limit(most)
        async with self._mongo.asking():
            documents = await cursor.to_list(most)
        if not alone and len(documents) == most:
            half = len(user_ids) // 2
            return {
                **await self.list_directs(user_ids[:half], limit),
                **await self.list_directs(user_ids[half:], limit),
            }
        found: dict[int, list[Channel]] = {user_id: [] for user_id in user_ids}
        for document in documents:
            channel = msgspec.convert(document, Channel)
            for recipient in channel.recipients:
                if (its := found.get(recipient.id)) is not None and len(its) < limit:
                    its.append(channel)
        return found

    async def put_role(self, role: Role, seq: int) -> None:
        """Project a role of a group."""
        await self._put("roles", role.id, seq, role)

    async def remove_role(self, role_id: int, seq: int) -> None:
        """Project that a role is gone: a tombstone, in no group's list."""
        await self._mongo.put_newer("roles", role_id, seq, {"v": _VERSION, "gone": True})

    async def list_roles(self, group_ids: Sequence[int]) -> dict[int, list[Role]]:
        """Return the stored roles of each group by id."""
        query = {"group_id": _one_of(group_ids)}
        async with self._mongo.asking():
            documents = await self._mongo["roles"].find(query).to_list(_MOST_ROLES * len(group_ids))
        found: dict[int, list[Role]] = {}
        for role in sorted((msgspec.convert(document, Role) for document in documents), key=lambda role: role.id):
            found.setdefault(role.group_id, []).append(role)
        return found

    async def put_invite(self, invite: Invite, seq: int) -> None:
        """Project an invite, or how often it was used."""
        await self._put("invites", invite.code, seq, invite)

    async def remove_invite(self, code: str, seq: int) -> None:
        """Project that an invite is gone: a tombstone, in no group's list."""
        await self._mongo.put_newer("invites", code, seq, {"v": _VERSION, "gone": True})

    async def read_invite(self, code: str) -> Invite | None:
        """Return an invite, whether or not it is still good."""
        document = await self._read("invites", code)
        return _value_of(document, Invite) if document is not None and not document.get("gone") else None

    async def list_invites(self, group_id: int, limit: int) -> list[Invite]:
        """Return a group's invites, whether or not they are still good, by code, at most `limit`."""
        async with self._mongo.asking():
            documents = await self._mongo["invites"].find({"group_id": group_id}).limit(limit).to_list(limit)
        return sorted((msgspec.convert(document, Invite) for document in documents), key=lambda invite: invite.code)

    async def put_ban(self, ban: Ban, seq: int) -> None:
        """Project that a user may not be in a group."""
        await self._put("bans", f"{ban.group_id}:{ban.user.id}", seq, ban)

    async def lift_ban(self, group_id: int, user_id: int, seq: int) -> None:
        """Project that a user may be in a group again: a tombstone, in no group's list."""
        await self._mongo.put_newer("bans", f"{group_id}:{user_id}", seq, {"v": _VERSION, "gone": True})

    async def read_ban(self, group_id: int, user_id: int) -> Ban | None:
        """Return the ban of a user from a group, if there is one."""
        document = await self._read("bans", f"{group_id}:{user_id}")
        return _value_of(document, Ban) if document is not None and not document.get("gone") else None

    async def list_bans(self, group_id: int, after: int, before: int, limit: int) -> list[Ban]:
        """Return a page of bans by user id between the two: the first, the last ones where only `before` bounds it."""
        forward = bool(after) or before > MAX_ID
        query = {"group_id": group_id, "user.id": {"$gt": after, "$lt": min(before, MAX_ID)}}
        cursor = self._mongo["bans"].find(query).sort("user.id", 1 if forward else -1).limit(limit)
        async with self._mongo.asking():
            bans = [msgspec.convert(document, Ban) for document in await cursor.to_list(limit)]
        return bans if forward else bans[::-1]

    async def put_member(self, member: Member, seq: int) -> None:
        """Project that somebody is a member."""
        await self._put("members", f"{member.group_id}:{member.user.id}", seq, member, gone=False)

    async def remove_member(self, group_id: int, user_id: int, seq: int) -> None:
        """Project that somebody is not a member any more: a tombstone."""
        tombstone = {"v": _VERSION, "gone": True, "group_id": group_id, "user": {"id": user_id}}
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

    async def put_membership(self, membership: Membership, seq: int) -> None:
        """Project a user's own view of a group, by the user's stream."""
        await self._put("memberships", f"{membership.user_id}:{membership.group_id}", seq, membership)

    async def read_membership(self, user_id: int, group_id: int) -> Membership | None:
        """Return a user's own view of one group, present or not."""
        return _value_of(await self._read("memberships", f"{user_id}:{group_id}"), Membership)

    async def list_memberships(self, user_ids: Sequence[int], limit: int) -> dict[int, list[int]]:
        """Return the ids of the groups that each user is in, ascending.

        How many there may be is for those to bound who write them.
        """
        query = {"user_id": _one_of(user_ids), "present": True}
        async with self._mongo.asking():
            documents = await self._mongo["memberships"].find(query, {"user_id": 1, "group_id": 1}).to_list(None)
        found: dict[int, list[int]] = {}
        for document in documents:
            found.setdefault(int(document["user_id"]), []).append(int(document["group_id"]))
        return {user_id: sorted(group_ids)[:limit] for user_id, group_ids in found.items()}

    async def _put(self, collection: str, key: int | str, seq: int, value: msgspec.Struct, **marks: bool) -> None:
        fields = {"v": _VERSION, **msgspec.to_builtins(value), **marks}
        await self._mongo.put_newer(collection, key, seq, fields)

    async def _read(self, collection: str, key: int | str) -> Document | None:
        async with self._mongo.asking():
            return await self._mongo[collection].find_one({"_id": key})

    async def _read_many(
        self, collection: str, keys: Sequence[int] | Sequence[str], kind: type[T], **marks: bool
    ) -> list[T]:
        if not keys:
            return []
        query: Document = {"_id": {"$in": list(keys)}, **marks}
        async with self._mongo.asking():
            documents = await self._mongo[collection].find(query).to_list(len(keys))
        return [msgspec.convert(document, kind) for document in documents]


def _one_of(ids: Sequence[int]) -> Any:
    """Return a condition on ids; one is asked for by itself, which every server plans well."""
    return ids[0] if len(ids) == 1 else {"$in": list(ids)}


def _profile_of(document: Document) -> Profile:
    told = document.get("bio", ""), int(document.get("owner", 0)), document.get("gone", False)
    return Profile(msgspec.convert(document, User), *told)


def _claim_of(document: Document) -> Claim:
    return msgspec.convert({**document, "key": document["_id"]}, Claim)  # the driver's own Int64 ends here


def _value_of(document: Any, kind: type[T]) -> T | None:
    return msgspec.convert(document, kind) if document is not None else None
