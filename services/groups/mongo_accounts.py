"""Accounts and claims on MongoDB: one document each.

Ring 3 (adapter). These are truth of their own, not projections: each write says on what it is conditional.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from services.groups.mongo_documents import VERSION, Documents, value_of
from services.groups.store import Account, Claim, State
from shared.mongo import Document


class MongoAccounts(Documents):
    """The accounts and claims of a `GroupStore`. All raise `StoreUnavailable`."""

    async def claim(self, claim: Claim) -> Claim:
        """Claim a key; return the claim that holds now, ours or an earlier one's."""
        document = {"_id": claim.key, "v": VERSION, "owner": claim.owner, "at": claim.at}
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
        document = {"_id": account.user_id, "v": VERSION, **msgspec.to_builtins(account)}
        async with self._mongo.asking():
            try:
                await self._mongo["accounts"].insert_one(document)
            except DuplicateKeyError:
                return

    async def read_account(self, user_id: int) -> Account | None:
        """Return an account."""
        return value_of(await self._read("accounts", user_id), Account)

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
        return value_of(after, Account)

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


def _claim_of(document: Document) -> Claim:
    return msgspec.convert({**document, "key": document["_id"]}, Claim)  # the driver's own Int64 ends here
