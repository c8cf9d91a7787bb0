"""Writing streams: what a writer asks for, what it knows of a stream, and how it learns that.

Ring 1 (core). The writers (`services.history.core.sequencer`, `shared.core.change`) are generators: they yield an
effect, a shell performs it and sends the result back. To drop a generator is to crash at that point,
so tests can crash, delay and race them at every step. Any effect but `Commit` that fails ends the
generator; its writer then forgets what it knew. Read `shared.streams` next: the seam that performs effects.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from shared.core.amending import Amendment
from shared.core.group_events import GroupDeleted
from shared.core.stream import Bucket, Event, Head, Key, Record, Tail, Write, bucket_name, event_of

DEDUPE_MS: Final = 10 * 60 * 1000
"""How long after storing a nonce or command id is recognised (promise 3)."""


# Effects: what a generator asks of its shell. Results in brackets.


class ReadHead(msgspec.Struct, frozen=True):
    """[Head] of a stream; an empty Head if there is none yet."""

    stream: str


class ReadBucket(msgspec.Struct, frozen=True):
    """[Bucket | None] by name, a majority read."""

    stream: str
    first_seq: int


class FindBucket(msgspec.Struct, frozen=True):
    """[Bucket | None]: the last bucket with `0 < first_id <= message_id`, a majority read."""

    stream: str
    message_id: int


class Commit(msgspec.Struct, frozen=True):
    """[list[bool]]: for each write, True only if it is certain that it was stored by majority.

    At most one write per stream; unordered, independent of each other. False is "lost, or unknown".
    """

    writes: tuple[Write, ...]


class Amend(msgspec.Struct, frozen=True):
    """[None]: project changes onto their messages; each amendment where it is not applied yet. Idempotent."""

    amendments: tuple[Amendment, ...]


class RaiseHeads(msgspec.Struct, frozen=True):
    """[None]: raise each field of each head to at least the value given."""

    heads: tuple[Head, ...]


class Publish(msgspec.Struct, frozen=True):
    """[None]: publish these in this order; done when the bus confirmed all."""

    events: tuple[Event, ...]


class Together(msgspec.Struct, frozen=True):
    """[list]: perform these independent effects side by side; results in the same order."""

    effects: tuple[Any, ...]


Effects = Generator[Any, Any, Any]


class StreamBroken(Exception):
    """The stored chain contradicts itself (a named bucket is missing). Needs an operator."""


class StreamClosed(Exception):
    """An import is filling the stream: nobody else may write to it until that is done."""


class Stored(msgspec.Struct, frozen=True):
    """Where a recognised command's event is."""

    seq: int
    first_seq: int
    at: int


class Knowledge:
    """What one writer knows of one stream: good until a commit is lost, then to be dropped whole."""

    __slots__ = ("changed", "is_over", "pending", "projected", "published", "seen", "tail")

    def __init__(self, tail: Tail, projected: int, published: int, changed: int = 0) -> None:
        self.changed = changed
        self.tail = tail
        self.projected = projected
        self.published = published
        self.seen: dict[Key, Stored] = {}
        self.pending: list[Event] = []
        """Events found stored above `projected` or `published` when the stream was loaded, in seq order."""
        self.is_over = False
        """Whether the stream has ended: nothing comes behind its last event."""

    def head(self) -> Head:
        """Return the head as far as this writer may raise it."""
        tail = self.tail
        return Head(
            tail.stream,
            seq=tail.next_seq - 1,
            last_id=tail.last_id,
            ordinal=tail.last_ordinal,
            tail=tail.first_seq if tail.next_seq > 1 else 0,
            projected=self.projected,
            published=self.published,
            changed=self.changed,
        )

    def remember(self, records: Iterable[Record], first_seq: int) -> None:
        """Recognise repeats of these records' commands from now on."""
        for record in records:
            place = Stored(record.seq, first_seq, record.at)
            for key in record.keys:
                self.seen[key] = place

    def find(self, keys: Iterable[Key], now: int) -> Stored | None:
        """Return where the event of a command with these keys is, if it is stored already and not too long ago."""
        for key in keys:
            if (place := self.seen.get(key)) is not None and place.at + DEDUPE_MS > now:
                return place
        return None

    def stored_at(self, key: Key, now: int) -> Stored | None:
        """Return where the event of this key is, if it was stored within `DEDUPE_MS`."""
        return self.find((key,), now)

    def prune(self, now: int) -> None:
        """Forget commands whose time is over; the table stays as small as ten minutes of the stream."""
        while self.seen:
            oldest = next(iter(self.seen))
            if self.seen[oldest].at + DEDUPE_MS > now:
                return
            del self.seen[oldest]

    def advance(self, write: Write) -> None:
        """Take in that this write of ours was acknowledged."""
        self.tail = write.after
        self.changed = max(self.changed, *(record.seq for record in write.changes)) if write.changes else self.changed
        self.remember(write.records, write.after.first_seq)


def load(stream: str, now: int, since: int | None = None) -> Generator[Any, Any, Knowledge]:
    """Read what a writer must know: the tail, the last ten minutes' commands, and what is unpublished.

    With `since` of the commands those from this seq on, and whichever else stand in what is read anyway.
    The head may lag behind, so the chain is followed forward from it by name, then backward as far as
    needed. All bucket reads are majority reads (rule 1). Raises `StreamBroken`, `StreamClosed`.
    """
    head: Head = yield ReadHead(stream)
    bucket: Bucket | None = yield ReadBucket(stream, head.tail or 1)
    if bucket is None:
        if head.tail:
            raise StreamBroken(f"{bucket_name(stream, head.tail)} is missing")
        return Knowledge(Tail(stream), 0, 0)
    if bucket.imported and (bucket.closed or not head.tail):
        # Not closed any more, but with a head from before that: the next try has the new one, and so does not
        # take a whole import for something that was never published.
        raise StreamClosed(stream)
    newest = [bucket]
    while newest[-1].sealed:
        bucket = yield ReadBucket(stream, newest[-1].next_seq)
        if bucket is None:
            break
        newest.append(bucket)
    known = Knowledge(newest[-1].tail(), head.projected, head.published, head.changed)
    older = [newest[0]]
    finished = min(head.projected, head.published)
    needed = finished + 1 if since is None else min(finished + 1, since)
    while (first := older[-1]).prev and (
        first.first_seq > needed or (since is None and first.records()[0].at + DEDUPE_MS > now)
    ):
        bucket = yield ReadBucket(stream, first.prev)
        if bucket is None:
            raise StreamBroken(f"{bucket_name(stream, first.prev)} is missing")
        older.append(bucket)
    for bucket in chain(reversed(older), newest[1:]):
        records = bucket.records()
        known.remember(records, bucket.first_seq)
        known.pending += [event_of(bucket, record) for record in records if record.seq > finished]
        known.changed = max((known.changed, *(one.seq for one in bucket.changes if one.seq > finished)))
    known.is_over = any(isinstance(last.body, GroupDeleted) for last in newest[-1].changes[-1:])
    known.prune(now)
    return known


def together(generators: Sequence[Effects]) -> Generator[Any, Any, list[Any]]:
    """Run independent generators in lock-step, their effects performed side by side; return their results."""
    results: list[Any] = [None] * len(generators)
    waiting: list[tuple[int, Any]] = []
    answers: list[tuple[int, Any]] = [(index, None) for index in range(len(generators))]
    while answers:
        waiting.clear()
        for index, answer in answers:
            try:
                waiting.append((index, generators[index].send(answer)))
            except StopIteration as stop:
                results[index] = stop.value
        if not waiting:
            break
        performed = yield Together(tuple(effect for _, effect in waiting))
        answers = [(index, result) for (index, _), result in zip(waiting, performed, strict=True)]
    return results
