"""What a channel is, put plainly: a list of messages, and what each change does to it. The measure of the real thing.

`Plain` takes every event that was stored, as it was stored, in seq order. It knows nothing of buckets, projections and
stubs; tests hold pages, events and buckets against it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from shared.core.events import MessageCreated, MessageDeleted, MessageEdited, MessagesDeleted
from shared.core.stream import Record


@dataclass(frozen=True)
class Shown:
    """A message as readers see it."""

    id: int
    seq: int
    author_id: int
    content: str
    edited_at: int


def shown(record: Record) -> Shown | None:
    """Return what readers see of a record in a bucket's messages; None if it is no message any more."""
    body = record.body
    if not isinstance(body, MessageCreated):
        return None
    return Shown(record.id, record.seq, body.author.id, body.content, body.edited_at)


@dataclass
class Plain:
    """The stored events of one channel by seq, and what comes of them."""

    events: dict[int, Record] = field(default_factory=dict)

    def store(self, records: tuple[Record, ...]) -> None:
        """Take in what was stored."""
        for record in records:
            assert record.seq not in self.events, f"two events have seq {record.seq}"
            self.events[record.seq] = record

    @property
    def ids(self) -> list[int]:
        """The ids of all messages that ever were, in order."""
        return [record.id for _, record in sorted(self.events.items()) if record.id]

    def messages(self, upto: int = 1 << 62) -> dict[int, Shown]:
        """Return the messages by id as changes up to the event `upto` make them; each is checked on the way."""
        there: dict[int, Shown] = {}
        for seq, record in sorted(self.events.items()):
            if seq > upto and not record.id:
                continue
            match record.body:
                case MessageCreated():
                    first = shown(record)
                    assert first is not None
                    assert not first.edited_at
                    there[record.id] = first
                case MessageEdited(target=target, message=message):
                    before = there[target.id]
                    assert message.author.id == before.author_id
                    assert message.edited_at == record.at
                    there[target.id] = Shown(target.id, before.seq, before.author_id, message.content, record.at)
                case MessageDeleted(target=target):
                    del there[target.id]
                case MessagesDeleted(targets=targets):
                    for target in targets:
                        del there[target.id]
        return there

    def last_change(self, message_ids: Collection[int], upto: int) -> int:
        """Return the seq of the last change up to `upto` of any of these messages; 0 if there is none."""
        changes = (
            seq
            for seq, record in self.events.items()
            if seq <= upto and not record.id and not set(message_ids).isdisjoint(changed_by(record))
        )
        return max(changes, default=0)


def changed_by(record: Record) -> tuple[int, ...]:
    """Return the ids of the messages that an event changes."""
    match record.body:
        case MessageEdited(target=target) | MessageDeleted(target=target):
            return (target.id,)
        case MessagesDeleted(targets=targets):
            return tuple(target.id for target in targets)
        case _:
            return ()
