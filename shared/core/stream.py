"""Streams: dense numbers, one conditional write per commit, roll-over. The values, and what a write is.

Ring 1 (core). A stream is a chain of bucket documents; the last is its tail. Every durable event is in
exactly one stream and has its next `seq` (the first is 1). A commit appends to the tail by an upsert
whose filter names the bucket, its `next_seq` and "not sealed": whoever writes on outdated
knowledge meets the unique `_id` and is told so. That alone is the fence (docs/rules.md).
Read `writing` next: what a writer knows and asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Final

import msgspec

from shared.core.events import AnyBody
from shared.core.group_events import GroupDeleted
from shared.core.ids import IdSource, ms_of
from shared.core.message_events import ChannelOpened, MessageCreated, MessageStub
from shared.core.model import Channel

BUCKET_VERSION: Final = 1
Key = int | tuple[int, str]
"""What a repeat is recognised by: a command id, or an author's id and nonce."""

_SEQ_DIGITS = 12
_encoder = msgspec.msgpack.Encoder()


def channel_stream(channel_id: int) -> str:
    """Return the name of a channel's stream."""
    return f"c:{channel_id}"


def group_stream(group_id: int) -> str:
    """Return the name of a group's stream."""
    return f"g:{group_id}"


def user_stream(user_id: int) -> str:
    """Return the name of a user's stream."""
    return f"u:{user_id}"


def owner_of(stream: str) -> int:
    """Return the id of the channel, group or user that a stream is about."""
    return int(stream[2:])


def bucket_name(stream: str, first_seq: int) -> str:
    """Return the `_id` of a bucket document: names of one stream sort in the order of the chain."""
    return f"{stream}:{first_seq:0{_SEQ_DIGITS}d}"


class Limits(msgspec.Struct, frozen=True):
    """When a bucket is full. `window_ms` = 0: no windows (group and user streams).

    The defaults are what no stored bucket exceeds, those of earlier releases included.
    """

    messages: int = 100
    changes: int = 500
    size_bytes: int = 256 * 1024
    window_ms: int = 0


CHANNEL_LIMITS: Final = Limits(messages=50, window_ms=10 * 24 * 3600 * 1000)
"""Every message rewrites the tail; half as many in it cost three quarters, and a page still reads one or two."""
CHANGE_LIMITS: Final = Limits(changes=100)
"""Of group and user streams. Every change reads and rewrites the tail: it costs half of what it would with 500."""


class Draft(msgspec.Struct, frozen=True):
    """An event that wants its place in a stream. `by`: the user who decided it, if that is to be told, and why."""

    body: AnyBody
    command_id: int = 0
    nonce: str = ""
    by: int = 0
    reason: str = ""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event in its place. `at`: when it was sequenced, Unix ms. `id` and `ordinal`: messages only.

    `by`: the user who decided a change of a group, for its audit log; 0 where the event says so itself, or nobody is
    to be named. `reason`: what that user gave for it.
    """

    seq: int
    at: int
    body: AnyBody
    command_id: int = 0
    nonce: str = ""
    id: int = 0
    ordinal: int = 0
    by: int = 0
    reason: str = ""

    @property
    def keys(self) -> tuple[Key, ...]:
        """All under which a repeat of this record's command is recognised."""
        ids = (self.command_id,) if self.command_id else ()
        if not self.nonce:
            return ids
        body = self.body
        if isinstance(body, MessageCreated):
            return (*ids, (body.author.id, self.nonce))
        return (*ids, (body.author_id, self.nonce)) if isinstance(body, MessageStub) else ids


class Tail(msgspec.Struct, frozen=True):
    """What a writer must know of a stream's last bucket to write behind it."""

    stream: str
    first_seq: int = 1
    next_seq: int = 1
    prev: int = 0
    sealed: bool = False
    window: int = 0
    messages: int = 0
    changes: int = 0
    size: int = 0
    first_id: int = 0
    last_id: int = 0
    last_ordinal: int = 0
    group_id: int = 0
    to: tuple[int, ...] = ()
    next_to: tuple[int, ...] | None = None
    """Whom the next bucket's events go to, where that is not `to`: whoever comes or goes ends a bucket."""

    @property
    def recipients(self) -> tuple[int, ...]:
        """Whom the stream's next event goes to, in a direct channel: the users in it."""
        return self.to if self.next_to is None else self.next_to


class Bucket(msgspec.Struct, frozen=True):
    """One bucket document. `prev`: first_seq of the bucket before it, 0 for the first of the stream.

    `messages` and `changes` are each in seq order; together they hold first_seq..next_seq-1 without a
    gap. `first_id` is 0 until there is a message; `last_id` and `last_ordinal` go on from the bucket before.
    `group_id` and `to` (recipients of a direct channel) say whom the stream's events go to. All changes of its
    messages up to `applied_seq` of the stream are projected onto them; where they stand themselves does not matter.
    `imported` and `closed`, of the first bucket only: what an import took these messages from, and whether it is still
    at it; while it is, nobody may write behind them.
    """

    stream: str
    first_seq: int
    next_seq: int
    prev: int = 0
    sealed: bool = False
    window: int = 0
    size: int = 0
    first_id: int = 0
    last_id: int = 0
    last_ordinal: int = 0
    group_id: int = 0
    to: tuple[int, ...] = ()
    messages: tuple[Record, ...] = ()
    changes: tuple[Record, ...] = ()
    applied_seq: int = 0
    v: int = BUCKET_VERSION
    imported: str = ""
    closed: bool = False

    def tail(self) -> Tail:
        """Return what a writer must know of this bucket, if it is the stream's last."""
        return Tail(
            self.stream,
            self.first_seq,
            self.next_seq,
            self.prev,
            self.sealed,
            self.window,
            len(self.messages),
            len(self.changes),
            self.size,
            self.first_id,
            self.last_id,
            self.last_ordinal,
            self.group_id,
            self.to,
            self._next_to(),
        )

    def _next_to(self) -> tuple[int, ...] | None:
        if not self.to or not self.messages or self.messages[-1].seq != self.next_seq - 1:
            return None
        there = recipients_after(self.messages[-1].body)
        return there if there != self.to else None

    def records(self) -> list[Record]:
        """Return all events of the bucket in seq order."""
        return sorted(chain(self.messages, self.changes), key=attrgetter("seq"))


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record on its way: from which stream, to whom (a group's members, or the users in `to`).

    `referenced`: of a reply, the message that it replies to as it stands; None if that is deleted.
    """

    stream: str
    record: Record
    group_id: int = 0
    to: tuple[int, ...] = ()
    referenced: Record | msgspec.UnsetType | None = msgspec.UNSET


def direct_after(record: Record) -> Channel | None:
    """Return a direct channel as it is after an event that opened or has changed it; None of any other event."""
    body = record.body
    if not isinstance(body, ChannelOpened | MessageCreated) or body.channel is None:
        return None
    return msgspec.structs.replace(body.channel, as_of=record.seq)


def recipients_after(body: AnyBody) -> tuple[int, ...] | None:
    """Return the users of a group DM after an event that has changed it; None of any other event."""
    if not isinstance(body, MessageCreated) or body.channel is None:
        return None
    return tuple(user.id for user in body.channel.recipients)


def event_of(place: Tail | Bucket, record: Record) -> Event:
    """Return the event of a record that stands in the bucket `place`. It goes to who comes by it, too."""
    to = place.to
    if to and (there := recipients_after(record.body)) is not None:
        to = tuple(dict.fromkeys((*to, *there)))
    return Event(place.stream, record, place.group_id, to)


class Head(msgspec.Struct, frozen=True):
    """One small document per stream, raised by `$max` after each commit: a lower bound of the truth.

    `tail` is the first_seq of the last bucket (0: the stream is empty). Events up to `projected`
    stand in their projections; up to `published` they are confirmed by the bus. Those up to `imported` were
    stored by an import and are no news to anybody. `changed` is the seq of the last event that is no message, so above
    it no message was changed.
    """

    stream: str
    seq: int = 0
    last_id: int = 0
    ordinal: int = 0
    tail: int = 0
    projected: int = 0
    published: int = 0
    imported: int = 0
    changed: int = 0


class Write(msgspec.Struct, frozen=True):
    """One commit: append to the bucket that `before` tells, if it is still so; then the tail is `after`.

    `dirty_at`: set for group and user streams, so that a sweeper finds what was never published.
    """

    before: Tail
    after: Tail
    messages: tuple[Record, ...] = ()
    changes: tuple[Record, ...] = ()
    dirty_at: int = 0

    @property
    def records(self) -> tuple[Record, ...]:
        """The committed events in seq order."""
        if not self.changes or not self.messages:
            return self.messages or self.changes
        return tuple(sorted(chain(self.messages, self.changes), key=attrgetter("seq")))


def size_of(record: Record) -> int:
    """Return about how many bytes a record takes in its bucket."""
    return len(_encoder.encode(record))


def room_in(tail: Tail, limits: Limits) -> int:
    """Return how many messages a stream's next write can take at most: one at least.

    A tail may hold more than the limits say, if they were higher once; whatever is written to it next seals it.
    """
    return max(limits.messages - (0 if tail.sealed else tail.messages), 1)


def bucket_of(
    tail: Tail,
    messages: Sequence[Record],
    changes: Sequence[Record] = (),
    *,
    applied_seq: int = 0,
    imported: str = "",
) -> Bucket:
    """Return a bucket that holds these, all that come before its tail."""
    return Bucket(
        tail.stream,
        tail.first_seq,
        tail.next_seq,
        prev=tail.prev,
        sealed=tail.sealed,
        window=tail.window,
        size=tail.size,
        first_id=tail.first_id,
        last_id=tail.last_id,
        last_ordinal=tail.last_ordinal,
        group_id=tail.group_id,
        to=tail.to,
        messages=tuple(messages),
        changes=tuple(changes),
        applied_seq=applied_seq,
        imported=imported,
    )


def successor_of(tail: Tail) -> Tail:
    """Return the empty bucket behind a sealed one (rule 1: only once the seal is known to be stored)."""
    return Tail(
        tail.stream,
        first_seq=tail.next_seq,
        next_seq=tail.next_seq,
        prev=tail.first_seq,
        last_id=tail.last_id,
        last_ordinal=tail.last_ordinal,
        group_id=tail.group_id,
        to=tail.recipients,
    )


def plan(
    tail: Tail, drafts: Sequence[Draft], now: int, ids: IdSource, limits: Limits, *, dirty: bool = False
) -> tuple[Write, int]:
    """Return the next write of a stream and how many of the drafts are in it, from the first on.

    The write that fills the bucket seals it. So do the one that ends a group's stream (rule 4), and one that ends with
    a change of who is in a group DM, since all events of a bucket go to the same users. Where the first draft begins a
    new window the write only seals, and takes none. What was not taken goes into the next write, once this one is
    acknowledged.
    """
    before = successor_of(tail) if tail.sealed else tail
    messages: list[Record] = []
    changes: list[Record] = []
    seq, window, size = before.next_seq, before.window, before.size
    first_id, last_id, ordinal = before.first_id, before.last_id, before.last_ordinal
    sealed = False
    next_to = None
    taken = 0
    for draft in drafts:
        if isinstance(draft.body, MessageCreated):
            message_id = ids.next_id(now, after=last_id)
            its_window = ms_of(message_id) // limits.window_ms if limits.window_ms else 0
            if first_id and its_window != window:
                sealed = True
                break
            window = its_window
            last_id, ordinal = message_id, ordinal + 1
            first_id = first_id or message_id
            record = Record(seq, now, draft.body, draft.command_id, draft.nonce, message_id, ordinal)
            messages.append(record)
        else:
            record = Record(seq, now, draft.body, draft.command_id, draft.nonce, by=draft.by, reason=draft.reason)
            changes.append(record)
            sealed = isinstance(draft.body, GroupDeleted)
        seq += 1
        taken += 1
        size += size_of(record)
        if (
            sealed
            or before.messages + len(messages) >= limits.messages
            or before.changes + len(changes) >= limits.changes
            or size >= limits.size_bytes
        ):
            sealed = True
        if before.to and (there := recipients_after(draft.body)) is not None and there != before.to:
            next_to, sealed = there, True
        if sealed:
            break
    after = Tail(
        before.stream,
        before.first_seq,
        seq,
        before.prev,
        sealed,
        window,
        before.messages + len(messages),
        before.changes + len(changes),
        size,
        first_id,
        last_id,
        ordinal,
        before.group_id,
        before.to,
        next_to,
    )
    return Write(before, after, tuple(messages), tuple(changes), now if dirty else 0), taken
