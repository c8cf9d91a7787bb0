"""Contract of the store of codes: memory and MongoDB count tries the same, and one code is used once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import msgspec
import pytest

from services.groups.code_store import CodeStore, MemoryCodes
from services.groups.core.codes import LIFETIME_MS, TRIES, Code
from services.groups.mongo_codes import MongoCodes
from shared.mongo import open_database
from shared.settings import MongoSettings

NOW = 1_790_000_000_000
CODE = Code("verify:5", 1 << 62, "ann@☂.example", "digest", NOW)


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.servers)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[CodeStore]:
    """Yield an empty store of either kind."""
    if request.param == "memory":
        yield MemoryCodes()
        return
    settings = MongoSettings(url=request.getfixturevalue("mongo_url"), database=f"codes_{uuid4().hex}")
    async with open_database(settings) as mongo:
        yield MongoCodes(mongo)


async def test_a_code_has_so_many_tries(store: CodeStore) -> None:
    """Each try counts, also of those who come at once; a new code has all of them again."""
    assert await store.spend_try(CODE.key, NOW) is None
    await store.put(CODE)
    assert await store.read(CODE.key) == CODE
    spent = await asyncio.gather(*(store.spend_try(CODE.key, NOW) for _ in range(TRIES + 3)))
    assert sorted(one.tries for one in spent if one is not None) == list(range(TRIES))
    assert await store.spend_try(CODE.key, NOW) is None
    await store.put(msgspec.structs.replace(CODE, digest="another", sent=2))
    assert await store.spend_try(CODE.key, NOW) == msgspec.structs.replace(
        CODE, digest="another", sent=2, tries=TRIES - 1
    )


async def test_a_code_is_used_once(store: CodeStore) -> None:
    """Of many who know it one uses it; what was sent later is not used up by an older one."""
    await store.put(CODE)
    told = await asyncio.gather(*(store.use_up(CODE) for _ in range(5)))
    assert sorted(told) == [False] * 4 + [True]
    assert await store.spend_try(CODE.key, NOW) is None
    await store.put(msgspec.structs.replace(CODE, digest="another"))
    assert not await store.use_up(CODE)
    assert await store.spend_try(CODE.key, NOW) is not None
    assert not await store.use_up(msgspec.structs.replace(CODE, key="verify:6"))


async def test_a_code_lives_for_ten_minutes(store: CodeStore) -> None:
    """Then it is worth nothing, and is dropped when nobody counts it any more."""
    await store.put(CODE)
    assert await store.spend_try(CODE.key, NOW + LIFETIME_MS) is None
    assert await store.spend_try(CODE.key, NOW + LIFETIME_MS - 1) is not None
    await store.forget(NOW)
    assert await store.read(CODE.key) is not None
    await store.forget(NOW + 1)
    assert await store.read(CODE.key) is None
