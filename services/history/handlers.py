"""The calls that history serves over the bus.

Ring 4 (shell). Bounds what a caller may ask for at once; the answers are `services.history.pages`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from services.history.markers import MarkerStore
from services.history.pages import MAX_LIMIT, Pages
from services.history.telling import Telling
from shared.core.calls import MARKERS_TOLD, Call, EventPage, Markers, ReadChannelEvents, ReadHeads, ReadMarkers
from shared.core.errors import Unavailable
from shared.streams import StoreUnavailable

MAX_HEADS: Final = 1_000
MAX_READERS: Final = 100
MOST_MARKERS: Final = 2_000
"""Markers in one answer: about 40 KB."""
MOST_BYTES: Final = 60 * 1024
"""Answers over the bus are small (64 KB); what is left of a page is asked for next."""

_encoder = msgspec.msgpack.Encoder()


def within(page: EventPage, most_bytes: int) -> EventPage:
    """Return as many of a page's events as take so many bytes together, the first in any case."""
    size = 0
    for count, event in enumerate(page.events):
        size += len(_encoder.encode(event))
        if count and size > most_bytes:
            return msgspec.structs.replace(page, events=page.events[:count], has_more=True)
    return page


def handlers_of(
    pages: Pages, telling: Telling, markers: MarkerStore
) -> Mapping[type[Call], Callable[[Any], Awaitable[Any]]]:
    """Return the handler of each call, for `shared.rpc.serve_calls`."""

    async def read_channel_events(call: ReadChannelEvents) -> EventPage:
        try:
            page = await pages.news(call.channel_id, max(call.after_seq, 0), min(max(call.limit, 1), MAX_LIMIT))
            return within(await telling.events(call.channel_id, page), MOST_BYTES)
        except StoreUnavailable as error:
            raise Unavailable from error

    async def read_heads(call: ReadHeads) -> dict[str, int]:
        try:
            return await pages.heads(call.streams[:MAX_HEADS])
        except StoreUnavailable as error:
            raise Unavailable from error

    async def read_markers(call: ReadMarkers) -> Markers:
        try:
            found = await markers.list_markers(call.user_ids[:MAX_READERS], MARKERS_TOLD)
        except StoreUnavailable as error:
            raise Unavailable from error
        told, count = {}, 0
        for user_id, its in found.items():
            count += len(its)
            if count > MOST_MARKERS:
                break
            told[user_id] = tuple(its)
        return Markers(told, tuple(found)[len(told) :])

    return {ReadChannelEvents: read_channel_events, ReadHeads: read_heads, ReadMarkers: read_markers}
