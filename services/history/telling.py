"""Telling: messages and events as clients see them, with what stands elsewhere: the messages that replies reply to.

Ring 4 (shell). Pages say what a channel holds; here one more query of named buckets, and only where there are replies,
completes it. Shapes: `shared.core.wire`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from shared.core import wire
from shared.core.calls import EventPage
from shared.core.model import Channel
from shared.core.replies import Referenced, complete, messages_among, referenced_in, referenced_of
from shared.core.stream import Record, channel_stream
from shared.streams import StreamStore


class Telling:
    """Completes what is told. All raise `StoreUnavailable`."""

    def __init__(self, streams: StreamStore) -> None:
        self._streams = streams

    async def messages(self, channel: Channel, records: Sequence[Record]) -> list[wire.Json]:
        """Return messages in their public shape."""
        found = await self._referenced(channel.id, records)
        return [wire.message_of(one, channel.id, channel.group_id, referenced_of(one, found)) for one in records]

    async def message(self, channel: Channel, record: Record) -> wire.Json:
        """Return one message in its public shape."""
        (told,) = await self.messages(channel, (record,))
        return told

    async def events(self, channel_id: int, page: EventPage) -> EventPage:
        """Return events of a channel with what their messages reply to."""
        found = await self._referenced(channel_id, (event.record for event in page.events))
        return msgspec.structs.replace(page, events=complete(page.events, found))

    async def _referenced(self, channel_id: int, records: Iterable[Record]) -> Referenced:
        first_seqs, ids = referenced_in(records)
        if not ids:
            return {}
        return messages_among(await self._streams.read_messages(channel_stream(channel_id), first_seqs, ids))
