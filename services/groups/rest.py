"""REST routes of the groups service: groups, channels, direct channels, members. Accounts and users: `rest_users`.

Ring 4 (shell). Permission is checked at each door: who is not in a group is told that there is none; of a channel, that
access is missing, as Discord says. The collaborators are `app.state.groups`; the shapes are `shared.core.wire`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from services.groups.bodies import (
    ChannelBody,
    GuildBody,
    GuildSummaryBody,
    JoinedGuild,
    MemberBody,
    NewChannel,
    NewDirect,
    NewGuild,
)
from services.groups.service import Service
from shared.core import wire
from shared.core.calls import ChannelView
from shared.core.errors import InvalidForm
from shared.core.model import Group
from shared.door import Caller
from shared.http import ErrorBody
from shared.http_errors import JsonResponse
from shared.snowflakes import Cursor, Snowflake

router = APIRouter(
    prefix="/api/v10",
    tags=["groups"],
    responses={"5XX": {"model": ErrorBody, "description": "Try again: a part that is needed did not answer"}},
)


@router.get("/users/@me/channels", response_model=list[ChannelBody])
async def list_directs(groups: Service, caller: Caller) -> Response:
    """List the caller's direct channels, newest first, at most 100."""
    return JsonResponse([wire.direct_of(view, caller) for view in await groups.views.list_directs(caller)])


@router.post("/users/@me/channels", response_model=ChannelBody)
async def open_direct(groups: Service, caller: Caller, body: NewDirect) -> Response:
    """Open the direct channel with another user: always the same one for the same two."""
    wanted = body.recipients if body.recipient_id is None else [body.recipient_id]
    if wanted is None:
        raise InvalidForm({"recipient_id": [("BASE_TYPE_REQUIRED", "This field is required")]})
    if len(wanted) != 1:
        raise InvalidForm({"recipients": [("BASE_TYPE_BAD_LENGTH", "Must be 1 in length.")]})
    channel = await groups.directs.open(caller, wanted[0])
    (view,) = await groups.views.with_heads((channel,))
    return JsonResponse(wire.channel_of(view.channel, view.last_seq, view.last_message_id, viewer=caller))


@router.get("/users/@me/guilds", response_model=list[GuildSummaryBody])
async def list_own_guilds(
    groups: Service,
    caller: Caller,
    before: Cursor | None = None,
    after: Cursor | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 200,
) -> Response:
    """List the guilds that the caller is in, by id."""
    found = await groups.views.list_groups(caller, before, after, limit)
    return JsonResponse([wire.guild_summary_of(group, caller) for group in found])


@router.delete("/users/@me/guilds/{guild_id}", status_code=204)
async def leave_guild(groups: Service, caller: Caller, guild_id: Snowflake) -> Response:
    """Leave a guild. When this is answered, nothing said there later reaches the caller."""
    await groups.memberships.leave(caller, guild_id)
    return Response(status_code=204)


@router.post("/guilds", status_code=201, response_model=GuildBody)
async def create_guild(groups: Service, caller: Caller, body: NewGuild) -> Response:
    """Create a guild with one channel."""
    group, channel = await groups.memberships.create_group(caller, body.name, public=body.public)
    return JsonResponse(_guild_of(group, await groups.views.with_heads((channel,))), 201)


@router.post("/guilds/join", response_model=GuildBody)
async def join_guild(groups: Service, caller: Caller, body: JoinedGuild) -> Response:
    """Join a public guild by its name; a member stays one."""
    group = await groups.memberships.join(caller, body.name)
    return JsonResponse(_guild_of(group, await groups.views.list_channels(group.id)))


@router.get("/guilds/{guild_id}", response_model=GuildBody)
async def get_guild(groups: Service, caller: Caller, guild_id: Snowflake) -> Response:
    """Return a guild to its member."""
    group = await groups.views.require_group(guild_id, caller)
    return JsonResponse(_guild_of(group, await groups.views.list_channels(guild_id)))


@router.get("/guilds/{guild_id}/channels", response_model=list[ChannelBody])
async def list_guild_channels(groups: Service, caller: Caller, guild_id: Snowflake) -> Response:
    """List a guild's channels by position."""
    await groups.views.require_group(guild_id, caller)
    return JsonResponse(_channels_of(await groups.views.list_channels(guild_id)))


@router.post("/guilds/{guild_id}/channels", status_code=201, response_model=ChannelBody)
async def create_guild_channel(groups: Service, caller: Caller, guild_id: Snowflake, body: NewChannel) -> Response:
    """Add a text channel to the caller's own guild."""
    return JsonResponse(wire.channel_of(await groups.memberships.create_channel(caller, guild_id, body.name)), 201)


@router.get("/guilds/{guild_id}/members", response_model=list[MemberBody])
async def list_members(
    groups: Service,
    caller: Caller,
    guild_id: Snowflake,
    after: Cursor = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """List a guild's members by user id, page by page."""
    await groups.views.require_group(guild_id, caller)
    members = await groups.views.list_members(guild_id, after, limit)
    return JsonResponse([wire.member_of(member) for member in members])


@router.get("/guilds/{guild_id}/members/{user_id}", response_model=MemberBody)
async def get_member(groups: Service, caller: Caller, guild_id: Snowflake, user_id: Snowflake) -> Response:
    """Return one member of a guild."""
    await groups.views.require_group(guild_id, caller)
    return JsonResponse(wire.member_of(await groups.views.require_member(guild_id, user_id)))


@router.get("/channels/{channel_id}", response_model=ChannelBody)
async def get_channel(groups: Service, caller: Caller, channel_id: Snowflake) -> Response:
    """Return a channel that the caller may see."""
    view = await groups.views.read_channel(channel_id, caller)
    return JsonResponse(wire.channel_of(view.channel, view.last_seq, view.last_message_id, viewer=caller))


def _channels_of(views: Iterable[ChannelView]) -> list[dict[str, Any]]:
    return [wire.channel_of(view.channel, view.last_seq, view.last_message_id) for view in views]


def _guild_of(group: Group, channels: Iterable[ChannelView]) -> dict[str, Any]:
    return wire.guild_of(group) | {"channels": _channels_of(channels)}
