"""Marks: what is kept beside the messages in projections of their own, one document each.

Ring 1 (core). They are reactors, pins, and direct channels as their own events tell them. A message counts its
reactions, a reactor names the user; a channel's pins are found by its pins, however long it is. A mark is put under the
seq of the event that made it so, and a lower seq changes nothing, so it can be put again in any order (rule 4 of
docs/rules.md). When an emoji's reactions are cleared its marks stay: they have the `epoch` that the message had then,
and only those of today's count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from shared.core.audit import Entry, entry_of
from shared.core.message_events import (
    ChannelOpened,
    MessageCreated,
    MessageDeleted,
    MessagePinned,
    MessagesDeleted,
    MessageUnpinned,
    ReactionAdded,
    ReactionRemoved,
    Target,
)
from shared.core.model import Channel, Role, User
from shared.core.stream import Record, direct_after, owner_of

_NO_ROLES: Final[Mapping[int, Role]] = {}
"""What is done to messages names no roles."""
ReactorKey = tuple[int, str, int]
"""Message, emoji, user."""


class Reactor(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user's reaction to a message, as the user looked then. `gone`: taken back."""

    message_id: int
    emoji: str
    user: User
    epoch: int = 0
    gone: bool = False

    @property
    def key(self) -> ReactorKey:
        """What there is one mark for."""
        return self.message_id, self.emoji, self.user.id


class Pin(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message that is pinned since `at` (Unix ms); `place`: the first seq of its bucket. `gone`: not any more."""

    message_id: int
    channel_id: int
    place: int
    at: int
    gone: bool = False


class Mark(msgspec.Struct, frozen=True):
    """A reactor, a pin or a direct channel as it is since the event `seq` of its stream, or its audit entry."""

    seq: int
    what: Reactor | Pin | Channel | Entry


class ReadReactors(msgspec.Struct, frozen=True):
    """[list[int]]: for each key the epoch of that user's reaction, 0 if it is gone or never was."""

    keys: tuple[ReactorKey, ...]


class PutMarks(msgspec.Struct, frozen=True):
    """[None]: put these marks."""

    marks: tuple[Mark, ...]


class ReadPins(msgspec.Struct, frozen=True):
    """[list[list[Pin]]]: the pins of each channel."""

    channel_ids: tuple[int, ...]


class ReadDirects(msgspec.Struct, frozen=True):
    """[list[Channel | None]]: direct channels, by these ids."""

    channel_ids: tuple[int, ...]


def marks_of(stream: str, group_id: int, records: Iterable[Record]) -> Iterator[Mark]:
    """Yield the marks that project these records of a channel, of a group or (`group_id` 0) direct."""
    channel_id = owner_of(stream)
    for record in records:
        if (entry := entry_of(stream, group_id, record, _NO_ROLES)) is not None:
            yield Mark(record.seq, entry)
        match record.body:
            case ChannelOpened() | MessageCreated():
                if (direct := direct_after(record)) is not None:
                    yield Mark(record.seq, direct)
            case ReactionAdded(target=target, emoji=emoji, user=user, reactions=reactions):
                epoch = next(one.epoch for one in reactions if one.emoji == emoji)
                yield Mark(record.seq, Reactor(target.id, emoji, user, epoch))
            case ReactionRemoved(target=target, emoji=emoji, user_id=user_id):
                yield Mark(record.seq, Reactor(target.id, emoji, User(user_id, ""), gone=True))
            case MessagePinned(target=target, at=at):
                yield Mark(record.seq, Pin(target.id, channel_id, target.first_seq, at))
            case MessageUnpinned(target=target):
                yield Mark(record.seq, Pin(target.id, channel_id, target.first_seq, 0, gone=True))
            case MessageDeleted(target=target):
                yield from _gone(record.seq, channel_id, (target,))
            case MessagesDeleted(targets=targets):
                yield from _gone(record.seq, channel_id, targets)


def _gone(seq: int, channel_id: int, targets: Iterable[Target]) -> Iterator[Mark]:
    """Yield the ends of pins whose messages are deleted."""
    for target in targets:
        if target.pinned:
            yield Mark(seq, Pin(target.id, channel_id, target.first_seq, 0, gone=True))
