"""The calls that history serves over the bus.

Ring 4 (shell). Bounds what a caller may ask for at once; the answers are `services.history.pages`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from services.history.pages import MAX_LIMIT, Pages
from services.history.telling import Telling
from shared.core.calls import Call, EventPage, ReadChannelEvents, ReadHeads
from shared.core.errors import Unavailable
from shared.streams import StoreUnavailable

MAX_HEADS: Final = 1_000


def handlers_of(pages: Pages, telling: Telling) -> Mapping[type[Call], Callable[[Any], Awaitable[Any]]]:
    """Return the handler of each call, for `shared.rpc.serve_calls`."""

    async def read_channel_events(call: ReadChannelEvents) -> EventPage:
        try:
            page = await pages.news(call.channel_id, max(call.after_seq, 0), min(max(call.limit, 1), MAX_LIMIT))
            return await telling.events(call.channel_id, page)
        except StoreUnavailable as error:
            raise Unavailable from error

    async def read_heads(call: ReadHeads) -> dict[str, int]:
        try:
            return await pages.heads(call.streams[:MAX_HEADS])
        except StoreUnavailable as error:
            raise Unavailable from error

    return {ReadChannelEvents: read_channel_events, ReadHeads: read_heads}
