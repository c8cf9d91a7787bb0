"""Replies: which messages they reply to, and what has become of those.

Ring 1 (core). A reply keeps the id of the other message and the bucket where that stands, never a copy: what was
edited or deleted since is told as it is now, in one level. The sequencer has just read it, pages and events read all
that they need in one query of named buckets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from shared.core.message_events import MessageCreated, MessageEdited, MessagePinned, MessageUnpinned
from shared.core.stream import Event, Record

Referenced = Mapping[int, Record]
"""Messages that there are, by id."""
NOTHING: Referenced = {}


def place_of_reference(record: Record) -> tuple[int, int] | None:
    """Return where the message stands that a record replies to: first seq of its bucket, and id. None for no reply.

    The record is a message, or a change that tells the whole message.
    """
    body = record.body
    if isinstance(body, MessageEdited | MessagePinned | MessageUnpinned):
        body = body.message
    if not isinstance(body, MessageCreated) or not body.reference_place:
        return None
    return body.reference_place, body.reference_id


def referenced_in(records: Iterable[Record]) -> tuple[list[int], list[int]]:
    """Return the messages that these reply to: the first seqs of their buckets, and their ids."""
    places = [place for record in records if (place := place_of_reference(record)) is not None]
    return sorted({first_seq for first_seq, _ in places}), sorted({message_id for _, message_id in places})


def messages_among(records: Iterable[Record]) -> dict[int, Record]:
    """Return the records that are messages and not deleted, by id, without what is of their commands."""
    return {
        record.id: msgspec.structs.replace(record, command_id=0, nonce="")
        for record in records
        if isinstance(record.body, MessageCreated)
    }


def referenced_of(record: Record, found: Referenced) -> Record | msgspec.UnsetType | None:
    """Return the message that a record replies to; None if it is deleted, UNSET if the record is no reply."""
    place = place_of_reference(record)
    return msgspec.UNSET if place is None else found.get(place[1])


def complete(events: Sequence[Event], found: Referenced) -> tuple[Event, ...]:
    """Return events with what their messages reply to."""
    return tuple(
        event
        if (referenced := referenced_of(event.record, found)) is msgspec.UNSET
        else msgspec.structs.replace(event, referenced=referenced)
        for event in events
    )
