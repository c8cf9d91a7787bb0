"""REST routes of the groups service: groups and direct channels.

Ring 4 (shell). The others: `rest_users`, `rest_roles`, `rest_channels`, `rest_members`. Permission is checked at each
door: who is not in a group is told that there is none. The collaborators are `app.state.groups`; the shapes are
`shared.core.wire`'s.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from services.groups.bodies import (
    ChannelBody,
    GuildBody,
    GuildSummaryBody,
    JoinedGuild,
    NewDirect,
    NewGuild,
)
from services.groups.guild_bodies import ChangedGuild
from services.groups.service import OUTAGES, Acting, Groups, Service
from shared.core.errors import InvalidForm
from shared.core.model import Group
from shared.core.permissions import everyone_of
from shared.core.wire.channels import channel_of, channels_of, direct_of
from shared.core.wire.groups import guild_of, guild_summary_of
from shared.door import Caller
from shared.http_errors import JsonResponse
from shared.snowflakes import Cursor, Snowflake

router = APIRouter(prefix="/api/v10", tags=["groups"], responses=OUTAGES)


@router.get("/users/@me/channels", response_model=list[ChannelBody])
async def list_directs(groups: Service, caller: Caller) -> Response:
    """List the caller's direct channels, newest first, at most 100."""
    return JsonResponse([direct_of(view, caller) for view in await groups.views.list_directs(caller)])


@router.post("/users/@me/channels", response_model=ChannelBody)
async def open_direct(groups: Service, caller: Caller, body: NewDirect) -> Response:
    """Open the direct channel with another user, always the same one for the same two; or a new one of several."""
    wanted = body.recipients if body.recipient_id is None else [body.recipient_id]
    if wanted is None:
        raise InvalidForm({"recipient_id": [("BASE_TYPE_REQUIRED", "This field is required")]})
    if not wanted:
        raise InvalidForm({"recipients": [("BASE_TYPE_BAD_LENGTH", "Must be 1 or more in length.")]})
    await groups.emails.require_verified(caller)
    if len(wanted) == 1:
        channel = await groups.directs.open(caller, wanted[0])
    else:
        channel = await groups.group_directs.create(caller, wanted)
    (view,) = await groups.views.with_heads((channel,))
    return JsonResponse(channel_of(view.channel, view.last_seq, view.last_message_id, viewer=caller))


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
    return JsonResponse([guild_summary_of(group, caller, permissions) for group, permissions in found])


@router.delete("/users/@me/guilds/{guild_id}", status_code=204)
async def leave_guild(groups: Service, caller: Caller, guild_id: Snowflake) -> Response:
    """Leave a guild. When this is answered, nothing said there later reaches the caller."""
    await groups.memberships.leave(caller, guild_id)
    return Response(status_code=204)


@router.post("/guilds", status_code=201, response_model=GuildBody)
async def create_guild(groups: Service, caller: Caller, body: NewGuild) -> Response:
    """Create a guild with one channel."""
    await groups.emails.require_verified(caller)
    group, channel = await groups.memberships.create_group(caller, body.name, public=body.public)
    channels = channels_of(await groups.views.with_heads((channel,)))
    return JsonResponse(guild_of(group, (everyone_of(group.id),)) | {"channels": channels}, 201)


@router.post("/guilds/join", response_model=GuildBody)
async def join_guild(groups: Service, caller: Caller, body: JoinedGuild) -> Response:
    """Join a public guild by its name; a member stays one."""
    await groups.emails.require_verified(caller)
    group = await groups.memberships.join(caller, body.name)
    return JsonResponse(await _guild_of(groups, group, caller))


@router.get("/guilds/{guild_id}", response_model=GuildBody)
async def get_guild(groups: Service, caller: Caller, guild_id: Snowflake) -> Response:
    """Return a guild to its member."""
    group = await groups.views.require_group(guild_id, caller)
    return JsonResponse(await _guild_of(groups, group, caller))


@router.patch("/guilds/{guild_id}", response_model=GuildBody)
async def change_guild(groups: Service, actor: Acting, guild_id: Snowflake, body: ChangedGuild) -> Response:
    """Change a guild; needs MANAGE_GUILD. Only its owner hands it over to another member."""
    group = await groups.keeping.change(actor, guild_id, body.patch())
    return JsonResponse(await _guild_of(groups, group, actor.user_id))


@router.delete("/guilds/{guild_id}", status_code=204)
async def delete_guild(groups: Service, actor: Acting, guild_id: Snowflake) -> Response:
    """Delete a guild of one's own. When this is answered, nobody reads, writes or hears anything there."""
    await groups.keeping.delete(actor, guild_id)
    return Response(status_code=204)


@router.post("/guilds/{guild_id}/delete", status_code=204)
async def delete_guild_by_older_path(groups: Service, actor: Acting, guild_id: Snowflake) -> Response:
    """Delete a guild of one's own: the older path."""
    await groups.keeping.delete(actor, guild_id)
    return Response(status_code=204)


async def _guild_of(groups: Groups, group: Group, caller: int) -> dict[str, Any]:
    """Return a guild as its member sees it."""
    roles = await groups.views.list_roles(group.id)
    channels = await groups.views.list_channels(group.id, caller)
    return guild_of(group, roles) | {"channels": channels_of(channels)}
