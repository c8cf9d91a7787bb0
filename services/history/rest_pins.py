"""REST routes of the history service: pins. Two shapes of the same, as client libraries use either.

Ring 4 (shell). Each change is a command through the channel's shard, behind which the channel is told of a pin by a
message of its own. A list costs a query for the pins and one for the messages, however long the channel is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Query, Response

from services.history.bodies import MessageBody, PinsBody
from services.history.core.marks import Pin
from services.history.core.pinning import MAX_PINS
from services.history.rest_changes import common_of, settle
from services.history.service import History, Service, Visible, new_command_id, require_access
from shared.core.calls import Access
from shared.core.commands import COMMAND_LIFETIME_MS, PinMessage, UnpinMessage
from shared.core.errors import StarlingError
from shared.core.group_errors import UnknownChannel
from shared.core.ids import MAX_ID
from shared.core.model import Channel
from shared.core.sending import pin_notice_of, place_of_access
from shared.core.wire.values import Json, iso_of
from shared.door import Caller
from shared.http import ErrorBody
from shared.http_errors import JsonResponse
from shared.reasons import Reason
from shared.snowflakes import Snowflake

_ALL_AT_ONCE: Final = 50

log = structlog.get_logger()

router = APIRouter(
    prefix="/api/v10/channels/{channel_id}",
    tags=["history"],
    responses={"5XX": {"model": ErrorBody, "description": "Try again: a part that is needed did not answer"}},
)


@router.get("/messages/pins", response_model=PinsBody)
async def list_pins(
    history: Service,
    seen: Visible,
    caller: Caller,
    before: datetime | None = None,
    limit: Annotated[int, Query(ge=1, le=_ALL_AT_ONCE)] = _ALL_AT_ONCE,
) -> Response:
    """List pinned messages, the newest pin first, with the time of each; `before` such a time.

    There are none for who may see the channel, but not read what was written before.
    """
    if not seen.may_read:
        return JsonResponse({"items": [], "has_more": False})
    channel = seen.channel
    pins = await history.marks.list_pins(channel.id, MAX_ID if before is None else _ms_of(before), limit + 1)
    found = await _messages(history, channel, caller, pins[:limit])
    items = [{"pinned_at": iso_of(pin.at), "message": message} for pin, message in found]
    return JsonResponse({"items": items, "has_more": len(pins) > limit})


@router.get("/pins", response_model=list[MessageBody])
async def list_pinned_messages(history: Service, seen: Visible, caller: Caller) -> Response:
    """List pinned messages, the newest pin first: the older shape."""
    if not seen.may_read:
        return JsonResponse([])
    pins = await history.marks.list_pins(seen.channel.id, MAX_ID, MAX_PINS)
    return JsonResponse([message for _, message in await _messages(history, seen.channel, caller, pins)])


async def _messages(history: History, channel: Channel, caller: int, pins: Sequence[Pin]) -> list[tuple[Pin, Json]]:
    """Return the messages of these pins; one that was deleted a moment ago is left out."""
    records = {record.id: record for record in await history.telling.pinned(channel.id, pins)}
    there = [pin for pin in pins if pin.message_id in records]
    told = await history.telling.messages(channel, [records[pin.message_id] for pin in there], caller)
    return list(zip(there, told, strict=True))


def _ms_of(moment: datetime) -> int:
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


@router.put("/messages/pins/{message_id}", status_code=204)
async def pin_message(
    history: Service, channel_id: Snowflake, message_id: Snowflake, caller: Caller, reason: Reason
) -> Response:
    """Pin a message; needs PIN_MESSAGES or MANAGE_MESSAGES, a repeat changes nothing."""
    return await _pin(history, caller, channel_id, message_id, reason)


@router.put("/pins/{message_id}", status_code=204)
async def pin_message_by_older_path(
    history: Service, channel_id: Snowflake, message_id: Snowflake, caller: Caller, reason: Reason
) -> Response:
    """Pin a message: the older path."""
    return await _pin(history, caller, channel_id, message_id, reason)


@router.delete("/messages/pins/{message_id}", status_code=204)
async def unpin_message(
    history: Service, channel_id: Snowflake, message_id: Snowflake, caller: Caller, reason: Reason
) -> Response:
    """Unpin a message; needs PIN_MESSAGES or MANAGE_MESSAGES, a repeat changes nothing."""
    return await _unpin(history, caller, channel_id, message_id, reason)


@router.delete("/pins/{message_id}", status_code=204)
async def unpin_message_by_older_path(
    history: Service, channel_id: Snowflake, message_id: Snowflake, caller: Caller, reason: Reason
) -> Response:
    """Unpin a message: the older path."""
    return await _unpin(history, caller, channel_id, message_id, reason)


async def _pin(history: History, caller: int, channel_id: int, message_id: int, reason: str) -> Response:
    history.spend(caller)
    access = await require_access(history, channel_id, caller)
    command = PinMessage(**common_of(history, access, channel_id, caller, reason), message_id=message_id)
    reply = await settle(history, command)
    if reply.seq:
        await _tell(history, access, channel_id, message_id)
    return Response(status_code=204)


async def _tell(history: History, access: Access, channel_id: int, message_id: int) -> None:
    """Tell the channel of a pin. The pin stands whether that is possible or not."""
    place = place_of_access(access)
    if place is None or access.user is None:
        raise UnknownChannel
    notice = pin_notice_of(
        channel_id,
        message_id,
        access.user,
        place,
        command_id=new_command_id(),
        reply_to=history.commands.reply_to,
        expires_at=history.now() + COMMAND_LIFETIME_MS,
    )
    try:
        await settle(history, notice)
    except StarlingError as error:
        log.warning("pin_not_told", channel_id=channel_id, reason=type(error).__name__)


async def _unpin(history: History, caller: int, channel_id: int, message_id: int, reason: str) -> Response:
    history.spend(caller)
    access = await require_access(history, channel_id, caller)
    await settle(history, UnpinMessage(**common_of(history, access, channel_id, caller, reason), message_id=message_id))
    return Response(status_code=204)
