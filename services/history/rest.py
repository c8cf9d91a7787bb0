"""REST routes of the history service: messages and events of a channel.

Ring 4 (shell). Each door asks groups what the caller may do there. A message goes through the log, like one sent
over the gateway; the answer comes when it is stored by majority. Shapes: `shared.core.wire`.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from services.history.bodies import EventsBody, MessageBody, NewMessage
from services.history.pages import MAX_LIMIT
from services.history.payloads import FORM_SCHEMA, PayloadRoute
from services.history.service import (
    History,
    Limit,
    Readable,
    Service,
    Visible,
    ask_called,
    new_command_id,
    require_access,
)
from shared.core.commands import Reply
from shared.core.drafts import Given, draft_of
from shared.core.error_catalogue import error_of
from shared.core.errors import InvalidForm, StarlingError
from shared.core.group_errors import UnknownChannel
from shared.core.ids import MAX_ID
from shared.core.message_errors import UnknownMessage
from shared.core.model import Channel
from shared.core.sending import command_of, place_of_access, refusal_of_draft
from shared.core.wire.dispatches import dispatch_of
from shared.core.wire.values import Json
from shared.door import Caller
from shared.http import ErrorBody
from shared.http_errors import JsonResponse
from shared.snowflakes import Cursor, Snowflake

router = APIRouter(
    prefix="/api/v10/channels/{channel_id}",
    tags=["history"],
    route_class=PayloadRoute,
    responses={"5XX": {"model": ErrorBody, "description": "Try again: a part that is needed did not answer"}},
)


@router.get("/messages", response_model=list[MessageBody])
async def list_messages(
    history: Service,
    seen: Visible,
    caller: Caller,
    before: Cursor | None = None,
    after: Cursor | None = None,
    around: Cursor | None = None,
    limit: Limit = 50,
) -> Response:
    """Return a page of messages, newest first: the latest, or those next to one of the three cursors.

    It is empty for who may see the channel, but not read what was written before.
    """
    if sum(cursor is not None for cursor in (before, after, around)) > 1:
        text = "Only one of before, after and around can be given."
        raise InvalidForm({name: [("BASE_TYPE_CHOICES", text)] for name in ("before", "after", "around")})
    if not seen.may_read:
        return JsonResponse([])
    channel = seen.channel
    if around is not None:
        page = await history.pages.around(channel.id, around, limit)
    elif after is not None:
        page = await history.pages.after(channel.id, after, limit)
    else:
        page = await history.pages.before(channel.id, MAX_ID if before is None else before, limit)
    return JsonResponse(await history.telling.messages(channel, page, caller))


@router.get("/messages/{message_id}", response_model=MessageBody)
async def get_message(history: Service, channel: Readable, message_id: Snowflake, caller: Caller) -> Response:
    """Return one message."""
    record = await history.pages.find(channel.id, message_id)
    if record is None:
        raise UnknownMessage
    return JsonResponse(await history.telling.message(channel, record, caller))


@router.post("/messages", response_model=MessageBody, openapi_extra=FORM_SCHEMA)
async def create_message(history: Service, channel_id: Snowflake, caller: Caller, body: NewMessage) -> Response:
    """Send a message; answers when it is stored. With `enforce_nonce` a repeat answers the first message."""
    history.spend(caller)
    draft = draft_of(_given_in(channel_id, body), history.content_characters)
    if isinstance(draft, StarlingError):
        raise draft
    access = await require_access(history, channel_id, caller)
    place = place_of_access(access)
    if place is None or access.user is None or access.channel is None:
        raise UnknownChannel
    if (refusal := refusal_of_draft(draft, place)) and not (draft.nonce and body.enforce_nonce):
        raise error_of(refusal, "")
    command = command_of(
        draft,
        access.user,
        place,
        await ask_called(history, draft, place),
        command_id=new_command_id(),
        reply_to=history.commands.reply_to,
        now_ms=history.now(),
        enforce_nonce=body.enforce_nonce,
    )
    reply = await history.commands.send(command, timeout_s=history.send_timeout_s)
    return JsonResponse(await _stored(history, access.channel, reply, caller))


def _given_in(channel_id: int, body: NewMessage) -> Given:
    reference = body.message_reference
    return Given(
        channel_id=channel_id,
        content=body.content,
        nonce=body.nonce,
        message_reference=reference.model_dump() if reference is not None else None,
        allowed_mentions=body.allowed_mentions,
        embeds=body.embeds,
        flags=body.flags,
    )


async def _stored(history: History, channel: Channel, reply: Reply, caller: int) -> Json:
    reply.raise_error()
    record = await history.pages.find(channel.id, reply.id)
    if record is None:
        raise UnknownMessage
    return await history.telling.message(channel, record, caller)


@router.get("/events", response_model=EventsBody)
async def list_events(
    history: Service,
    channel: Readable,
    caller: Caller,
    after_seq: Annotated[int, Query(ge=0, le=MAX_ID)] = 0,
    limit: Limit = MAX_LIMIT,
) -> Response:
    """Return everything that happened in the channel after a seq, in order; the same as was dispatched."""
    page = await history.telling.events(channel.id, await history.pages.events(channel.id, after_seq, limit))
    events = []
    for event in page.events:
        t, d = dispatch_of(event, viewer=caller, channel_type=channel.type)
        events.append({"seq": event.record.seq, "t": t, "d": d})
    return JsonResponse({"events": events, "has_more": page.has_more})
