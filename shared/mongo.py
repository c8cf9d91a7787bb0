"""The MongoDB connection: opened with the guarantees that we promise, its errors translated, its schema checked.

Ring 3 (adapter). The driver is known here and in the `mongo_*.py` files, nowhere else; what it raises leaves as
`StoreUnavailable`. Every write waits for the journal of a majority, every read is a majority read from the
primary. Collections and indexes: `shared.mongo_schema`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pymongo
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo.errors import DuplicateKeyError, PyMongoError

from shared.mongo_schema import STEPS
from shared.settings import MongoSettings
from shared.streams import StoreUnavailable

Document = dict[str, Any]

_UPSERT_ATTEMPTS: Final = 3
_SCHEMA_ID: Final = "schema"


class SettingChanged(Exception):
    """A setting that is fixed at first start is another now."""


class SchemaTooNew(Exception):
    """The database was written by a later release; this one must not touch it."""


class Mongo:
    """An open database. `timeout_s` is the deadline of every operation."""

    def __init__(self, database: AsyncIOMotorDatabase[Document], timeout_s: float) -> None:
        self._database = database
        self.timeout_s = timeout_s
        self.answers = 0
        """How many questions were answered; whoever looks twice knows whether the database is there."""

    def __getitem__(self, name: str) -> AsyncIOMotorCollection[Document]:
        """Return a collection."""
        return self._database[name]

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Give what is inside until the deadline. Raises `StoreUnavailable` for all that the driver raises.

        The driver has a deadline of its own, but its calls may also wait for one of its threads.
        """
        try:
            async with asyncio.timeout(self.timeout_s):
                yield
            self.answers += 1
        except (PyMongoError, TimeoutError) as error:
            raise StoreUnavailable(f"MongoDB: {error or 'no answer in time'}") from error

    async def ping(self, within_s: float | None = None) -> None:
        """Return when the database answers, for readiness. Raises `StoreUnavailable`, after `within_s` at the latest.

        After that the driver waits no longer either: it would keep one of its few threads from others.
        """
        async with self.asking():
            with pymongo.timeout(within_s or self.timeout_s):
                await self._database.command("ping")

    async def put_newer(self, collection: str, key: Any, seq: int, fields: Document) -> None:
        """Replace the document `key` by `fields` unless its `seq` is this or above. Raises `StoreUnavailable`.

        Idempotent, and right in any order: MongoDB retries an upsert that lost a race itself only where
        the filter is all equality, so the loser here looks once more at what is there now.
        """
        newer = {"_id": key, "seq": {"$lt": seq}}
        document = {"_id": key, "seq": seq, **fields}
        async with self.asking():
            try:
                await self[collection].replace_one(newer, document, upsert=True)
            except DuplicateKeyError:
                await self[collection].replace_one(newer, document)

    async def require_fixed(self, name: str, value: int) -> None:
        """Hold a setting to what it was when the database was begun. Raises `SettingChanged`, `StoreUnavailable`."""
        async with self.asking():
            first = {"_id": _SCHEMA_ID, name: {"$exists": False}}
            await self["schema"].update_one(first, {"$set": {name: value}})
            stored = await self["schema"].find_one({"_id": _SCHEMA_ID})
        if stored is None or stored[name] != value:
            before = None if stored is None else stored[name]
            raise SettingChanged(f"this database was begun with {name} = {before}; it can't be {value} now")


@asynccontextmanager
async def open_database(settings: MongoSettings) -> AsyncIterator[Mongo]:
    """Connect and bring the schema up to date.

    Raises `StoreUnavailable` when the database does not answer in time, `SchemaTooNew` when a later
    release has written it.
    """
    timeout_s = settings.timeout.total_seconds()
    timeout_ms = int(timeout_s * 1000)
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
        settings.url,
        w="majority",
        journal=True,
        readConcernLevel="majority",
        readPreference="primary",
        timeoutMS=timeout_ms,
        # For what the driver does beside operations, such as its farewell in `close`.
        serverSelectionTimeoutMS=timeout_ms,
        connectTimeoutMS=timeout_ms,
        socketTimeoutMS=timeout_ms,
        retryWrites=True,  # of no effect on a standalone server: the driver sees that and does not retry
        retryReads=True,
        maxPoolSize=32,
        appname="starling",
    )
    try:
        mongo = Mongo(client[settings.database], timeout_s)
        await _upgrade(mongo)
        yield mongo
    finally:
        await asyncio.to_thread(client.close)  # says good-bye to the server, and waits for it


async def _upgrade(mongo: Mongo) -> None:
    """Run the steps that this database lacks, in order; several processes may do so at once."""
    async with mongo.asking():
        stored = await mongo["schema"].find_one({"_id": _SCHEMA_ID})
    version = stored["version"] if stored else 0
    if version > len(STEPS):
        raise SchemaTooNew(f"the database has schema {version}, this release knows {len(STEPS)}")
    for number, step in enumerate(STEPS[version:], start=version + 1):
        for collection, indexes in step.items():
            for index in indexes:
                async with mongo.asking():
                    await mongo[collection].create_index(list(index.keys), sparse=index.sparse)
        await _raise_version(mongo, number)


async def _raise_version(mongo: Mongo, version: int) -> None:
    async with mongo.asking():
        for _ in range(_UPSERT_ATTEMPTS):
            try:
                await mongo["schema"].update_one({"_id": _SCHEMA_ID}, {"$max": {"version": version}}, upsert=True)
            except DuplicateKeyError:
                continue
            return
    raise StoreUnavailable("MongoDB: the schema version could not be written")
