"""Kept buckets: bounded, found by name and by id; and readers of them, whom a slow store can't make miss anything."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from services.history.core.cached import SealedBuckets
from services.history.pages import Pages
from shared.core.ids import MAX_ID
from shared.core.message_events import MessageCreated
from shared.core.stream import Bucket, Limits, channel_stream
from shared.memory_streams import MemoryStreams
from tests.history.bench import CHANNEL, Bench, deletion, edit, sent
from tests.history.counting import CountingStreams

STREAM = channel_stream(CHANNEL)


def bucket(first_seq: int, first_id: int, last_id: int, *, sealed: bool = True, size: int = 0) -> Bucket:
    """Return a bucket without messages."""
    return Bucket(STREAM, first_seq, first_seq + 10, sealed=sealed, size=size, first_id=first_id, last_id=last_id)


def test_found_by_name_and_by_id() -> None:
    """An id is looked for among the messages of a bucket: not before the first, behind the last, or between two."""
    kept = SealedBuckets(1 << 20)
    one, two = bucket(1, 100, 200), bucket(11, 300, 400)
    for each in (
        one,
        two,
        bucket(21, 500, 600, sealed=False),
        msgspec.structs.replace(bucket(31, 700, 800), closed=True),
    ):
        kept.put(each, as_of=5)
    found = {
        message_id: kept.find(STREAM, message_id) for message_id in (99, 100, 200, 201, 299, 300, 400, 401, 550, 750)
    }
    assert {message_id: copy.bucket for message_id, copy in found.items() if copy} == {
        100: one,
        200: one,
        300: two,
        400: two,
    }
    assert kept.get(STREAM, 21) is kept.get(STREAM, 31) is kept.get("c:12", 1) is None
    copy = kept.get(STREAM, 11)
    assert copy is not None
    assert (copy.bucket, copy.as_of) == (two, 5)
    kept.renew(copy, 9)
    kept.renew(copy, 7)
    copy = kept.get(STREAM, 11)
    assert copy is not None
    assert copy.as_of == 9
    kept.put(two, as_of=12)
    assert kept.statistics()["cached_buckets"] == 2


def test_bounded_in_bytes_and_in_number() -> None:
    """The least recently used go first; one that is over the bound alone is not kept; 0 keeps nothing."""
    kept = SealedBuckets(30_000, most=3)
    for number in range(3):
        kept.put(bucket(number * 10 + 1, number * 100 + 1, number * 100 + 50), as_of=0)
    assert kept.get(STREAM, 1) is not None
    kept.put(bucket(31, 301, 350), as_of=0)
    assert [kept.get(STREAM, seq) is not None for seq in (1, 11, 21, 31)] == [True, False, True, True]
    assert kept.find(STREAM, 120) is None
    kept.put(bucket(41, 401, 450, size=6_000), as_of=0)
    assert [kept.get(STREAM, seq) is not None for seq in (1, 21, 31, 41)] == [True, False, True, True]
    assert kept.statistics()["cached_bytes"] <= 30_000
    kept.put(bucket(51, 501, 550, size=60_000), as_of=0)
    assert kept.get(STREAM, 51) is None
    nothing = SealedBuckets(0)
    nothing.put(bucket(1, 1, 50), as_of=0)
    assert nothing.get(STREAM, 1) is None


@pytest.fixture
def bench() -> Bench:
    """Return a channel of three full buckets of four messages and one with two."""
    made = Bench(Limits(messages=4, changes=50))
    made.store = CountingStreams()
    for number in range(1, 15):
        sent(made, number)
    return made


async def contents(pages: Pages, cursor: int = MAX_ID, limit: int = 100) -> list[str]:
    """Return the contents of a page, oldest first."""
    page = await pages.before(CHANNEL, cursor, limit)
    return [record.body.content for record in page[::-1] if isinstance(record.body, MessageCreated)]


def test_a_page_that_is_known_costs_one_small_read(bench: Bench) -> None:
    """Full buckets are read once; then the head alone is, and beside it the tail where the page ends there."""

    async def check() -> None:
        store, pages = bench.store, Pages(bench.store)
        assert isinstance(store, CountingStreams)
        everything = await pages.before(CHANNEL, MAX_ID, 100)
        store.taken()
        assert await pages.before(CHANNEL, everything[4].id, 8) == everything[5:13]
        assert await pages.after(CHANNEL, everything[12].id, 5) == everything[7:12]
        assert await pages.find(CHANNEL, everything[7].id) == everything[7]
        assert store.taken() == (3, 0, 0)
        assert await pages.before(CHANNEL, MAX_ID, 100) == everything
        assert store.taken() == (1, 1, 0)

    asyncio.run(check())


def test_a_change_is_seen_by_the_next_reader(bench: Bench) -> None:
    """After an edit its bucket is read again, others of the channel prove right by a mark, and then need none."""
    store, pages = bench.store, Pages(bench.store)
    assert isinstance(store, CountingStreams)
    everything = asyncio.run(pages.before(CHANNEL, MAX_ID, 100))
    bench.settle(edit(20, everything[-1].id, "edited"))
    bench.settle(deletion(21, everything[-6].id))
    store.taken()
    pages_of = Pages(bench.store)
    expected = ["edited", *(f"message {n}" for n in range(2, 6)), *(f"message {n}" for n in range(7, 13))]
    assert asyncio.run(contents(pages, everything[1].id)) == expected
    assert store.taken() == (1, 3, 2)
    assert asyncio.run(contents(pages, everything[1].id)) == expected
    assert store.taken() == (1, 1, 0), "the tail alone"
    assert asyncio.run(contents(pages_of, everything[1].id)) == expected


def test_a_change_between_head_and_bucket(bench: Bench) -> None:
    """What is projected after the head was read may be in the copy; the next head says so, and the mark agrees."""
    store, pages = bench.store, Pages(bench.store)
    assert isinstance(store, CountingStreams)
    first = asyncio.run(Pages(MemoryOf(store)).before(CHANNEL, MAX_ID, 100))[-1].id
    store.then = lambda: bench.settle(edit(20, first, "edited"))
    assert asyncio.run(contents(pages, limit=100))[0] == "edited"
    bench.settle(edit(21, first, "again"))
    assert asyncio.run(contents(pages, limit=100))[0] == "again"


def test_readers_of_a_moving_channel_miss_nothing(bench: Bench) -> None:
    """Whatever was acknowledged before a reader came is in the page, while others read the same the whole time."""

    async def check() -> None:
        pages = Pages(bench.store)

        async def read(upto: int) -> None:
            assert (await contents(pages, limit=3))[-1] >= f"message {upto}"

        for number in range(20, 60):
            others = [asyncio.create_task(read(number - 1 if number > 20 else 14)) for _ in range(3)]
            await asyncio.sleep(0)
            await asyncio.to_thread(sent, bench, number)
            await asyncio.gather(*others, read(number))

    asyncio.run(check())


class MemoryOf(MemoryStreams):
    """Reads the same store without its counting."""

    def __init__(self, store: MemoryStreams) -> None:
        super().__init__()
        self.__dict__.update({name: vars(store)[name] for name in vars(MemoryStreams())})
