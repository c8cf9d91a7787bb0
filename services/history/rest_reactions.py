"""REST routes of the history service: reactions.

Ring 4 (shell). Each change is a command through the channel's shard, which knows the counts and who reacted. Emoji come
percent-encoded in the path; `core.reacting` has the rules.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Response

from services.history.core.reacting import reaction_of
from services.history.rest_changes import common_of, settle
from services.history.service import History, Readable, Service, require_access
from shared.core.commands import AddReaction, ClearReactions, RemoveReaction
from shared.core.emoji import emoji_of
from shared.core.group_errors import UnknownChannel
from shared.core.message_errors import UnknownEmoji, UnknownMessage
from shared.core.message_events import MessageCreated
from shared.core.wire.users import user_of
from shared.door import Caller
from shared.http import ErrorBody
from shared.http_bodies import UserBody
from shared.http_errors import JsonResponse
from shared.snowflakes import Cursor, Snowflake

MAX_USERS: Final = 100
_FEWER_USERS: Final = 25


def _require_emoji(emoji: Annotated[str, Path(description="an emoji, percent-encoded")]) -> str:
    """Return the emoji of the path as it is kept. Raises `UnknownEmoji`, also for a group's own (`name:id`)."""
    found = emoji_of(emoji)
    if found is None:
        raise UnknownEmoji
    return found


Emoji = Annotated[str, Depends(_require_emoji)]

router = APIRouter(
    prefix="/api/v10/channels/{channel_id}/messages/{message_id}/reactions",
    tags=["history"],
    responses={"5XX": {"model": ErrorBody, "description": "Try again: a part that is needed did not answer"}},
)


@router.get("/{emoji}", response_model=list[UserBody])
async def list_reactions(
    history: Service,
    channel: Readable,
    message_id: Snowflake,
    emoji: Emoji,
    after: Cursor = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_USERS)] = _FEWER_USERS,
) -> Response:
    """List who reacted with an emoji, by user id, as they looked then."""
    record = await history.pages.find(channel.id, message_id)
    if record is None or not isinstance(record.body, MessageCreated):
        raise UnknownMessage
    reaction = reaction_of(record.body, emoji)
    users = []
    if reaction is not None:
        users = await history.marks.list_reactors(message_id, emoji, reaction.epoch, after, limit)
    return JsonResponse([user_of(user) for user in users])


@router.put("/{emoji}/@me", status_code=204)
async def add_reaction(
    history: Service, channel_id: Snowflake, message_id: Snowflake, emoji: Emoji, caller: Caller
) -> Response:
    """React with an emoji; the first with it needs ADD_REACTIONS, a repeat changes nothing."""
    history.spend(caller)
    access = await require_access(history, channel_id, caller)
    if access.user is None:
        raise UnknownChannel
    common = common_of(history, access, channel_id, caller)
    command = AddReaction(**common, message_id=message_id, emoji=emoji, user=access.user, member=access.member)
    await settle(history, command)
    return Response(status_code=204)


@router.delete("/{emoji}/@me", status_code=204)
async def remove_own_reaction(
    history: Service, channel_id: Snowflake, message_id: Snowflake, emoji: Emoji, caller: Caller
) -> Response:
    """Take back one's own reaction."""
    return await _remove(history, caller, channel_id, message_id, emoji, caller)


@router.delete("/{emoji}/{user_id}", status_code=204)
async def remove_reaction(
    history: Service, channel_id: Snowflake, message_id: Snowflake, emoji: Emoji, user_id: Snowflake, caller: Caller
) -> Response:
    """Remove a user's reaction; that of another needs MANAGE_MESSAGES."""
    return await _remove(history, caller, channel_id, message_id, emoji, user_id)


async def _remove(
    history: History, caller: int, channel_id: int, message_id: int, emoji: str, user_id: int
) -> Response:
    history.spend(caller)
    common = common_of(history, await require_access(history, channel_id, caller), channel_id, caller)
    await settle(history, RemoveReaction(**common, message_id=message_id, emoji=emoji, of=user_id))
    return Response(status_code=204)


@router.delete("/{emoji}", status_code=204)
async def clear_reactions(
    history: Service, channel_id: Snowflake, message_id: Snowflake, emoji: Emoji, caller: Caller
) -> Response:
    """Remove all reactions with an emoji; needs MANAGE_MESSAGES."""
    return await _clear(history, caller, channel_id, message_id, emoji)


@router.delete("", status_code=204)
async def clear_all_reactions(
    history: Service, channel_id: Snowflake, message_id: Snowflake, caller: Caller
) -> Response:
    """Remove all reactions of a message; needs MANAGE_MESSAGES."""
    return await _clear(history, caller, channel_id, message_id, "")


async def _clear(history: History, caller: int, channel_id: int, message_id: int, emoji: str) -> Response:
    history.spend(caller)
    common: dict[str, Any] = common_of(history, await require_access(history, channel_id, caller), channel_id, caller)
    await settle(history, ClearReactions(**common, message_id=message_id, emoji=emoji))
    return Response(status_code=204)
