"""Pages equal a plain sorted list, whatever the history and the cursor; `events` is complete and dense."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.history.core.sequencer import sequence
from services.history.core.shard import Shard
from services.history.pages import Pages
from shared.core.ids import MAX_ID, IdSource
from shared.core.stream import Limits, Record
from shared.memory_streams import MemoryStreams
from shared.streams import StreamStore, drive
from tests.history.bench import CHANNEL, NOW, command

LIMITS = Limits(messages=4, window_ms=1_000)


async def write_history(store: StreamStore, pauses: list[int]) -> None:
    """Say one message after each pause (ms)."""

    async def perform(_: Any) -> None:
        return None

    now, ids, shard = NOW, IdSource(1), Shard(LIMITS)
    for number, pause in enumerate(pauses, 1):
        now += pause
        shard.heard_at = now
        await drive(sequence(shard, [command(number, now=now)], now, ids), store, perform)


async def read_all(pages: Pages) -> list[Record]:
    """Return all messages, oldest first, by way of `events`."""
    found: list[Record] = []
    while True:
        page = await pages.events(CHANNEL, found[-1].seq if found else 0, 7)
        found += [event.record for event in page.events]
        if not page.has_more:
            return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


class CountingStreams(MemoryStreams):
    """Counts the buckets that were read."""

    def __init__(self) -> None:
        super().__init__()
        self.buckets = 0

    async def read_bucket(self, stream: str, first_seq: int) -> Any:
        """Count one."""
        self.buckets += 1
        return await super().read_bucket(stream, first_seq)

    async def find_bucket_of_id(self, stream: str, message_id: int) -> Any:
        """Count one."""
        self.buckets += 1
        return await super().find_bucket_of_id(stream, message_id)


@pytest.mark.parametrize("depth", [0, 100, 299])
async def test_a_page_reads_few_buckets_at_any_depth(depth: int) -> None:
    """A page of 8 out of buckets of 4 reads at most 3 of them (one may be half used at either end)."""
    store = CountingStreams()
    await write_history(store, [0] * 300)
    pages = Pages(store)
    everything = await read_all(pages)
    cursor = everything[299 - depth].id
    store.buckets = 0
    page = await pages.before(CHANNEL, cursor, 8)
    assert len(page) == min(8, 299 - depth)
    assert store.buckets <= 3
