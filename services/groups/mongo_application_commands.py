"""The store of the commands that bots offer, on MongoDB: one document per scope, the commands in it as JSON.

Ring 3 (adapter). Nobody asks for one of them by what is in it, and numbers come back as what they were. Held by
tests/contracts/test_application_command_store.py.
"""

from __future__ import annotations

from typing import Final

import msgspec
from pymongo.errors import DuplicateKeyError

from services.groups.application_command_store import CommandScope
from services.groups.mongo_documents import VERSION
from shared.core.model import ApplicationCommand
from shared.mongo import Mongo

_COLLECTION: Final = "application_commands"
_decode: Final = msgspec.json.Decoder(tuple[ApplicationCommand, ...]).decode


class MongoApplicationCommands:
    """An `ApplicationCommandStore` on MongoDB. All raise `StoreUnavailable`."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    async def read(self, application_id: int, group_id: int) -> CommandScope:
        """Return a scope."""
        empty = CommandScope(application_id, group_id)
        async with self._mongo.asking():
            document = await self._mongo[_COLLECTION].find_one({"_id": _key_of(empty)})
        if document is None:
            return empty
        return CommandScope(application_id, group_id, document["revision"], _decode(document["commands"]))

    async def write(self, scope: CommandScope) -> bool:
        """Store a scope in the place of the one of the revision before.

        The first is an insert, since an upsert that lost a race would raise, or store twice.
        """
        commands = msgspec.json.encode(scope.commands)
        document = {"_id": _key_of(scope), "v": VERSION, "revision": scope.revision, "commands": commands}
        async with self._mongo.asking():
            if scope.revision == 1:
                try:
                    await self._mongo[_COLLECTION].insert_one(document)
                except DuplicateKeyError:
                    return False
                return True
            before = {"_id": _key_of(scope), "revision": scope.revision - 1}
            result = await self._mongo[_COLLECTION].replace_one(before, document)
        return result.matched_count == 1

    async def forget(self, application_id: int) -> None:
        """Drop all scopes of an application."""
        async with self._mongo.asking():
            # Their ids begin alike; ";" is what follows ":".
            await self._mongo[_COLLECTION].delete_many(
                {"_id": {"$gte": f"{application_id}:", "$lt": f"{application_id};"}}
            )


def _key_of(scope: CommandScope) -> str:
    return f"{scope.application_id}:{scope.group_id}"
