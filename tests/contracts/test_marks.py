"""Contract of the mark store: memory and MongoDB keep the newest of each mark, in any order, and list the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from services.history.core.marks import Mark, Pin, Reactor
from services.history.marks import MarkStore
from services.history.memory_marks import MemoryMarks
from services.history.mongo_marks import MongoMarks
from shared.core.ids import MAX_ID
from shared.core.model import Channel, ChannelType, User
from shared.mongo import open_database
from shared.mongo_audit import MongoAudit
from shared.settings import MongoSettings

ALICE = User(MAX_ID, "alice", global_name="Alice ☂", bot=True)
BOB = User(1 << 61, "bob")
MESSAGE, OTHER = (1 << 62) + 1, (1 << 62) + 2
THUMB, FAMILY = "👍🏽", "👨‍👩‍👧‍👦"
NOW = 1_790_000_000_000


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.servers)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[MarkStore]:
    """Yield an empty store of either kind."""
    if request.param == "memory":
        yield MemoryMarks()
        return
    settings = MongoSettings(url=request.getfixturevalue("mongo_url"), database=f"marks_{uuid4().hex}")
    async with open_database(settings) as mongo:
        yield MongoMarks(mongo, MongoAudit(mongo))


def reactor(
    user: User = ALICE, *, emoji: str = THUMB, epoch: int = 5, gone: bool = False, message_id: int = MESSAGE
) -> Reactor:
    """Return a reaction."""
    return Reactor(message_id, emoji, user, epoch, gone)


async def test_the_newest_of_a_mark_holds(store: MarkStore) -> None:
    """In whatever order and however often they are put, also several of one key at once."""
    history = [Mark(seq, reactor(epoch=seq, gone=seq % 3 == 0)) for seq in range(1, 12)]
    for _ in range(4):
        some = random.sample(history, 5)
        await store.put(some)
        await asyncio.gather(*(store.put([mark]) for mark in some))
    await store.put(history)
    await store.put(history[:-1])
    assert await store.read_epochs([reactor().key]) == [11]
    assert await store.list_reactors(MESSAGE, THUMB, 11, 0, 10) == [ALICE]


async def test_racing_first_marks(store: MarkStore) -> None:
    """Many that put the first mark of a key at once: the newest holds."""
    for key in range(1, 6):
        user = User(key, f"u{key}")
        await asyncio.gather(*(store.put([Mark(seq, reactor(user, epoch=seq))]) for seq in (3, 1, 7, 5, 2)))
        assert await store.read_epochs([reactor(user).key]) == [7]


async def test_epochs_are_told_key_by_key(store: MarkStore) -> None:
    """0 where there is none, or not any more."""
    await store.put([])
    assert await store.read_epochs([reactor().key]) == [0]
    await store.put(
        [Mark(1, reactor()), Mark(2, reactor(BOB, epoch=0, gone=True)), Mark(3, reactor(emoji=FAMILY, epoch=MAX_ID))]
    )
    keys = [reactor(BOB).key, reactor(emoji=FAMILY).key, reactor().key, reactor(message_id=OTHER).key]
    assert await store.read_epochs(keys) == [0, MAX_ID, 5, 0]


async def test_reactors_by_page(store: MarkStore) -> None:
    """By user id, of this message, emoji and epoch alone, without those who took theirs back."""
    users = [User(number, f"u{number}", bot=number % 2 == 0) for number in range(1, 8)]
    marks = [reactor(user) for user in users]
    marks += [reactor(User(20, "x"), gone=True), reactor(User(21, "x"), epoch=4), reactor(User(22, "x"), emoji=FAMILY)]
    marks += [reactor(User(23, "x"), message_id=OTHER), reactor(ALICE)]
    await store.put([Mark(seq, mark) for seq, mark in enumerate(marks, 1)])
    page = await store.list_reactors(MESSAGE, THUMB, 5, 0, 3)
    assert page == users[:3]
    assert await store.list_reactors(MESSAGE, THUMB, 5, page[-1].id, 100) == [*users[3:], ALICE]
    assert await store.list_reactors(MESSAGE, THUMB, 6, 0, 100) == []


async def test_own_reactions(store: MarkStore) -> None:
    """Those of one user to some messages, in today's epochs."""
    mine = [reactor(), reactor(emoji=FAMILY, epoch=9), reactor(message_id=OTHER, epoch=3)]
    others = [reactor(BOB), reactor(emoji="🇩🇪", gone=True), reactor(message_id=77), reactor(emoji="1️⃣", epoch=8)]
    await store.put([Mark(seq, mark) for seq, mark in enumerate(mine + others, 1)])
    found = await store.list_own(ALICE.id, [MESSAGE, OTHER], [5, 9, 3])
    assert sorted(one.key for one in found) == sorted(one.key for one in mine)
    assert await store.list_own(ALICE.id, [], []) == []


async def test_pins_newest_first(store: MarkStore) -> None:
    """Of one channel, by when they were pinned; what was unpinned is gone until it is pinned again."""
    pins = [Pin(MESSAGE + number, 7, number + 1, NOW + number) for number in range(5)]
    await store.put([Mark(seq, pin) for seq, pin in enumerate(pins, 1)])
    await store.put([Mark(6, Pin(1, 8, 1, NOW)), Mark(7, Pin(pins[2].message_id, 7, 3, 0, gone=True))])
    assert await store.list_pins(7, MAX_ID, 10) == [pins[4], pins[3], pins[1], pins[0]]
    assert await store.list_pins(7, pins[3].at, 1) == [pins[1]]
    again = Pin(pins[2].message_id, 7, 3, NOW + 50)
    await store.put([Mark(9, again), Mark(8, pins[2])])
    assert (await store.list_pins(7, MAX_ID, 1)) == [again]


async def test_direct_channels_as_they_are(store: MarkStore) -> None:
    """The newest state holds, whatever comes late; who is not there is told as None, in the order that was asked."""
    channel = Channel(7, ChannelType.GROUP_DIRECT, "Lunch", recipients=(ALICE, BOB), owner_id=ALICE.id, as_of=3)
    await store.put([Mark(3, channel), Mark(1, Channel(7, ChannelType.GROUP_DIRECT, recipients=(ALICE,), as_of=1))])
    other = Channel(8, ChannelType.DIRECT, recipients=(ALICE, BOB), as_of=1)
    await store.put([Mark(1, other)])
    await store.put([Mark(2, Channel(7, ChannelType.GROUP_DIRECT, as_of=2))])
    assert await store.read_directs((8, 9, 7)) == [other, None, channel]
