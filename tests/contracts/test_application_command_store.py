"""Contract of the store of commands that bots offer: memory and MongoDB let one of two rivals through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import msgspec
import pytest

from services.groups.application_command_store import ApplicationCommandStore, CommandScope, MemoryApplicationCommands
from services.groups.mongo_application_commands import MongoApplicationCommands
from shared.core.model import ApplicationCommand
from shared.mongo import open_database
from shared.settings import MongoSettings

OPTION = {"type": 4, "name": "count", "choices": [{"name": "a", "value": -(1 << 53)}, {"name": "b", "value": 0.5}]}
PING = ApplicationCommand(1 << 62, 7, 1, "ping", {"description": "☂", "options": [OPTION], "name_localizations": None})


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.servers)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[ApplicationCommandStore]:
    """Yield an empty store of either kind."""
    if request.param == "memory":
        yield MemoryApplicationCommands()
        return
    settings = MongoSettings(url=request.getfixturevalue("mongo_url"), database=f"commands_{uuid4().hex}")
    async with open_database(settings) as mongo:
        yield MongoApplicationCommands(mongo)


async def test_one_of_many_rivals_gets_through(store: ApplicationCommandStore) -> None:
    """Each revision is stored once, the first as well as later ones; what is read is what was stored."""
    scope = await store.read(5, 0)
    assert scope == CommandScope(5, 0)
    for revision in (1, 2, 3):
        rivals = [
            msgspec.structs.replace(scope, revision=revision, commands=(msgspec.structs.replace(PING, version=number),))
            for number in range(4)
        ]
        told = await asyncio.gather(*map(store.write, rivals))
        assert sorted(told) == [False, False, False, True]
        scope = await store.read(5, 0)
        assert scope == rivals[told.index(True)]
    assert not await store.write(msgspec.structs.replace(scope, revision=9))


async def test_scopes_are_apart(store: ApplicationCommandStore) -> None:
    """Everywhere and each group have their own; an application's are dropped together, and no other's."""
    places = [(5, 0), (5, 7), (51, 0), (50, 7), (4, 0)]
    for application_id, group_id in places:
        assert await store.write(CommandScope(application_id, group_id, 1, (PING,)))
    await store.forget(5)
    for application_id, group_id in places:
        assert bool((await store.read(application_id, group_id)).commands) == (application_id != 5)
