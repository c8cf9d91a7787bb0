"""Contract of the store of audit logs: one entry of a record, and the same found by any filter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from uuid import uuid4

import pytest

from shared.audit import AuditStore
from shared.core.audit import Action, AuditFilter, Difference, Entry
from shared.core.ids import MAX_ID
from shared.memory_audit import MemoryAudit
from shared.mongo import open_database
from shared.mongo_audit import MongoAudit
from shared.settings import MongoSettings

NOW = 1_790_000_000_000
GROUP, ALL = MAX_ID, AuditFilter()


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.servers)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[AuditStore]:
    """Yield an empty store of either kind."""
    if request.param == "memory":
        yield MemoryAudit()
        return
    settings = MongoSettings(url=request.getfixturevalue("mongo_url"), database=f"audit_{uuid4().hex}")
    async with open_database(settings) as mongo:
        yield MongoAudit(mongo)


def entry(seq: int, *, by: int = 1, action: Action = Action.MEMBER_KICK, target: int = 2, group: int = GROUP) -> Entry:
    """Return an entry."""
    return Entry(group, f"g:{group}", seq, NOW + seq, by, action, (target,), reason="☂ why")


async def test_one_entry_of_a_record(store: AuditStore) -> None:
    """However often and by how many at once it is put; the first one stays, as it was."""
    first = Entry(
        GROUP,
        "g:5",
        1,
        NOW,
        1,
        Action.MEMBER_ROLE_UPDATE,
        (2,),
        (Difference("$add", new_value=[{"id": "9", "name": "☂"}]),),
        {"count": "2"},
        "why",
    )
    await store.put([])
    await store.put([first])
    others = [entry(seq) for seq in range(1, 6)]
    await asyncio.gather(*(store.put([first, *others]) for _ in range(4)))
    await store.put([Entry(GROUP, "g:5", 1, NOW, 7, Action.BAN_ADD)])
    assert await store.page(GROUP, ALL, 0, MAX_ID, 100) == [*reversed(others), first]


async def test_filters(store: AuditStore) -> None:
    """Any of user, action and target, in one group, the newest first, by page in either direction."""
    kinds = (Action.MEMBER_KICK, Action.BAN_ADD)
    entries = [
        entry(seq, by=by, action=action, target=target, group=group)
        for seq, (group, by, action, target, _) in enumerate(product((GROUP, 5), (1, 2), kinds, (3, 4), range(3)), 1)
    ]
    await store.put(entries)
    for by, action, target in product((0, 1, 2, 9), (0, *kinds), (0, 3, 4)):
        wanted = [
            one
            for one in reversed(entries)
            if one.group_id == GROUP and by in (0, one.by) and action in (0, one.action) and target in (0, *one.targets)
        ]
        which = AuditFilter(by, int(action), target)
        assert await store.page(GROUP, which, 0, MAX_ID, 100) == wanted
        assert await store.page(GROUP, which, 0, MAX_ID, 2) == wanted[:2]
        if len(wanted) > 2:
            assert await store.page(GROUP, which, 0, wanted[1].id, 100) == wanted[2:]
            assert await store.page(GROUP, which, wanted[1].id, MAX_ID, 100) == wanted[:1]
            forward = wanted[::-1]
            assert await store.page(GROUP, which, 0, MAX_ID, 2, oldest_first=True) == forward[:2]
            assert await store.page(GROUP, which, forward[0].id, forward[2].id, 9, oldest_first=True) == forward[1:2]


async def test_many_targets(store: AuditStore) -> None:
    """A change of many is one entry, found by each."""
    moved = Entry(GROUP, "g:1", 1, NOW, 1, Action.CHANNEL_UPDATE, (10, 11, 12))
    await store.put([moved])
    for target in moved.targets:
        assert await store.page(GROUP, AuditFilter(1, 11, target), 0, MAX_ID, 5) == [moved]
    assert await store.page(GROUP, AuditFilter(target=13), 0, MAX_ID, 5) == []


async def test_forgetting(store: AuditStore) -> None:
    """What is older goes, some at a time; what is not stays."""
    entries = [entry(seq) for seq in range(1, 8)]
    await store.put(entries)
    assert await store.forget(NOW + 6, 3) == 3
    assert await store.forget(NOW + 6, 3) == 2
    assert await store.forget(NOW + 6, 3) == 0
    assert await store.page(GROUP, ALL, 0, MAX_ID, 100) == [entries[6], entries[5]]
