"""Contract of the stream store: memory and MongoDB keep the same fence, heads, marks and searches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

import msgspec
import pytest

from shared.core.amending import Amendment, Patch
from shared.core.events import AnyBody
from shared.core.group_events import ChannelCreated, GroupCreated, MemberAdded, MemberRemoved
from shared.core.ids import MAX_ID, IdSource, first_id_at
from shared.core.message_events import (
    ChannelOpened,
    MessageCreated,
    MessageDeleted,
    MessageEdited,
    MessagesDeleted,
    MessageStub,
    Target,
)
from shared.core.model import Channel, ChannelType, Group, Member, User
from shared.core.stream import Bucket, Draft, Head, Limits, Tail, Write, plan, successor_of
from shared.core.user_events import GroupJoined, GroupLeft, UserRegistered
from shared.core.writing import load
from shared.memory_streams import MemoryStreams
from shared.mongo import open_database
from shared.mongo_streams import MongoStreams
from shared.settings import MongoSettings
from shared.streams import StreamStore, drive

NOW = 1_790_000_000_000
PROCESSES = 6
LIMITS = Limits(messages=3, changes=4)
ALICE = User(MAX_ID, "alice", global_name="Alice ☂", bot=True)
BOB = User((1 << 62) + 1, "bob")
GROUP = Group(1 << 61, "Garden", ALICE.id, public=True)
CHANNEL = Channel(1 << 60, ChannelType.TEXT, "general", GROUP.id, position=2, topic="plants")
MEMBER = Member(GROUP.id, BOB, NOW, nick="bobby", roles=(7, MAX_ID))
TARGET = Target(1 << 58, 3, 2, ALICE.id, first_seq=1, index=99)
BODIES: tuple[AnyBody, ...] = (
    MessageCreated(ALICE, "hello\n\x01 ☂ 𝔘", reference_id=1 << 59, edited_at=NOW),
    MessageCreated(
        ALICE,
        "",
        mentions=(ALICE, BOB),
        mention_roles=(MAX_ID, 7),
        mention_everyone=True,
        embeds=({"type": "rich", "fields": [{"name": "n", "value": "v", "inline": False}], "color": 5},),
        flags=4,
        reference_id=MAX_ID,
        reference_place=1 << 40,
    ),
    MessageStub(ALICE.id),
    MessageEdited(TARGET, NOW, MessageCreated(ALICE, "better ☂")),
    MessageDeleted(TARGET, BOB.id),
    MessagesDeleted((TARGET, TARGET), BOB.id),
    ChannelOpened(Channel(5, ChannelType.DIRECT, recipients=(ALICE, BOB))),
    GroupCreated(GROUP, (CHANNEL,), MEMBER),
    ChannelCreated(CHANNEL),
    MemberAdded(MEMBER),
    MemberRemoved(BOB),
    UserRegistered(ALICE),
    GroupJoined(12, MEMBER),
    GroupLeft(GROUP.id, 13),
)


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.servers)])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Sequence[StreamStore]]:
    """Yield the ways of several processes to one empty store of either kind."""
    if request.param == "memory":
        yield [MemoryStreams()] * PROCESSES
        return
    settings = MongoSettings(url=request.getfixturevalue("mongo_url"), database=f"streams_{uuid4().hex}")
    async with open_database(settings) as mongo:
        yield [MongoStreams(mongo) for _ in range(PROCESSES)]


@pytest.fixture
def store(stores: Sequence[StreamStore]) -> StreamStore:
    """Return one of them."""
    return stores[0]


def message(text: str, nonce: str = "") -> Draft:
    """Return a message of Bob's."""
    return Draft(MessageCreated(BOB, text), nonce=nonce)


def change(number: int) -> Draft:
    """Return an event that is no message, by the command of this number."""
    return Draft(GroupLeft(number, number), command_id=number)


class Writer:
    """Writes what `plan` says, behind the tail that it knows."""

    def __init__(self, store: StreamStore, stream: str) -> None:
        self.store = store
        self.tail = Tail(stream)
        self.ids = IdSource(1)

    def write(self, *drafts: Draft, now: int = NOW, dirty: bool = False) -> Write:
        planned, taken = plan(self.tail, drafts, now, self.ids, LIMITS, dirty=dirty)
        assert taken == len(drafts)
        return planned

    async def append(self, *drafts: Draft, now: int = NOW, dirty: bool = False) -> Write:
        planned = self.write(*drafts, now=now, dirty=dirty)
        assert await self.store.commit([planned]) == [True]
        self.tail = planned.after
        return planned


async def test_stored_bucket_is_what_was_written(store: StreamStore) -> None:
    """A bucket that is inserted, appended to and sealed reads back as its writer knows it."""
    writer = Writer(store, "c:1")
    first = await writer.append(message("one", "n1"), change(1))
    second = await writer.append(message("two"))
    third = await writer.append(message("three"))
    bucket = await store.read_bucket("c:1", 1)
    assert bucket is not None
    assert bucket.tail() == third.after
    assert bucket.sealed
    assert bucket.records() == [*first.records, *second.records, *third.records]
    assert [record.body.content for record in bucket.messages if isinstance(record.body, MessageCreated)] == [
        "one",
        "two",
        "three",
    ]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
async def test_every_body_survives_storage(store: StreamStore, body: AnyBody) -> None:
    """An event of any kind, with ids up to 63 bits and any text, is read exactly as it was written."""
    before = Tail("c:1", group_id=MAX_ID, to=(BOB.id, MAX_ID))
    planned, _ = plan(before, (Draft(body, MAX_ID, "n"),), NOW, IdSource(1023), LIMITS)
    assert await store.commit([planned]) == [True]
    bucket = await store.read_bucket("c:1", 1)
    assert bucket is not None
    assert bucket.records() == list(planned.records)
    assert (bucket.group_id, bucket.to) == (MAX_ID, (BOB.id, MAX_ID))


async def test_stale_writer_is_told(store: StreamStore) -> None:
    """Of two writers with the same knowledge one is stored and the other told, and nothing of its is stored."""
    writer, rival = Writer(store, "c:1"), Writer(store, "c:1")
    await writer.append(message("first"))
    rival.tail = writer.tail
    won, lost = writer.write(message("mine")), rival.write(message("yours"))
    assert await store.commit([won]) == [True]
    assert await store.commit([lost]) == [False]
    assert await store.commit([won]) == [False]
    bucket = await store.read_bucket("c:1", 1)
    assert bucket is not None
    assert [record.seq for record in bucket.records()] == [1, 2]
    assert bucket.messages[1] == won.messages[0]


@pytest.mark.parametrize("apart", [True, False])
async def test_racing_writers_have_one_winner(stores: Sequence[StreamStore], apart: bool) -> None:
    """However many writers race for one place of a stream, exactly one is told that it is stored.

    Also those of one process, whose writes may go together.
    """
    store = stores[0]
    base = Writer(store, "c:1")
    for _ in range(4):
        rivals = [Writer(one if apart else store, "c:1") for one in stores]
        for rival in rivals:
            rival.tail = base.tail
        writes = [rival.write(message(f"of {number}")) for number, rival in enumerate(rivals)]
        outcomes = await asyncio.gather(
            *(rival.store.commit([planned]) for rival, planned in zip(rivals, writes, strict=True))
        )
        assert sum(stored for (stored,) in outcomes) == 1
        base.tail = writes[[stored for (stored,) in outcomes].index(True)].after
    first = await store.read_bucket("c:1", 1)
    second = await store.read_bucket("c:1", 4)
    assert first is not None
    assert second is not None
    assert [record.seq for record in (*first.records(), *second.records())] == [1, 2, 3, 4]


async def test_sealed_bucket_takes_nothing(store: StreamStore) -> None:
    """A writer that does not know of the seal cannot append behind it, even at the right seq."""
    writer = Writer(store, "c:1")
    for number in range(3):
        await writer.append(message(str(number)))
    assert writer.tail.sealed
    unaware = msgspec.structs.replace(writer.tail, sealed=False)
    late, _ = plan(unaware, (message("late"),), NOW, IdSource(2), LIMITS)
    assert await store.commit([late]) == [False]
    bucket = await store.read_bucket("c:1", 1)
    assert bucket is not None
    assert bucket.next_seq == 4


async def test_write_that_only_seals(store: StreamStore) -> None:
    """A seal without an event is a write like any other: it is stored once, and told once."""
    writer = Writer(store, "c:1")
    await writer.append(message("one"))
    seal = Write(writer.tail, msgspec.structs.replace(writer.tail, sealed=True))
    assert await store.commit([seal]) == [True]
    assert await store.commit([seal]) == [False]
    bucket = await store.read_bucket("c:1", 1)
    assert bucket is not None
    assert bucket.sealed
    assert len(bucket.records()) == 1


async def test_rival_insert_of_next_bucket(store: StreamStore) -> None:
    """Two writers that both begin the bucket behind a seal meet at its name: one is stored."""
    writer, rival = Writer(store, "c:1"), Writer(store, "c:1")
    for number in range(3):
        await writer.append(message(str(number)))
    rival.tail = writer.tail
    assert successor_of(writer.tail).first_seq == 4
    won, lost = writer.write(message("mine")), rival.write(message("yours"), change(9))
    assert await store.commit([won]) == [True]
    assert await store.commit([lost]) == [False]
    bucket = await store.read_bucket("c:1", 4)
    assert bucket is not None
    assert bucket.tail() == won.after
    assert bucket.prev == 1


async def test_write_behind_a_missing_bucket_leaves_nothing(store: StreamStore) -> None:
    """An append to a bucket that is not there is lost, and does not begin a bucket with a hole in it."""
    writer = Writer(store, "c:1")
    writer.tail = msgspec.structs.replace(writer.tail, next_seq=5)
    assert await store.commit([writer.write(message("where?"))]) == [False]
    assert await store.read_bucket("c:1", 1) is None


async def test_inserted_buckets_stay_as_they_are(store: StreamStore) -> None:
    """An import's buckets are stored whole, once; what is there already stays; a closed one can be reopened."""
    planned, _ = plan(
        Tail("c:1", group_id=7), [message("one"), message("two"), message("three")], NOW, IdSource(1), LIMITS
    )
    after = planned.after
    first = Bucket(
        "c:1",
        1,
        4,
        sealed=True,
        window=after.window,
        size=after.size,
        first_id=after.first_id,
        last_id=after.last_id,
        last_ordinal=3,
        group_id=7,
        messages=planned.messages,
        imported="print",
        closed=True,
    )
    second = Bucket("c:1", 4, 5, prev=1, last_id=after.last_id + 1, last_ordinal=4)
    await store.insert_buckets((first,))
    await store.insert_buckets((msgspec.structs.replace(first, imported="other"), second))
    await store.insert_buckets((first, second))
    assert await store.read_bucket("c:1", 1) == first
    assert await store.read_bucket("c:1", 4) == second
    assert await store.commit([Writer(store, "c:1").write(message("mine"))]) == [False]
    await store.reopen("c:1")
    await store.reopen("c:2")
    assert await store.read_bucket("c:1", 1) == msgspec.structs.replace(first, closed=False)


async def test_an_imported_bucket_keeps_its_mark(store: StreamStore) -> None:
    """Appending to a bucket leaves the mark of what it was imported from."""
    planned, _ = plan(Tail("c:1"), [message("one")], NOW, IdSource(1), LIMITS)
    await store.insert_buckets((Bucket("c:1", 1, 2, messages=planned.messages, imported="print"),))
    writer = Writer(store, "c:1")
    writer.tail = planned.after
    await writer.append(message("two"))
    bucket = await store.read_bucket("c:1", 1)
    assert bucket is not None
    assert (bucket.imported, len(bucket.messages)) == ("print", 2)


async def test_amendments_are_applied_once_and_never_backwards(store: StreamStore) -> None:
    """What is behind the bucket's `applied_seq` changes nothing; what reaches beyond it is applied, all of it."""
    writer = Writer(store, "c:1")
    written = await writer.append(message("one", "n1"), message("two"), change(1))
    edited = MessageCreated(BOB, "uno ☂", edited_at=NOW)
    await store.amend([Amendment("c:1", 1, 5, {0: Patch(edited)})])
    await store.amend([Amendment("c:1", 1, 5, {0: Patch(MessageStub(BOB.id))})])
    await store.amend([Amendment("c:1", 1, 4, {0: Patch(MessageStub(BOB.id)), 1: Patch(MessageStub(BOB.id))})])
    bucket = await store.read_bucket("c:1", 1)
    assert bucket is not None
    assert [record.body for record in bucket.messages] == [edited, written.messages[1].body]
    assert bucket.applied_seq == 5
    await store.amend(
        [Amendment("c:1", 1, 6, {0: Patch(fields={"edited_at": NOW + 1}), 1: Patch(MessageStub(BOB.id))})]
    )
    bucket = await store.read_bucket("c:1", 1)
    assert bucket is not None
    assert bucket.messages[0] == msgspec.structs.replace(
        written.messages[0], body=msgspec.structs.replace(edited, edited_at=NOW + 1)
    )
    assert bucket.messages[1] == msgspec.structs.replace(written.messages[1], body=MessageStub(BOB.id))
    assert (bucket.changes, bucket.applied_seq, bucket.tail()) == (written.changes, 6, written.after)


async def test_appends_go_on_behind_an_amendment_and_seals_take_it(store: StreamStore) -> None:
    """Projecting is nobody's append: it meets no fence, and is no matter to it; a sealed bucket is amended alike."""
    writer = Writer(store, "c:1")
    await writer.append(message("one"))
    await store.amend([Amendment("c:1", 1, 9, {0: Patch(MessageStub(BOB.id))})])
    await writer.append(message("two"), message("three"))
    assert writer.tail.sealed
    await store.amend([Amendment("c:1", 1, 10, {2: Patch(MessageStub(BOB.id))}), Amendment("c:2", 1, 1, {})])
    bucket = await store.read_bucket("c:1", 1)
    assert bucket is not None
    assert [isinstance(record.body, MessageStub) for record in bucket.messages] == [True, False, True]
    assert (bucket.applied_seq, bucket.tail()) == (10, writer.tail)
    assert await store.read_bucket("c:2", 1) is None
    await store.amend([])


async def test_bulk_tells_each_write_its_own_outcome(store: StreamStore) -> None:
    """In a bulk of many streams the losers do not take the winners with them, wherever they stand."""
    writers = [Writer(store, f"c:{number}") for number in range(9)]
    rivals = [Writer(store, f"c:{number}") for number in range(9)]
    for writer, rival in zip(writers, rivals, strict=True):
        if writer.tail.stream != "c:8":
            await writer.append(message("first"))
            rival.tail = writer.tail
        if int(writer.tail.stream[2:]) % 3 == 0:
            await writer.append(message("ahead"))
    outcomes = await store.commit([rival.write(message("bulk")) for rival in rivals])
    assert outcomes == [number % 3 != 0 for number in range(9)]
    for number in range(9):
        bucket = await store.read_bucket(f"c:{number}", 1)
        assert bucket is not None
        assert bucket.next_seq == (2 if number == 8 else 3)


async def test_heads_only_go_up(store: StreamStore) -> None:
    """Each field of a head is raised for itself; a lower value, or 0, changes nothing."""
    assert await store.read_head("c:1") == Head("c:1")
    await store.raise_heads([Head("c:1", seq=5, last_id=MAX_ID, ordinal=4, tail=1), Head("g:2", seq=1, projected=1)])
    await store.raise_heads([Head("c:1", seq=3, published=2), Head("c:1", tail=4)])
    assert await store.read_head("c:1") == Head("c:1", seq=5, last_id=MAX_ID, ordinal=4, tail=4, published=2)
    assert await store.read_heads(["c:1", "g:2", "u:3"]) == {
        "c:1": await store.read_head("c:1"),
        "g:2": Head("g:2", seq=1, projected=1),
    }
    assert await store.read_heads([]) == {}


async def test_ends_of_chains(store: StreamStore) -> None:
    """An end is told from what is committed, also where the head lags; not where another bucket may follow."""
    one, full = Writer(store, "g:1"), Writer(store, "g:2")
    await one.append(change(1))
    await one.append(change(2))
    for number in range(LIMITS.changes):
        await full.append(change(number))
    heads = [Head("g:1", seq=1, tail=1), Head("g:2", seq=4, tail=1), Head("g:3", seq=1, tail=1)]
    assert await store.read_ends(heads) == {"g:1": 2}
    await full.append(change(9))
    assert await store.read_ends([Head("g:2", seq=5, tail=5)]) == {"g:2": 5}
    assert await store.read_ends([]) == {}


async def test_new_head_raised_by_many_at_once(stores: Sequence[StreamStore]) -> None:
    """Writers that create the same heads at the same time all succeed; the highest values stay."""
    await asyncio.gather(
        *(
            store.raise_heads([Head(f"c:{stream}", seq=seq) for stream in range(5)])
            for seq in range(1, 9)
            for store in stores
        )
    )
    heads = await stores[0].read_heads([f"c:{stream}" for stream in range(5)])
    assert {head.seq for head in heads.values()} == {8}


async def test_dirty_marks(store: StreamStore) -> None:
    """A mark stays until the bucket is cleaned at the seq that it has now; the oldest are found first."""
    writer, other = Writer(store, "g:1"), Writer(store, "u:2")
    await writer.append(change(1), now=NOW + 50, dirty=True)
    await other.append(change(2), now=NOW + 10, dirty=True)
    await Writer(store, "c:3").append(message("no mark"))
    assert await store.find_dirty(NOW + 50, 10) == [("u:2", 1, 2)]
    assert await store.find_dirty(NOW + 51, 10) == [("u:2", 1, 2), ("g:1", 1, 2)]
    assert await store.find_dirty(NOW + 51, 1) == [("u:2", 1, 2)]
    await other.append(change(3), now=NOW + 60, dirty=True)
    await store.clean("u:2", 1, 2)
    assert await store.find_dirty(NOW + 100, 10) == [("g:1", 1, 2), ("u:2", 1, 3)]
    await store.clean("u:2", 1, 3)
    await store.clean("g:1", 1, 2)
    await store.clean("g:9", 1, 2)
    assert await store.find_dirty(NOW + 100, 10) == []
    bucket = await store.read_bucket("g:1", 1)
    assert bucket is not None
    assert bucket.tail() == writer.tail


async def fill(store: StreamStore, stream: str) -> list[Bucket]:
    """Write ten buckets whose messages lie from milliseconds to years apart, one of them without messages."""
    writer = Writer(store, stream)
    gaps = [0, 1, 900, 20_000, 3_600_000, 86_400_000, 30 * 86_400_000, 400 * 86_400_000, 5, 5]
    now = NOW
    for number, gap in enumerate(gaps):
        now += gap
        drafts = [change(k) for k in range(1, 5)] if number == 4 else [message(str(k)) for k in range(3)]
        await writer.append(*drafts, now=now)
    buckets: list[Bucket] = []
    first_seq = 1
    while (bucket := await store.read_bucket(stream, first_seq)) is not None:
        buckets.append(bucket)
        first_seq = bucket.next_seq
    assert len(buckets) == len(gaps)
    return buckets


async def test_find_by_seq(store: StreamStore) -> None:
    """Every seq of a long stream is found in the bucket that holds it; others in none."""
    await fill(store, "c:10")
    buckets = await fill(store, "c:1")
    for bucket in buckets:
        for seq in range(bucket.first_seq, bucket.next_seq):
            assert await store.find_bucket_of_seq("c:1", seq) == bucket
    assert await store.find_bucket_of_seq("c:1", 0) is None
    assert await store.find_bucket_of_seq("c:1", buckets[-1].next_seq) is None
    assert await store.find_bucket_of_seq("c:1", buckets[-1].next_seq + 10_000) is None
    assert await store.find_bucket_of_seq("c:2", 1) is None


async def test_find_by_seq_in_the_largest_bucket(store: StreamStore) -> None:
    """The last event of a bucket that holds as many as the limits allow is found in it."""
    limits = Limits()
    drafts = [change(k) for k in range(1, limits.changes)] + [message("m") for _ in range(limits.messages)]
    planned, taken = plan(Tail("c:1"), drafts, NOW, IdSource(1), limits)
    assert taken == limits.messages + limits.changes - 1
    assert planned.after.sealed
    assert await store.commit([planned]) == [True]
    found = await store.find_bucket_of_seq("c:1", taken)
    assert found is not None
    assert found.tail() == planned.after


async def test_find_by_id(store: StreamStore) -> None:
    """An id, of a message or between two, finds the last bucket that begins at or below it, however far back."""
    await fill(store, "c:10")
    buckets = [bucket for bucket in await fill(store, "c:1") if bucket.messages]
    for bucket, following in zip(buckets, [*buckets[1:], None], strict=True):
        for record in bucket.messages:
            assert await store.find_bucket_of_id("c:1", record.id) == bucket
        if following is not None:
            assert await store.find_bucket_of_id("c:1", following.first_id - 1) == bucket
    assert await store.find_bucket_of_id("c:1", buckets[0].first_id - 1) is None
    assert await store.find_bucket_of_id("c:1", 0) is None
    assert await store.find_bucket_of_id("c:1", MAX_ID) == buckets[-1]
    assert await store.find_bucket_of_id("c:2", first_id_at(NOW)) is None


async def test_messages_are_read_by_their_places(store: StreamStore) -> None:
    """Those of the ids asked for that stand in the buckets named, and no others; what is not there is left out."""
    writer = Writer(store, "c:1")
    for number in range(7):
        await writer.append(message(str(number)))
    buckets = [await store.read_bucket("c:1", first_seq) for first_seq in (1, 4)]
    first, second = [bucket.messages for bucket in buckets if bucket is not None]
    ids = [first[0].id, first[2].id, second[1].id, 5]
    found = await store.read_messages("c:1", [1, 4, 999], ids)
    assert sorted(found, key=lambda record: record.seq) == [first[0], first[2], second[1]]
    assert await store.read_messages("c:1", [4], ids) == [second[1]]
    assert await store.read_messages("c:1", [7], ids) == await store.read_messages("c:2", [1, 4], ids) == []


async def test_knowledge_is_read_back(store: StreamStore) -> None:
    """A new writer that loads the stream, from a head that lags, knows the tail, the nonces and what is unfinished."""
    writer = Writer(store, "c:1")
    first = await writer.append(message("one", "n1"), message("two", "n2"), message("three"))
    await store.raise_heads([Head("c:1", seq=3, tail=1, projected=2, published=1)])
    second = await writer.append(message("four", "n4"))

    async def refuse(effect: object) -> None:
        raise AssertionError(effect)

    known = await drive(load("c:1", NOW), store, refuse)
    assert known.tail == second.after
    assert [event.record.seq for event in known.pending] == [2, 3, 4]
    for record in (*first.messages[:2], *second.messages):
        place = known.stored_at((BOB.id, record.nonce), NOW)
        assert place is not None
        assert place.seq == record.seq
