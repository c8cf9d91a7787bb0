"""REST routes of the history service: how far the caller has read, and how much is unread.

Ring 4 (shell). Unread is what stands above the marker, counted from the messages that there are: edits and deletions
can't make it wrong (rule 11 of docs/rules.md). Where there is no marker it begins with the caller's access.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Response

from services.history.bodies import AckBody, ReadStateBody
from services.history.service import Service, require_access
from shared.core.account_errors import NotForBots
from shared.core.calls import Access, Marker
from shared.core.commands import Acked
from shared.core.errors import MissingPermissions
from shared.core.group_errors import UnknownChannel
from shared.core.ids import first_id_at
from shared.core.message_errors import UnknownMessage
from shared.core.permissions import Permission
from shared.door import Caller
from shared.http import ErrorBody
from shared.http_errors import JsonResponse
from shared.snowflakes import Snowflake

MOST_UNREAD: Final = 100
"""As many unread messages are told exactly; of more, that there are more."""

router = APIRouter(
    prefix="/api/v10/channels/{channel_id}",
    tags=["history"],
    responses={"5XX": {"model": ErrorBody, "description": "Try again: a part that is needed did not answer"}},
)


@router.post("/messages/{message_id}/ack", response_model=AckBody)
async def ack_message(history: Service, channel_id: Snowflake, message_id: Snowflake, caller: Caller) -> Response:
    """Say that the caller has read up to a message. A marker only goes forward; other sessions get MESSAGE_ACK."""
    history.spend(caller)
    _require_person(await require_access(history, channel_id, caller))
    if message_id > await history.pages.last_id(channel_id):
        raise UnknownMessage
    if await history.markers.advance(caller, Marker(channel_id, message_id)):
        await history.tell_ack(Acked(caller, channel_id, message_id))
    return JsonResponse({"token": None})


@router.get("/read-state", response_model=ReadStateBody)
async def get_read_state(history: Service, channel_id: Snowflake, caller: Caller) -> Response:
    """Return up to which message the caller has read, and how many are above it, counted up to 100."""
    access = await require_access(history, channel_id, caller)
    _require_person(access)
    marker = await history.markers.read(caller, channel_id)
    since = marker.message_id if marker is not None else _begin_of(access)
    unread = len(await history.pages.after(channel_id, since, MOST_UNREAD + 1))
    state = {
        "id": str(channel_id),
        "last_message_id": str(marker.message_id) if marker is not None else None,
        "unread_count": min(unread, MOST_UNREAD),
        "has_more": unread > MOST_UNREAD,
    }
    return JsonResponse(state)


def _require_person(access: Access) -> None:
    if access.channel is None or access.user is None:
        raise UnknownChannel
    if access.user.bot:
        raise NotForBots
    if not access.permissions & Permission.READ_MESSAGE_HISTORY:
        raise MissingPermissions


def _begin_of(access: Access) -> int:
    """Return the id below those of messages that were written since the user is there."""
    return first_id_at(access.member.joined_at) - 1 if access.member is not None else 0
