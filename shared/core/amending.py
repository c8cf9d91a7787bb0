"""Amending: what a change of messages (an edit, a deletion) does to them, in the buckets where they stand.

Ring 1 (core). A change is committed as a record of its own, then projected onto its messages. It says what is true from
now on, never what is to be added to it: so projecting it again, alone or with those behind it, changes nothing, and
all that is needed for it stands in committed records. An `Amendment` is one update of one bucket, conditional on
`applied_seq`: whoever comes late with it, or for the second time, changes nothing either (rules 3 and 4 of
docs/rules.md). A new kind of change is one more case of `patches_of`. Read `writing` next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from shared.core.events import AnyBody
from shared.core.message_events import (
    MessageCreated,
    MessageDeleted,
    MessageEdited,
    MessagePinned,
    MessagesDeleted,
    MessageStub,
    MessageUnpinned,
    ReactionAdded,
    ReactionRemoved,
    ReactionsCleared,
    Target,
)
from shared.core.stream import Bucket, Record

MessageBody = MessageCreated | MessageStub
"""What stands in the place of a message."""


class Patch(msgspec.Struct, frozen=True):
    """What becomes of one message: `body` stands in its place if given, then these fields of it are set."""

    body: MessageBody | None = None
    fields: Mapping[str, Any] = {}

    def apply(self, body: AnyBody) -> AnyBody:
        """Return a message's body after this. A stub stays one."""
        body = body if self.body is None else self.body
        if isinstance(body, MessageCreated) and self.fields:
            return msgspec.structs.replace(body, **self.fields)
        return body

    def then(self, later: Patch) -> Patch:
        """Return the one patch that does as this one and then a later one."""
        if later.body is not None:
            return later
        fields = {**self.fields, **later.fields}
        if self.body is None:
            return Patch(None, fields)
        return Patch(Patch(None, fields).apply(self.body))  # type: ignore[arg-type]


class Amendment(msgspec.Struct, frozen=True):
    """One update of the bucket (`stream`, `first_seq`): what becomes of its messages, by index.

    It carries all changes of this bucket up to `seq` that may not be applied yet, so it is applied as long as the
    bucket's `applied_seq` is below that, and sets it.
    """

    stream: str
    first_seq: int
    seq: int
    patches: Mapping[int, Patch]

    def apply(self, bucket: Bucket) -> Bucket:
        """Return the bucket after this."""
        if bucket.applied_seq >= self.seq:
            return bucket
        messages = list(bucket.messages)
        for index, patch in self.patches.items():
            messages[index] = msgspec.structs.replace(messages[index], body=patch.apply(messages[index].body))
        return msgspec.structs.replace(bucket, messages=tuple(messages), applied_seq=self.seq)


def patches_of(change: AnyBody) -> Iterator[tuple[Target, Patch]]:
    """Yield what an event does to which messages; nothing for one that changes none."""
    match change:
        case MessageEdited(target=target, message=message):
            yield target, Patch(message)
        case MessageDeleted(target=target):
            yield target, Patch(MessageStub(target.author_id))
        case MessagesDeleted(targets=targets):
            for target in targets:
                yield target, Patch(MessageStub(target.author_id))
        case MessagePinned(target=target) | MessageUnpinned(target=target):
            yield target, Patch(fields={"pinned": change.message.pinned})
        case ReactionAdded() | ReactionRemoved() | ReactionsCleared():
            yield change.target, Patch(fields={"reactions": change.reactions})


def amendments_of(stream: str, records: Iterable[Record]) -> list[Amendment]:
    """Return the updates that project these records of a stream, given in seq order: one for each bucket."""
    buckets: dict[int, tuple[int, dict[int, Patch]]] = {}
    for record in records:
        for target, patch in patches_of(record.body):
            _, patches = buckets.get(target.first_seq, (0, {}))
            before = patches.get(target.index)
            patches[target.index] = patch if before is None else before.then(patch)
            buckets[target.first_seq] = record.seq, patches
    return [Amendment(stream, first_seq, seq, patches) for first_seq, (seq, patches) in buckets.items()]
