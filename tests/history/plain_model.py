"""What a channel is, put plainly: a list of messages, and what each change does to it. The measure of the real thing.

`Plain` takes every event that was stored, as it was stored, in seq order. It knows nothing of buckets, projections and
stubs; tests hold pages, events and buckets against it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from shared.core.message_events import (
    MessageCreated,
    MessageDeleted,
    MessageEdited,
    MessagePinned,
    MessagesDeleted,
    MessageUnpinned,
    ReactionAdded,
    ReactionRemoved,
    ReactionsCleared,
)
from shared.core.stream import Record


@dataclass(frozen=True)
class Shown:
    """A message as readers see it."""

    id: int
    seq: int
    author_id: int
    content: str
    edited_at: int
    reactions: tuple[tuple[str, int], ...] = ()
    pinned: bool = False


def shown(record: Record) -> Shown | None:
    """Return what readers see of a record in a bucket's messages; None if it is no message any more."""
    body = record.body
    if not isinstance(body, MessageCreated):
        return None
    counts = tuple((one.emoji, one.count) for one in body.reactions)
    return Shown(record.id, record.seq, body.author.id, body.content, body.edited_at, counts, body.pinned)


Reactors = dict[str, frozenset[int]]
"""Users' ids by emoji, in the order in which the emoji came."""


def reacted(users: Reactors, change: ReactionAdded | ReactionRemoved | ReactionsCleared) -> Reactors:
    """Return who reacted to a message after a change; nobody does twice, or takes back what is not there."""
    found = dict(users)
    match change:
        case ReactionAdded(emoji=emoji, user=user):
            assert user.id not in found.get(emoji, ())
            found[emoji] = found.get(emoji, frozenset()) | {user.id}
        case ReactionRemoved(emoji=emoji, user_id=user_id):
            assert user_id in found[emoji]
            found[emoji] -= {user_id}
        case ReactionsCleared(emoji=emoji):
            assert found
            found = {one: its_users for one, its_users in found.items() if emoji and one != emoji}
    return {emoji: its_users for emoji, its_users in found.items() if its_users}


@dataclass
class Plain:
    """The stored events of one channel by seq, and what comes of them."""

    events: dict[int, Record] = field(default_factory=dict)
    _walked: dict[int, tuple[dict[int, Shown], dict[int, Reactors]]] = field(default_factory=dict)

    def store(self, records: tuple[Record, ...]) -> None:
        """Take in what was stored."""
        self._walked.clear()
        for record in records:
            assert record.seq not in self.events, f"two events have seq {record.seq}"
            self.events[record.seq] = record

    @property
    def ids(self) -> list[int]:
        """The ids of all messages that ever were, in order."""
        return [record.id for _, record in sorted(self.events.items()) if record.id]

    def messages(self, upto: int = 1 << 62) -> dict[int, Shown]:
        """Return the messages by id as changes up to the event `upto` make them; each is checked on the way."""
        there, _ = self._known(upto)
        return there

    def reactors(self) -> dict[int, Reactors]:
        """Return who reacted to which message today."""
        _, reactors = self._known(1 << 62)
        return reactors

    def _known(self, upto: int) -> tuple[dict[int, Shown], dict[int, Reactors]]:
        """Walk once for each `upto`, as long as nothing more is stored."""
        if upto not in self._walked:
            self._walked[upto] = self._walk(upto)
        return self._walked[upto]

    def _walk(self, upto: int) -> tuple[dict[int, Shown], dict[int, Reactors]]:
        there: dict[int, Shown] = {}
        reactors: dict[int, Reactors] = {}
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
                    there[target.id] = replace(before, content=message.content, edited_at=record.at)
                case MessageDeleted(target=target):
                    del there[target.id]
                case MessagesDeleted(targets=targets):
                    for target in targets:
                        del there[target.id]
                case MessagePinned() | MessageUnpinned() as change:
                    is_pinned = isinstance(change, MessagePinned)
                    assert there[change.target.id].pinned is not is_pinned
                    there[change.target.id] = replace(there[change.target.id], pinned=is_pinned)
                case ReactionAdded() | ReactionRemoved() | ReactionsCleared() as change:
                    users = reactors[change.target.id] = reacted(reactors.get(change.target.id, {}), change)
                    counts = tuple((emoji, len(its_users)) for emoji, its_users in users.items())
                    there[change.target.id] = replace(there[change.target.id], reactions=counts)
        return there, reactors

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
        case MessagePinned(target=target) | MessageUnpinned(target=target):
            return (target.id,)
        case ReactionAdded(target=target) | ReactionRemoved(target=target) | ReactionsCleared(target=target):
            return (target.id,)
        case MessagesDeleted(targets=targets):
            return tuple(target.id for target in targets)
        case _:
            return ()
