"""REST routes of the history service: what is done to messages that there are.

Ring 4 (shell). Each is a command through the channel's shard, which knows the messages and decides; the answer comes
when the change is stored by majority and in its place. Shapes: `shared.core.wire`.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Response

from services.history.bodies import DeletedMessages, MessageBody, MessageEdit
from services.history.payloads import FORM_SCHEMA, PayloadRoute
from services.history.service import History, Service, ask_called, new_command_id, require_access
from shared.core.calls import Access
from shared.core.commands import COMMAND_LIFETIME_MS, AnyCommand, DeleteMessage, DeleteMessages, EditMessage, Reply
from shared.core.drafts import Edit, Given, edit_of
from shared.core.errors import InvalidForm, MissingPermissions, StarlingError
from shared.core.group_errors import CannotActInDirect, UnknownChannel
from shared.core.ids import first_id_at
from shared.core.message_errors import TooOldToDelete, UnknownMessage, WrongCountToDelete
from shared.core.permissions import Permission
from shared.core.sending import Place, place_of_access
from shared.door import Caller
from shared.http import ErrorBody
from shared.http_errors import JsonResponse
from shared.reasons import Reason
from shared.snowflakes import Snowflake

BULK: Final = (2, 100)
"""How many messages can be deleted at once."""
BULK_AGE_MS: Final = 14 * 24 * 3600 * 1000
"""Older messages are deleted one by one only."""

router = APIRouter(
    prefix="/api/v10/channels/{channel_id}/messages",
    tags=["history"],
    route_class=PayloadRoute,
    responses={"5XX": {"model": ErrorBody, "description": "Try again: a part that is needed did not answer"}},
)


def common_of(history: History, access: Access, channel_id: int, caller: int, reason: str = "") -> dict[str, Any]:
    """Return the fields that every command has which is about messages."""
    return {
        "command_id": new_command_id(),
        "channel_id": channel_id,
        "reply_to": history.commands.reply_to,
        "expires_at": history.now() + COMMAND_LIFETIME_MS,
        "user_id": caller,
        "permissions": access.permissions,
        "group_id": access.channel.group_id if access.channel is not None else 0,
        "group_seq": access.group_seq,
        "reason": reason,
    }


async def settle(history: History, command: AnyCommand) -> Reply:
    """Send a command through the log; return when what it asks for is stored and done. Raises its refusal."""
    reply = await history.commands.send(command, timeout_s=history.send_timeout_s)
    reply.raise_error()
    return reply


def require_edit(history: History, body: MessageEdit) -> Edit:
    """Return what a message is to become. Raises what is wrong with it."""
    given = Given(content=body.content, allowed_mentions=body.allowed_mentions, embeds=body.embeds, flags=body.flags)
    edit = edit_of(given, body.model_fields_set, history.content_characters)
    if isinstance(edit, StarlingError):
        raise edit
    return edit


async def edit_command(
    history: History, common: dict[str, Any], place: Place, message_id: int, edit: Edit
) -> EditMessage:
    """Return the command for an edit. `common`: see `common_of`."""
    calls = await ask_called(history, edit, place)
    return EditMessage(
        **common,
        message_id=message_id,
        content=edit.content,
        mentions=calls.users,
        mention_roles=calls.roles,
        mention_everyone=calls.everyone,
        embeds=edit.embeds,
        flags=edit.flags,
    )


@router.patch("/{message_id}", response_model=MessageBody, openapi_extra=FORM_SCHEMA)
async def edit_message(
    history: Service, channel_id: Snowflake, message_id: Snowflake, caller: Caller, body: MessageEdit
) -> Response:
    """Edit one's own message; with MANAGE_MESSAGES suppress the embeds of another's. Answers the whole message."""
    history.spend(caller)
    edit = require_edit(history, body)
    access = await require_access(history, channel_id, caller)
    place = place_of_access(access)
    if place is None or access.channel is None:
        raise UnknownChannel
    common = common_of(history, access, channel_id, caller)
    await settle(history, await edit_command(history, common, place, message_id, edit))
    record = await history.pages.find(channel_id, message_id)
    if record is None:
        raise UnknownMessage
    return JsonResponse(await history.telling.message(access.channel, record, caller))


@router.delete("/{message_id}", status_code=204)
async def delete_message(
    history: Service, channel_id: Snowflake, message_id: Snowflake, caller: Caller, reason: Reason
) -> Response:
    """Delete one's own message, or with MANAGE_MESSAGES another's."""
    history.spend(caller)
    access = await require_access(history, channel_id, caller)
    await settle(
        history, DeleteMessage(**common_of(history, access, channel_id, caller, reason), message_id=message_id)
    )
    return Response(status_code=204)


@router.post("/bulk-delete", status_code=204)
async def delete_messages(
    history: Service, channel_id: Snowflake, caller: Caller, body: DeletedMessages, reason: Reason
) -> Response:
    """Delete 2 to 100 messages at once, those of them that there are; needs MANAGE_MESSAGES in a group."""
    history.spend(caller)
    if not BULK[0] <= len(body.messages) <= BULK[1]:
        raise WrongCountToDelete
    if len(set(body.messages)) < len(body.messages):
        raise InvalidForm({"messages": [("SET_TYPE_ALREADY_CONTAINS_VALUE", "The set already contains this value.")]})
    access = await require_access(history, channel_id, caller)
    if access.channel is None or not access.channel.group_id:
        raise CannotActInDirect
    if not access.permissions & Permission.MANAGE_MESSAGES:
        raise MissingPermissions
    if min(body.messages) < first_id_at(history.now() - BULK_AGE_MS):
        raise TooOldToDelete
    common = common_of(history, access, channel_id, caller, reason)
    await settle(history, DeleteMessages(**common, message_ids=tuple(body.messages)))
    return Response(status_code=204)
