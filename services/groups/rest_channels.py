"""REST routes of the groups service: channels of a guild, and what is done to group DMs.

Ring 4 (shell). Who is not in a group is told that there is none; of a channel, that access is missing, as Discord says.
Who may do what is decided in `services.groups.core.channels`; in a group DM by its shard.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Body, Response

from services.groups.bodies import ChannelBody
from services.groups.core.channels import MAX_CHANNELS
from services.groups.guild_bodies import ChangedChannel, ChannelPosition, NewChannel, NewOverwrite
from services.groups.service import OUTAGES, Acting, Groups, Service
from shared.core.model import Channel, ChannelType
from shared.core.wire.channels import channel_of, channels_of
from shared.core.wire.values import Json
from shared.door import Caller
from shared.http_errors import JsonResponse
from shared.snowflakes import Snowflake

router = APIRouter(prefix="/api/v10", tags=["groups"], responses=OUTAGES)


@router.get("/guilds/{guild_id}/channels", response_model=list[ChannelBody])
async def list_guild_channels(groups: Service, caller: Caller, guild_id: Snowflake) -> Response:
    """List the channels of a guild that the caller may see, by position."""
    await groups.views.require_group(guild_id, caller)
    return JsonResponse(channels_of(await groups.views.list_channels(guild_id, caller)))


@router.post("/guilds/{guild_id}/channels", status_code=201, response_model=ChannelBody)
async def create_guild_channel(groups: Service, actor: Acting, guild_id: Snowflake, body: NewChannel) -> Response:
    """Add a text channel or a category to a guild."""
    channel = await groups.channels.create(actor, guild_id, ChannelType(body.type), body.fields())
    return JsonResponse(channel_of(channel), 201)


@router.patch("/guilds/{guild_id}/channels", status_code=204)
async def move_channels(
    groups: Service,
    actor: Acting,
    guild_id: Snowflake,
    body: Annotated[list[ChannelPosition], Body(max_length=MAX_CHANNELS)],
) -> Response:
    """Place channels of a guild elsewhere; `lock_permissions` asks for the right to manage roles there, too."""
    locked = [one.id for one in body if one.lock_permissions]
    await groups.channels.move(actor, guild_id, [one.fields() for one in body], locked)
    return Response(status_code=204)


@router.get("/channels/{channel_id}", response_model=ChannelBody)
async def get_channel(groups: Service, caller: Caller, channel_id: Snowflake) -> Response:
    """Return a channel that the caller may see."""
    view = await groups.views.read_channel(channel_id, caller)
    return JsonResponse(channel_of(view.channel, view.last_seq, view.last_message_id, viewer=caller))


@router.patch("/channels/{channel_id}", response_model=ChannelBody)
async def change_channel(groups: Service, actor: Acting, channel_id: Snowflake, body: ChangedChannel) -> Response:
    """Change a channel of a guild, or the name of a group DM."""
    kind = await groups.views.type_of(channel_id)
    if kind is not None and kind.is_direct:
        name = body.name if "name" in body.model_fields_set else msgspec.UNSET
        changed = await groups.group_directs.rename(actor.user_id, channel_id, name)
    else:
        changed = await groups.channels.change(actor, channel_id, body.fields())
    return JsonResponse(await _told(groups, changed, actor.user_id))


@router.delete("/channels/{channel_id}", response_model=ChannelBody)
async def delete_channel(groups: Service, actor: Acting, channel_id: Snowflake) -> Response:
    """Delete a channel of a guild, leave a group DM, close a direct channel for oneself; return it as it was."""
    match await groups.views.type_of(channel_id):
        case ChannelType.DIRECT:
            deleted = await groups.directs.close(actor.user_id, channel_id)
        case ChannelType.GROUP_DIRECT:
            deleted = await groups.group_directs.remove(actor.user_id, channel_id, actor.user_id)
        case _:
            deleted = await groups.channels.delete(actor, channel_id)
    return JsonResponse(await _told(groups, deleted, actor.user_id))


async def _told(groups: Groups, channel: Channel, caller: int) -> Json:
    (view,) = await groups.views.with_heads((channel,))
    return channel_of(view.channel, view.last_seq, view.last_message_id, viewer=caller)


@router.put("/channels/{channel_id}/recipients/{user_id}", status_code=204)
async def add_recipient(groups: Service, caller: Caller, channel_id: Snowflake, user_id: Snowflake) -> Response:
    """Add somebody to a group DM, where neither blocks the other; a repeat changes nothing."""
    await groups.group_directs.add(caller, channel_id, user_id)
    return Response(status_code=204)


@router.delete("/channels/{channel_id}/recipients/{user_id}", status_code=204)
async def remove_recipient(groups: Service, caller: Caller, channel_id: Snowflake, user_id: Snowflake) -> Response:
    """Remove somebody from a group DM, as its owner, or leave it. Nothing said there later reaches that user."""
    await groups.group_directs.remove(caller, channel_id, user_id)
    return Response(status_code=204)


@router.put("/channels/{channel_id}/permissions/{target_id}", status_code=204)
async def put_overwrite(
    groups: Service, actor: Acting, channel_id: Snowflake, target_id: Snowflake, body: NewOverwrite
) -> Response:
    """Say what a role or member may do in a channel, whatever else it may."""
    await groups.channels.put_overwrite(actor, channel_id, body.of(target_id))
    return Response(status_code=204)


@router.delete("/channels/{channel_id}/permissions/{target_id}", status_code=204)
async def drop_overwrite(groups: Service, actor: Acting, channel_id: Snowflake, target_id: Snowflake) -> Response:
    """Say nothing more of a role or member in a channel."""
    await groups.channels.drop_overwrite(actor, channel_id, target_id)
    return Response(status_code=204)
