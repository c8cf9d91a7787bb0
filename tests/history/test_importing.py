"""An import: the buckets that the worker would have made, whatever happens on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.history.core.importing import (
    EARLIEST_MS,
    Manifest,
    OldMessage,
    Unfit,
    author_id_of,
    buckets_of,
    head_of,
    ids_of,
    survey,
)
from services.history.core.judging import CheckAccess
from services.history.core.sequencer import ReadClock, Settled, sequence
from services.history.core.shard import Shard
from services.history.importing import Imported, NotEmpty, import_messages
from services.history.pages import Pages
from shared.core.calls import EventPage
from shared.core.ids import MAX_ID, ms_of
from shared.core.message_events import MessageCreated
from shared.core.model import Channel, ChannelType, User
from shared.core.stream import CHANNEL_LIMITS, Bucket, Draft, Event, Head, Limits, Tail, channel_stream, plan
from shared.core.writing import Knowledge, Publish
from shared.memory_streams import MemoryStreams
from shared.streams import StoreUnavailable, drive
from tests.history.bench import command

NOW = 1_790_000_000_000
CHANNEL = Channel(11, ChannelType.TEXT, "general", 9)
STREAM = channel_stream(CHANNEL.id)
ADA = User(1, "ada")
LIMITS = Limits(messages=4, size_bytes=900, window_ms=60_000)


def said(pauses: Sequence[int], length: int = 1) -> list[OldMessage]:
    """Return messages, each so long (ms) after the one before."""
    at, messages = NOW - 10_000_000_000, []
    for number, pause in enumerate(pauses, 1):
        at += pause
        messages.append(OldMessage(at, ADA, f"{number} " + "x" * length))
    return messages


FULL = CHANNEL_LIMITS.messages
LONG = said([0] * 125 + [11 * 24 * 3600 * 1000] + [1] * 125)


def surveyed(messages: Sequence[OldMessage]) -> Manifest:
    """Return the manifest of messages that are fit."""
    return survey(CHANNEL.id, messages, now=NOW, content_characters=2000)


async def chain_of(store: MemoryStreams) -> list[Bucket]:
    """Return the channel's buckets."""
    chain: list[Bucket] = []
    first_seq = 1
    while (bucket := await store.read_bucket(STREAM, first_seq)) is not None:
        chain.append(bucket)
        first_seq = bucket.next_seq
    return chain


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    pauses=st.lists(st.sampled_from((0, 0, 0, 1, 50, 30_000, 70_000, -500, -100_000)), min_size=1, max_size=40),
    length=st.sampled_from((1, 300, 1000)),
    at_once=st.integers(1, 6),
)
def test_buckets_are_those_of_the_worker(pauses: list[int], length: int, at_once: int) -> None:
    """What `plan` makes of the same messages, sequenced at their own times, committed in batches of any size."""

    async def written() -> list[Bucket]:
        store, tail, ids = MemoryStreams(), Tail(STREAM, group_id=CHANNEL.group_id), ids_of(CHANNEL.id)
        left = said(pauses, length)
        while left:
            now = left[0].at
            some = [message for message in left[:at_once] if message.at == now]
            drafts = [Draft(MessageCreated(message.author, message.content)) for message in some]
            # A batch has one time, so it ends where the time changes.
            same = next((index for index, message in enumerate(left[:at_once]) if message.at != now), len(some))
            write, taken = plan(tail, drafts[:same], now, ids, LIMITS)
            assert await store.commit([write]) == [True]
            tail, left = write.after, left[taken:]
        return await chain_of(store)

    assert list(buckets_of(CHANNEL.id, CHANNEL.group_id, said(pauses, length), LIMITS)) == asyncio.run(written())


def test_ids_are_of_their_times_and_the_head_is_the_end() -> None:
    """Each id tells its message's ms, increasing; seqs and ordinals are dense; nothing is left to be published."""
    messages = said([0, 0, 5, 700, 0])
    (bucket,) = buckets_of(CHANNEL.id, CHANNEL.group_id, messages)
    ids = [record.id for record in bucket.messages]
    assert [ms_of(one) for one in ids] == [message.at for message in messages]
    assert ids == sorted(set(ids))
    assert [(record.seq, record.ordinal) for record in bucket.messages] == [(n, n) for n in range(1, 6)]
    assert [record.at for record in bucket.messages] == [message.at for message in messages]
    assert head_of(bucket) == Head(STREAM, 5, ids[-1], 5, tail=1, projected=5, published=5, imported=5)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (OldMessage(EARLIEST_MS - 1, ADA, "x"), "2015"),
        (OldMessage(NOW + 1, ADA, "x"), "future"),
        (OldMessage(NOW, ADA, " \n"), "empty"),
        (OldMessage(NOW, ADA, "x" * 2001), "longer than 2,000"),
        (OldMessage(NOW, ADA, "a\0b"), "no text"),
        (OldMessage(NOW, ADA, "\ud800"), "no text"),
        (OldMessage(NOW, User(0, "ada"), "x"), "author"),
        (OldMessage(NOW, User(1, ""), "x"), "author"),
    ],
)
def test_what_is_unfit_is_told_before_anything_is_stored(message: OldMessage, reason: str) -> None:
    """The second of two messages is wrong: it is named by its number, with why."""
    with pytest.raises(Unfit, match=rf"message 2 .*{reason}"):
        survey(CHANNEL.id, [OldMessage(NOW, ADA, "x"), message], now=NOW, content_characters=2000)


def test_a_manifest_is_of_one_channel_and_one_log() -> None:
    """Its fingerprint changes with the channel and with anything in the messages; an empty log has none."""
    one, other = said([0, 1]), said([0, 2])
    prints = {surveyed(one).fingerprint, surveyed(other).fingerprint, surveyed(one[::-1]).fingerprint}
    assert len(prints | {survey(12, one, now=NOW, content_characters=2000).fingerprint}) == 4
    with pytest.raises(Unfit):
        surveyed([])


def test_authors_without_accounts() -> None:
    """A name in a channel has always the same id, below all that are minted."""
    assert author_id_of(1, "eve") == author_id_of(1, "eve") != author_id_of(2, "eve")
    assert 0 < author_id_of(1, "\ud800") < 1 << 49 < MAX_ID


class Steps(MemoryStreams):
    """A store that does something before the n-th call (from 0) of an import, and may fail there."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.before: Callable[[int], Awaitable[None]] | None = None

    async def _step(self) -> None:
        number, self.calls = self.calls, self.calls + 1
        if self.before is not None:
            await self.before(number)

    async def insert_buckets(self, buckets: Sequence[Bucket]) -> None:
        """Insert them one by one, so that a failure leaves some."""
        for bucket in buckets:
            await self._step()
            await super().insert_buckets((bucket,))

    async def raise_heads(self, heads: Sequence[Head]) -> None:
        """Raise."""
        await self._step()
        await super().raise_heads(heads)

    async def reopen(self, stream: str) -> None:
        """Reopen."""
        await self._step()
        await super().reopen(stream)


async def run_import(store: MemoryStreams, messages: Sequence[OldMessage] = LONG) -> Imported:
    """Import these messages."""
    return await import_messages(store, CHANNEL, surveyed(messages), messages)


async def whole() -> list[Bucket]:
    """Return what an undisturbed import leaves."""
    store = MemoryStreams()
    assert await run_import(store) == Imported(len(LONG), was_done=False)
    return await chain_of(store)


async def test_killed_anywhere_and_begun_again() -> None:
    """After each step: it dies there, is begun again, and leaves what an undisturbed one leaves. Once more: nothing."""
    expected = await whole()
    assert len(expected) == 6
    assert not any(bucket.closed for bucket in expected)
    for fatal in range(8):
        store = Steps()

        async def die(number: int, fatal: int = fatal) -> None:
            if number == fatal:
                raise StoreUnavailable("killed")

        store.before = die
        with pytest.raises(StoreUnavailable):
            await run_import(store)
        store.before = None
        assert await run_import(store) == Imported(len(LONG), was_done=False)
        assert await chain_of(store) == expected
        assert await run_import(store) == Imported(len(LONG), was_done=True)
        assert await chain_of(store) == expected
        assert (await store.read_head(STREAM)).seq == len(LONG)


async def test_a_failure_after_the_last_step_is_none() -> None:
    """There are as many steps as the test above kills at."""
    store = Steps()
    await run_import(store)
    assert store.calls == 8


class Worker:
    """A shard's worker on the same store, with what it has published."""

    def __init__(self, store: MemoryStreams) -> None:
        self.store = store
        self.shard = Shard()
        self.ids = ids_of(1)
        self.published: list[Event] = []

    async def send(self, number: int) -> Any:
        """Send one message now; return the reply."""

        async def perform(effect: Any) -> Any:
            match effect:
                case Publish(events):
                    self.published += events
                    return None
                case ReadClock():
                    return NOW
                case CheckAccess(pairs):
                    return [""] * len(pairs)

        self.shard.heard_at = NOW
        one = command(number, now=NOW, channel_id=CHANNEL.id)
        settled: Settled = await drive(sequence(self.shard, [one], NOW, self.ids), self.store, perform)
        return settled.replies[0]


@pytest.mark.parametrize("messages", [LONG, LONG[:3], LONG[:FULL]], ids=["six buckets", "one", "one that is full"])
async def test_sends_meanwhile(messages: list[OldMessage]) -> None:
    """Before each step of the import a worker is sent to, one that knows the empty channel or a new one.

    Sent before the first step it wins, and the import is refused. Later it is refused until the head is raised, and
    then its message is the next one, and only that is published.
    """
    store = Steps()
    await run_import(store, messages)
    steps, expected = store.calls, len(messages)
    for at in range(steps + 1):
        store = Steps()
        old, new = Worker(store), Worker(store)
        old.shard.known[STREAM] = Knowledge(Tail(STREAM), 0, 0)
        replies: list[Any] = []

        async def both(number: int, at: int = at, old: Worker = old, new: Worker = new, to: Any = replies) -> None:
            if number == at:
                to.append(await old.send(1))
                to.append(await new.send(2))

        store.before = both
        try:
            await run_import(store, messages)
        except NotEmpty:
            assert at == 0
            assert [reply.seq for reply in replies] == [1, 2]
            assert (await store.read_head(STREAM)).seq == 2
            continue
        assert at > 0
        store.before = None
        is_open = bool(replies and not replies[0].error)
        for reply in replies:
            assert is_open or (reply.error, reply.retry_after > 0) == ("ChannelClosed", True)
        if at < steps:
            assert is_open == (at == steps - 1 and len(messages) > FULL)
        seqs = [(await worker.send(number)).seq for number, worker in ((3, old), (4, new))]
        behind = expected + 2 * is_open
        assert seqs == [behind + 1, behind + 2]
        assert {event.record.seq for event in (*old.published, *new.published)} == set(range(expected + 1, behind + 3))
        records = [record for bucket in await chain_of(store) for record in bucket.records()]
        assert [record.seq for record in records] == list(range(1, behind + 3))
        assert await run_import(store, messages) == Imported(expected, was_done=True)


async def test_a_worker_that_read_the_head_before_the_end() -> None:
    """It reads the head just before that is raised and the bucket just after; it does not publish the whole import."""
    store = Steps()
    worker = Worker(store)

    class Late(MemoryStreams):
        async def read_head(self, stream: str) -> Head:
            await run_import(store)
            return Head(stream)

        async def read_bucket(self, stream: str, first_seq: int) -> Bucket | None:
            return await store.read_bucket(stream, first_seq)

    worker.store = Late()
    assert (await worker.send(1)).error == "ChannelClosed"
    assert worker.published == []
    worker.store = store
    assert (await worker.send(2)).seq == len(LONG) + 1


async def test_imported_events_are_complete_but_no_news() -> None:
    """`events` has all of them from the first on; who tells news gets those behind the import, and where they begin."""
    store = MemoryStreams()
    await run_import(store, LONG[:150])
    pages = Pages(store)
    page = await pages.events(CHANNEL.id, 0, 100)
    assert [event.record.seq for event in page.events] == list(range(1, 101))
    last_id = (await pages.before(CHANNEL.id, MAX_ID, 1))[0].id
    assert await pages.news(CHANNEL.id, 0, 100) == EventPage((), has_more=False, after=150, after_id=last_id)
    await Worker(store).send(1)
    news = await pages.news(CHANNEL.id, 149, 100)
    assert ([event.record.seq for event in news.events], news.after, news.after_id) == ([151], 150, 0)
    assert (await pages.news(CHANNEL.id, 150, 100)).after == 0


async def test_only_its_own_log_goes_on() -> None:
    """Another log is refused while the first is unfinished and afterwards; so is a direct channel. Nothing changes."""
    store = Steps()

    async def die(number: int) -> None:
        if number == 3:
            raise StoreUnavailable("killed")

    store.before = die
    with pytest.raises(StoreUnavailable):
        await run_import(store)
    store.before = None
    with pytest.raises(NotEmpty):
        await run_import(store, LONG[:7])
    assert await run_import(store) == Imported(len(LONG), was_done=False)
    with pytest.raises(NotEmpty):
        await run_import(store, LONG[:7])
    assert await chain_of(store) == await whole()
    direct = Channel(11, ChannelType.DIRECT, recipients=(ADA,))
    with pytest.raises(NotEmpty):
        await import_messages(MemoryStreams(), direct, surveyed(LONG), LONG)
