"""REST routes of the groups service: channels of a guild.

Ring 4 (shell). Who is not in a group is told that there is none; of a channel, that access is missing, as Discord says.
Who may do what is decided in `services.groups.core.channels`.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Response

from services.groups.bodies import ChannelBody
from services.groups.core.channels import MAX_CHANNELS
from services.groups.guild_bodies import ChangedChannel, ChannelPosition, NewChannel, NewOverwrite
from services.groups.service import OUTAGES, Acting, Service
from shared.core.model import ChannelType
from shared.core.wire.channels import channel_of, channels_of
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
    """Change a channel of a guild."""
    (view,) = await groups.views.with_heads((await groups.channels.change(actor, channel_id, body.fields()),))
    return JsonResponse(channel_of(view.channel, view.last_seq, view.last_message_id))


@router.delete("/channels/{channel_id}", response_model=ChannelBody)
async def delete_channel(groups: Service, actor: Acting, channel_id: Snowflake) -> Response:
    """Delete a channel of a guild; return it as it was."""
    (view,) = await groups.views.with_heads((await groups.channels.delete(actor, channel_id),))
    return JsonResponse(channel_of(view.channel, view.last_seq, view.last_message_id))


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
