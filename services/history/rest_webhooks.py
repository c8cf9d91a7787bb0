"""REST routes of the history service: what is written by webhooks, in Discord's shape and in Slack's.

Ring 4 (shell). No user calls: the token in the path is all that counts (`services.history.webhooks`). Every answer
comes when the message is stored, with `wait` or without.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from services.history.bodies import MessageBody, MessageEdit
from services.history.core.slack import converted
from services.history.payloads import FORM_SCHEMA, SLACK_FORM_SCHEMA, PayloadRoute, SlackRoute
from services.history.rest_changes import common_of, edit_command, require_edit
from services.history.service import History, Service
from services.history.webhook_bodies import SlackMessage, WebhookMessage
from services.history.webhooks import Opened, Readable, Told, Writable, carry_out, require_own, write
from shared.core.commands import DeleteMessage
from shared.core.drafts import Given
from shared.core.errors import NotFound
from shared.core.wire.values import Json
from shared.http import ErrorBody
from shared.http_bodies import WebhookToken
from shared.http_errors import JsonResponse
from shared.snowflakes import Snowflake

_PREFIX = "/api/v10/webhooks/{webhook_id}/{token}"
_OUTAGES: dict[int | str, dict[str, Any]] = {
    "5XX": {"model": ErrorBody, "description": "Try again: a part that is needed did not answer"}
}

router = APIRouter(prefix=_PREFIX, tags=["history"], route_class=PayloadRoute, responses=_OUTAGES)
slack_router = APIRouter(prefix=_PREFIX, tags=["history"], route_class=SlackRoute, responses=_OUTAGES)


@router.post(
    "",
    response_model=MessageBody,
    responses={204: {"description": "stored; `wait` answers the message"}},
    openapi_extra=FORM_SCHEMA,
)
async def execute_webhook(history: Service, opened: Writable, body: WebhookMessage, wait: bool = False) -> Response:
    """Write a message by a webhook; answers when it is stored: 204, or with `wait` the message."""
    given = Given(
        channel_id=opened.channel.id,
        content=body.content,
        nonce=body.nonce,
        allowed_mentions=body.allowed_mentions,
        embeds=body.embeds,
        flags=body.flags,
    )
    told = Told(given, body.username or "", body.avatar_url or "", body.enforce_nonce, body.thread_name)
    message_id = await write(history, opened, told)
    if not wait:
        return Response(status_code=204)
    return JsonResponse(await _shown(history, opened, message_id))


@slack_router.post(
    "/slack",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"example": "ok"}}}},
    openapi_extra=SLACK_FORM_SCHEMA,
)
async def execute_slack_webhook(history: Service, opened: Writable, body: SlackMessage) -> Response:
    """Write a message that is in Slack's shape; answers `ok` when it is stored."""
    message = converted(body.model_dump())
    given = Given(channel_id=opened.channel.id, content=message.content, embeds=message.embeds)
    await write(history, opened, Told(given, message.username, message.avatar_url))
    return PlainTextResponse("ok")


@router.post("/github", status_code=404, response_model=ErrorBody)
async def execute_github_webhook(webhook_id: Snowflake, token: WebhookToken) -> Response:
    """Refuse what GitHub sends by itself: its shape is not understood here."""
    raise NotFound("GitHub's own events are not understood here: let a workflow post a message")


@router.get("/messages/{message_id}", response_model=MessageBody)
async def get_webhook_message(history: Service, opened: Readable, message_id: Snowflake) -> Response:
    """Return a message that the webhook wrote."""
    return JsonResponse(await _shown(history, opened, message_id))


@router.patch("/messages/{message_id}", response_model=MessageBody, openapi_extra=FORM_SCHEMA)
async def edit_webhook_message(
    history: Service, opened: Writable, message_id: Snowflake, body: MessageEdit
) -> Response:
    """Edit a message that the webhook wrote. Answers the whole message."""
    edit = require_edit(history, body)
    await require_own(history, opened, message_id)
    common = common_of(history, opened.access, opened.channel.id, opened.webhook.id)
    await carry_out(history, await edit_command(history, common, opened.place, message_id, edit))
    return JsonResponse(await _shown(history, opened, message_id))


@router.delete("/messages/{message_id}", status_code=204)
async def delete_webhook_message(history: Service, opened: Writable, message_id: Snowflake) -> Response:
    """Delete a message that the webhook wrote."""
    await require_own(history, opened, message_id)
    common = common_of(history, opened.access, opened.channel.id, opened.webhook.id)
    await carry_out(history, DeleteMessage(**common, message_id=message_id))
    return Response(status_code=204)


async def _shown(history: History, opened: Opened, message_id: int) -> Json:
    record = await require_own(history, opened, message_id)
    return await history.telling.message(opened.channel, record, opened.webhook.id)
