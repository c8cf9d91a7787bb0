"""Contract of the marker store: a marker goes forward only, whoever races; memory and MongoDB list the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from services.history.markers import MarkerStore
from services.history.memory_markers import MemoryMarkers
from services.history.mongo_markers import MongoMarkers
from shared.core.calls import Marker
from shared.mongo import open_database
from shared.settings import MongoSettings

ANN, BOB, CID = (1 << 62) + 1, 2, 3


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.servers)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[MarkerStore]:
    """Yield an empty store of either kind."""
    if request.param == "memory":
        yield MemoryMarkers()
        return
    settings = MongoSettings(url=request.getfixturevalue("mongo_url"), database=f"markers_{uuid4().hex}")
    async with open_database(settings) as mongo:
        yield MongoMarkers(mongo)


async def test_it_goes_forward_only(store: MarkerStore) -> None:
    """One that is not above the stored one changes nothing, and says so."""
    assert await store.read(ANN, 7) is None
    assert [await store.advance(ANN, Marker(7, number)) for number in (5, 5, 4, 6)] == [True, False, False, True]
    assert await store.read(ANN, 7) == Marker(7, 6)
    assert await store.read(BOB, 7) is None


async def test_racing_markers(store: MarkerStore) -> None:
    """However many come at once, the highest is left."""
    numbers = random.sample(range(1, 1000), 20)
    await asyncio.gather(*(store.advance(ANN, Marker(7, number)) for number in numbers))
    assert await store.read(ANN, 7) == Marker(7, max(numbers))


async def test_the_newest_of_each_user(store: MarkerStore) -> None:
    """Each user's are listed by the message, the newest first, as many as asked for."""
    for channel_id in range(1, 6):
        await store.advance(ANN, Marker(channel_id, 100 - channel_id))
    await store.advance(BOB, Marker(1, 7))
    assert await store.list_markers((ANN, BOB, CID), 2) == {ANN: [Marker(1, 99), Marker(2, 98)], BOB: [Marker(1, 7)]}
    assert await store.list_markers((BOB,), 2) == {BOB: [Marker(1, 7)]}
    assert await store.list_markers((CID,), 2) == {}


async def test_who_has_many_hides_nobody(store: MarkerStore) -> None:
    """However many markers some have: the others' are listed with theirs, wherever they stand."""
    many = 1_000
    for user_id, first in ((ANN, 10_000), (BOB, 20_000)):
        for start in range(0, many, 100):
            numbers = range(start, start + 100)
            await asyncio.gather(*(store.advance(user_id, Marker(one + 1, first + one)) for one in numbers))
    await store.advance(CID, Marker(1, 7))
    found = await store.list_markers((BOB, CID, ANN), 2)
    assert found == {
        ANN: [Marker(1_000, 10_999), Marker(999, 10_998)],
        BOB: [Marker(1_000, 20_999), Marker(999, 20_998)],
        CID: [Marker(1, 7)],
    }
