"""Telling: messages and events as clients see them, with what stands elsewhere: the messages that replies reply to.

Ring 4 (shell). Pages say what a channel holds; here one more query of named buckets, and only where there are replies,
completes it; and another where there are reactions. Shapes: `shared.core.wire`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import msgspec

from services.history.core.marks import Pin
from services.history.marks import MarkStore
from shared.core.calls import EventPage
from shared.core.message_events import MessageCreated
from shared.core.model import Channel
from shared.core.replies import Referenced, complete, messages_among, referenced_in, referenced_of
from shared.core.stream import Record, channel_stream
from shared.core.wire.messages import message_of, reactions_of
from shared.core.wire.values import Json
from shared.streams import StreamStore


class Telling:
    """Completes what is told. All raise `StoreUnavailable`."""

    def __init__(self, streams: StreamStore, marks: MarkStore) -> None:
        self._streams = streams
        self._marks = marks

    async def messages(self, channel: Channel, records: Sequence[Record], viewer: int) -> list[Json]:
        """Return messages in their public shape, with their reactions and which of them are the viewer's own."""
        found, own = await asyncio.gather(self._referenced(channel.id, records), self._own(records, viewer))
        told = []
        for record in records:
            message = message_of(
                record, channel.id, channel.group_id, referenced_of(record, found), channel_type=channel.type
            )
            if reactions := reactions_of(record, own):
                message["reactions"] = reactions
            told.append(message)
        return told

    async def message(self, channel: Channel, record: Record, viewer: int) -> Json:
        """Return one message in its public shape."""
        (told,) = await self.messages(channel, (record,), viewer)
        return told

    async def pinned(self, channel_id: int, pins: Sequence[Pin]) -> list[Record]:
        """Return the messages of these pins that are there, in one query."""
        if not pins:
            return []
        places, ids = sorted({pin.place for pin in pins}), [pin.message_id for pin in pins]
        records = await self._streams.read_messages(channel_stream(channel_id), places, ids)
        return [record for record in records if isinstance(record.body, MessageCreated)]

    async def events(self, channel_id: int, page: EventPage) -> EventPage:
        """Return events of a channel with what their messages reply to."""
        found = await self._referenced(channel_id, (event.record for event in page.events))
        return msgspec.structs.replace(page, events=complete(page.events, found))

    async def _own(self, records: Iterable[Record], viewer: int) -> set[int]:
        """Return the epochs of the viewer's own reactions to these; one query, and only where there are any."""
        bodies = [(record.id, record.body) for record in records if isinstance(record.body, MessageCreated)]
        ids = [message_id for message_id, body in bodies if body.reactions]
        epochs = [one.epoch for _, body in bodies for one in body.reactions]
        if not ids:
            return set()
        return {one.epoch for one in await self._marks.list_own(viewer, ids, epochs)}

    async def _referenced(self, channel_id: int, records: Iterable[Record]) -> Referenced:
        first_seqs, ids = referenced_in(records)
        if not ids:
            return {}
        return messages_among(await self._streams.read_messages(channel_stream(channel_id), first_seqs, ids))
