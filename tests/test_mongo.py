"""Opening the database: its schema is made once, raised in order, and never touched when it is newer."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from shared.mongo import Mongo, SchemaTooNew, SettingChanged, open_database
from shared.mongo_schema import STEPS
from shared.settings import MongoSettings

pytestmark = pytest.mark.servers


@pytest.fixture
def settings(mongo_url: str) -> MongoSettings:
    """Name a database that does not exist yet."""
    return MongoSettings(url=mongo_url, database=f"schema_{uuid4().hex}")


async def version_of(mongo: Mongo) -> int:
    """Return the schema version that is stored."""
    document = await mongo["schema"].find_one({"_id": "schema"})
    return int(document["version"]) if document else 0


async def open_and_look(settings: MongoSettings) -> tuple[int, int]:
    """Open the database; return its version and how many indexes the buckets have."""
    async with open_database(settings) as mongo:
        return await version_of(mongo), len(await mongo["buckets"].index_information())


async def test_schema_is_made_and_kept(settings: MongoSettings) -> None:
    """Processes that start together, and later ones, find one schema with its indexes."""
    looks = await asyncio.gather(*(open_and_look(settings) for _ in range(3)))
    looks.append(await open_and_look(settings))
    assert looks == [(len(STEPS), 4)] * 4


async def test_newer_schema_is_refused(settings: MongoSettings) -> None:
    """A release does not start on data that a later one has written, and leaves it as it is."""
    async with open_database(settings) as mongo:
        await mongo["schema"].update_one({"_id": "schema"}, {"$set": {"version": len(STEPS) + 1}})
        with pytest.raises(SchemaTooNew):
            async with open_database(settings):
                pass
        assert await version_of(mongo) == len(STEPS) + 1


async def test_writes_and_reads_are_by_majority(settings: MongoSettings) -> None:
    """Every collection is opened with the concerns that the promises rest on."""
    async with open_database(settings) as mongo:
        for name in ("buckets", "heads", "claims", "workers"):
            collection = mongo[name]
            assert collection.write_concern.document == {"w": "majority", "j": True}
            assert collection.read_concern.level == "majority"
            assert collection.read_preference.mongos_mode == "primary"


async def test_a_setting_that_is_fixed_at_first_start_stays(settings: MongoSettings) -> None:
    """Another number of shards would give a channel a second sequencer: it is refused, and the first one kept."""
    async with open_database(settings) as mongo:
        await mongo.require_fixed("shards", 16)
    async with open_database(settings) as mongo:
        with pytest.raises(SettingChanged, match="shards = 16"):
            await mongo.require_fixed("shards", 8)
        await mongo.require_fixed("shards", 16)
