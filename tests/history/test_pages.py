"""Pages equal a plain sorted list, whatever the history and the cursor; `events` is complete and dense."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.history.core.sequencer import sequence
from services.history.core.shard import Shard
from services.history.handlers import within
from services.history.pages import MOST_BUCKETS, Pages
from shared.core.amending import Amendment, Patch
from shared.core.ids import MAX_ID, IdSource
from shared.core.message_events import MessageStub
from shared.core.stream import Limits, Record, channel_stream
from shared.memory_streams import MemoryStreams
from shared.streams import StreamStore, drive
from tests.history.bench import CHANNEL, NOW, command
from tests.history.counting import CountingStreams

LIMITS = Limits(messages=4, window_ms=1_000)


async def write_history(store: StreamStore, pauses: list[int], content: str = "message") -> None:
    """Say one message after each pause (ms)."""

    async def perform(_: Any) -> None:
        return None

    now, ids, shard = NOW, IdSource(1), Shard(LIMITS)
    for number, pause in enumerate(pauses, 1):
        now += pause
        shard.heard_at = now
        await drive(sequence(shard, [command(number, now=now, content=content)], now, ids), store, perform)


async def read_all(pages: Pages) -> list[Record]:
    """Return all messages, oldest first, by way of `events`."""
    found: list[Record] = []
    while True:
        page = await pages.events(CHANNEL, found[-1].seq if found else 0, 7)
        found += [event.record for event in page.events]
        if not page.has_more:
            return found


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    pauses=st.lists(st.sampled_from((0, 1, 300, 900, 5_000)), max_size=40),
    place=st.integers(-1, 41),
    offset=st.sampled_from((-1, 0, 1)),
    limit=st.integers(1, 12),
)
def test_pages_equal_a_sorted_list(pauses: list[int], place: int, offset: int, limit: int) -> None:
    """Before, after and around any cursor, inside, between and outside the messages: exactly the list's slice."""

    async def check() -> None:
        store = MemoryStreams()
        await write_history(store, pauses)
        pages = Pages(store)
        everything = await read_all(pages)
        assert [record.seq for record in everything] == list(range(1, len(pauses) + 1))
        ids = [record.id for record in everything]
        cursor = ids[place] + offset if 0 <= place < len(ids) else (1 if place < 0 else MAX_ID)
        older = [number for number in ids if number < cursor]
        newer = [number for number in ids if number > cursor]
        at = [number for number in ids if number >= cursor]

        async def told(page: Any) -> list[int]:
            return [record.id for record in await page]

        assert await told(pages.before(CHANNEL, cursor, limit)) == older[::-1][:limit]
        assert await told(pages.after(CHANNEL, cursor, limit)) == newer[:limit][::-1]
        around = at[: limit - limit // 2][::-1] + older[::-1][: limit // 2]
        assert await told(pages.around(CHANNEL, cursor, limit)) == around
        found = await pages.find(CHANNEL, cursor)
        assert (found.id if found else None) == (cursor if cursor in ids else None)

    asyncio.run(check())


@pytest.mark.parametrize(("most_bytes", "count"), [(1, 1), (3 * 1000, 2), (100_000, 5)])
async def test_an_answer_over_the_bus_is_cut_by_bytes(most_bytes: int, count: int) -> None:
    """It holds what fits, one event at least, and says that there are more."""
    store = MemoryStreams()
    await write_history(store, [0] * 5, "x" * 1000)
    page = await Pages(store).events(CHANNEL, 0, 100)
    cut = within(page, most_bytes)
    assert cut.events == page.events[:count]
    assert cut.has_more == (count < 5)


@pytest.mark.parametrize("way", ["before", "after", "around", "find"])
@pytest.mark.parametrize("depth", [0, 150, 299])
@pytest.mark.parametrize(
    ("pause", "most"), [pytest.param(0, 4, id="dense"), pytest.param(5_000, 12, id="one in each window")]
)
async def test_a_page_reads_few_buckets_at_any_depth(way: str, depth: int, pause: int, most: int) -> None:
    """A page of 8 out of buckets of 4 reads at most 4 of them, out of buckets of one a few more than 8."""
    store = CountingStreams()
    await write_history(store, [pause] * 300)
    cursor = (await read_all(Pages(store)))[299 - depth].id
    pages = Pages(store)
    store.taken()
    if way == "find":
        assert await pages.find(CHANNEL, cursor) is not None
        assert store.taken() == (1, 1, 0)
        return
    page = await {"before": pages.before, "after": pages.after, "around": pages.around}[way](CHANNEL, cursor, 8)
    there = {"before": 299 - depth, "after": depth, "around": min(4, depth + 1) + min(4, 299 - depth)}
    assert len(page) == min(8, there[way])
    heads, buckets, _ = store.taken()
    assert (heads, buckets <= most) == (1, True)


async def test_stubs_are_walked_over_in_steps_and_not_for_ever() -> None:
    """Where all is deleted a page finds what is behind, in few queries; beyond a bound it gives up and is short."""
    store, number = CountingStreams(), MOST_BUCKETS * LIMITS.messages + 40
    await write_history(store, [0] * number)
    every = await read_all(Pages(store))
    ids = [record.id for record in every]

    async def delete(first: int, last: int) -> None:
        seqs = range(first, last)
        for start in {(seq // LIMITS.messages) * LIMITS.messages + 1 for seq in seqs}:
            indexes = [seq - start + 1 for seq in seqs if start - 1 <= seq < start - 1 + LIMITS.messages]
            patches = {index: Patch(MessageStub(1)) for index in indexes}
            await store.amend((Amendment(channel_stream(CHANNEL), start, last, patches),))

    await delete(8, 408)
    store.taken()
    pages = Pages(store, cache_bytes=0)
    assert [one.id for one in await pages.before(CHANNEL, ids[410], 8)] == [ids[409], ids[408], *ids[2:8][::-1]]
    assert [one.id for one in await pages.after(CHANNEL, ids[5], 8)] == [*ids[408:414][::-1], ids[7], ids[6]]
    await delete(8, number - 8)
    store.taken()
    short = await pages.before(CHANNEL, ids[number - 1], 50)
    assert [one.id for one in short] == ids[number - 8 : number - 1][::-1]
    assert store.taken()[1] <= MOST_BUCKETS + 1
