"""The calls that groups serves over the bus.

Ring 4 (shell). Bounds what a caller may ask for at once, and how large an answer gets; the answers are
`services.groups.views` and `services.groups.snapshots`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from services.groups.answering import ANSWER_BYTES, Answers, Told
from services.groups.snapshots import Snapshots
from services.groups.views import Views
from shared.bus import BusUnavailable
from shared.core.calls import (
    Access,
    Call,
    EventPage,
    MemberPage,
    Mentionable,
    ReadAccess,
    ReadChanges,
    ReadGroups,
    ReadMembers,
    ReadMentionable,
    ReadRevocations,
    ReadSessions,
    ReadWebhook,
    WebhookView,
)
from shared.core.errors import Unavailable
from shared.core.mentions import MAX_MENTIONS
from shared.core.model import Member
from shared.core.revocation import Revocations
from shared.streams import StoreUnavailable

MAX_SESSIONS_READ: Final = 100
MAX_GROUPS_READ: Final = 20
MAX_MEMBERS_READ: Final = 1000
MAX_MEMBERS_FOUND: Final = 100


def page_of(members: Sequence[Member], limit: int) -> MemberPage:
    """Return as many of a page's members, of `limit` that were asked for, as fit into one answer."""
    size = 0
    for index, member in enumerate(members):
        size += len(_encoder.encode(member))
        if index and size > ANSWER_BYTES:
            return MemberPage(tuple(members[:index]), members[index - 1].user.id)
    return MemberPage(tuple(members), members[-1].user.id if len(members) >= limit else 0)


_encoder = msgspec.msgpack.Encoder()


@asynccontextmanager
async def outages_told() -> AsyncIterator[None]:
    """Tell an outage of store or bus as the catalogue's `Unavailable`."""
    try:
        yield
    except (StoreUnavailable, BusUnavailable) as error:
        raise Unavailable from error


def handlers_of(views: Views, snapshots: Snapshots) -> Mapping[type[Call], Callable[[Any], Awaitable[Any]]]:
    """Return the handler of each call, for `shared.rpc.serve_calls`."""
    sessions, groups = Answers(snapshots.read_sessions), Answers(snapshots.read_groups)

    async def read_sessions(call: ReadSessions) -> Told:
        async with outages_told():
            return await sessions.answer(call.user_ids[:MAX_SESSIONS_READ])

    async def read_groups(call: ReadGroups) -> Told:
        async with outages_told():
            return await groups.answer(call.group_ids[:MAX_GROUPS_READ])

    async def read_access(call: ReadAccess) -> Access:
        async with outages_told():
            return await views.read_access(call.channel_id, call.user_id)

    async def read_webhook(call: ReadWebhook) -> WebhookView:
        async with outages_told():
            return await views.read_webhook(call.webhook_id)

    async def read_mentionable(call: ReadMentionable) -> Mentionable:
        async with outages_told():
            return await views.read_mentionable(
                call.group_id, call.user_ids[:MAX_MENTIONS], call.role_ids[:MAX_MENTIONS]
            )

    async def read_members(call: ReadMembers) -> MemberPage:
        async with outages_told():
            if call.user_ids or call.prefix:
                ids = call.user_ids[:MAX_MEMBERS_FOUND]
                limit = min(max(call.limit, 1), MAX_MEMBERS_FOUND)
                return MemberPage(tuple(await views.find_members(call.group_id, ids, call.prefix, limit)))
            limit = min(max(call.limit, 1), MAX_MEMBERS_READ)
            return page_of(await views.page_members(call.group_id, call.after, limit), limit)

    async def read_revocations(call: ReadRevocations) -> Revocations:
        async with outages_told():
            return await views.read_revocations(call.user_id)

    async def read_changes(call: ReadChanges) -> EventPage:
        async with outages_told():
            return await views.read_changes(call.stream, call.after_seq, call.limit)

    return {
        ReadSessions: read_sessions,
        ReadGroups: read_groups,
        ReadAccess: read_access,
        ReadWebhook: read_webhook,
        ReadMentionable: read_mentionable,
        ReadMembers: read_members,
        ReadRevocations: read_revocations,
        ReadChanges: read_changes,
    }
