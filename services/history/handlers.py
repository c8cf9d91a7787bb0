"""The calls that history serves over the bus.

Ring 4 (shell). Bounds what a caller may ask for at once; the answers are `services.history.pages`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from services.history.pages import MAX_LIMIT, Pages
from shared.core.calls import Call, EventPage, ReadChannelEvents
from shared.core.errors import Unavailable
from shared.streams import StoreUnavailable


def handlers_of(pages: Pages) -> Mapping[type[Call], Callable[[Any], Awaitable[Any]]]:
    """Return the handler of each call, for `shared.rpc.serve_calls`."""

    async def read_channel_events(call: ReadChannelEvents) -> EventPage:
        try:
            return await pages.events(call.channel_id, max(call.after_seq, 0), min(max(call.limit, 1), MAX_LIMIT))
        except StoreUnavailable as error:
            raise Unavailable from error

    return {ReadChannelEvents: read_channel_events}
