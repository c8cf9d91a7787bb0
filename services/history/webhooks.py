"""Webhooks as history meets them: who has the token may write, in the webhook's name, into its channel.

Ring 4 (shell). The token is judged by itself, then the budget, and only then is anything asked of groups. From there
on the webhook is an author like a user: its commands go through the shard, which asks groups again what was permitted
under older facts: what was on its way when a webhook was deleted is refused as soon as the shard has heard of that.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

import msgspec
from fastapi import Depends, Query

from services.history.rest_changes import settle
from services.history.service import History, Service, ask_called, new_command_id
from shared.core.calls import Access, ReadWebhook, WebhookView
from shared.core.commands import AnyCommand, Reply
from shared.core.drafts import Given, draft_of
from shared.core.embeds import require_address
from shared.core.errors import InvalidForm, StarlingError
from shared.core.group_errors import UnknownChannel, UnknownWebhook
from shared.core.message_errors import UnknownMessage
from shared.core.message_events import MessageCreated
from shared.core.model import Channel, Webhook
from shared.core.sending import Place, command_of, place_of_access
from shared.core.stream import Record
from shared.core.webhooks import author_of, require_webhook_name
from shared.http_bodies import WebhookToken
from shared.snowflakes import Snowflake

_NO_THREADS: Final = [("THREADS_UNSUPPORTED", "There are no threads here.")]


class Opened(NamedTuple):
    """A webhook whose token was shown, and where it writes."""

    webhook: Webhook
    channel: Channel
    access: Access
    place: Place


async def _require_token(
    history: Service,
    webhook_id: Snowflake,
    token: WebhookToken,
    thread_id: Annotated[str | None, Query(description="refused: there are no threads here")] = None,
) -> int:
    history.tokens.require_webhook(webhook_id, token)
    if thread_id is not None:
        raise InvalidForm({"thread_id": _NO_THREADS})
    return webhook_id


async def _open(history: Service, webhook_id: Annotated[int, Depends(_require_token)]) -> Opened:
    view: WebhookView = await history.rpc.call(ReadWebhook(webhook_id))
    place = place_of_access(view.access) if view.access is not None else None
    if view.webhook is None or view.access is None or view.access.channel is None or place is None:
        raise UnknownWebhook
    return Opened(view.webhook, view.access.channel, view.access, place)


async def _spend(history: Service, webhook_id: Annotated[int, Depends(_require_token)]) -> int:
    history.spend_of_webhook(webhook_id)
    return webhook_id


async def _open_to_write(history: Service, webhook_id: Annotated[int, Depends(_spend)]) -> Opened:
    return await _open(history, webhook_id)


Readable = Annotated[Opened, Depends(_open)]
"""The webhook of the path, whose token is there, too."""
Writable = Annotated[Opened, Depends(_open_to_write)]
"""The same, once its budget has room for one more write."""


class Told(NamedTuple):
    """A message for a webhook to write. `username`, `avatar_url`: "" for the webhook's own."""

    given: Given
    username: str = ""
    avatar_url: str = ""
    enforce_nonce: bool = False
    thread_name: str | None = None


async def write(history: History, opened: Opened, told: Told) -> int:
    """Store a webhook's message; return its id. Raises what is wrong with it, and `UnknownWebhook`."""
    if told.thread_name is not None:
        raise InvalidForm({"thread_name": _NO_THREADS})
    username = require_webhook_name(told.username, "username") if told.username.strip() else ""
    avatar_url = require_address(told.avatar_url, "avatar_url") if told.avatar_url else ""
    draft = draft_of(told.given, history.content_characters)
    if isinstance(draft, StarlingError):
        raise draft
    command = command_of(
        draft,
        author_of(opened.webhook, username),
        opened.place,
        await ask_called(history, draft, opened.place),
        command_id=new_command_id(),
        reply_to=history.commands.reply_to,
        now_ms=history.now(),
        enforce_nonce=told.enforce_nonce,
    )
    reply = await carry_out(history, msgspec.structs.replace(command, by_webhook=True, avatar_url=avatar_url))
    return reply.id


async def carry_out(history: History, command: AnyCommand) -> Reply:
    """Send a webhook's command through the log; return when it is done. Raises its refusal, `UnknownWebhook`."""
    try:
        return await settle(history, command)
    except UnknownChannel as error:
        raise UnknownWebhook from error  # it was there when it was permitted


async def require_own(history: History, opened: Opened, message_id: int) -> Record:
    """Return a message that this webhook wrote into its channel. Raises `UnknownMessage` for all others."""
    record = await history.pages.find(opened.channel.id, message_id)
    if record is None or not isinstance(record.body, MessageCreated) or record.body.author.id != opened.webhook.id:
        raise UnknownMessage
    return record
