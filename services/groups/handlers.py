"""The calls that groups serves over the bus.

Ring 4 (shell). Bounds what a caller may ask for at once; the answers are `services.groups.views`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from services.groups.views import MAX_GROUPS_READ, Views
from shared.bus import BusUnavailable
from shared.core.calls import (
    Access,
    Call,
    EventPage,
    GroupView,
    ReadAccess,
    ReadChanges,
    ReadGroups,
    ReadSession,
    SessionView,
)
from shared.core.errors import Unavailable
from shared.streams import StoreUnavailable


@asynccontextmanager
async def outages_told() -> AsyncIterator[None]:
    """Tell an outage of store or bus as the catalogue's `Unavailable`."""
    try:
        yield
    except (StoreUnavailable, BusUnavailable) as error:
        raise Unavailable from error


def handlers_of(views: Views) -> Mapping[type[Call], Callable[[Any], Awaitable[Any]]]:
    """Return the handler of each call, for `shared.rpc.serve_calls`."""

    async def read_session(call: ReadSession) -> SessionView | None:
        async with outages_told():
            return await views.read_session(call.user_id)

    async def read_groups(call: ReadGroups) -> tuple[GroupView, ...]:
        async with outages_told():
            return await views.read_groups(dict.fromkeys(call.group_ids[:MAX_GROUPS_READ]))

    async def read_access(call: ReadAccess) -> Access:
        async with outages_told():
            return await views.read_access(call.channel_id, call.user_id)

    async def read_changes(call: ReadChanges) -> EventPage:
        async with outages_told():
            return await views.read_changes(call.stream, call.after_seq, call.limit)

    return {
        ReadSession: read_session,
        ReadGroups: read_groups,
        ReadAccess: read_access,
        ReadChanges: read_changes,
    }
