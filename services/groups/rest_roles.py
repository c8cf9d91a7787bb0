"""REST routes of the groups service: roles of a guild.

Ring 4 (shell). Who is not in a group is told that there is none; of a channel, that access is missing, as Discord says.
Who may do what is decided in `services.groups.core.roles`.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Response

from services.groups.bodies import RoleBody
from services.groups.core.roles import MAX_ROLES
from services.groups.guild_bodies import ChangedRole, RolePosition
from services.groups.service import OUTAGES, Acting, Service
from shared.core.group_errors import UnknownRole
from shared.core.wire.members import role_of
from shared.door import Caller
from shared.http_errors import JsonResponse
from shared.snowflakes import Snowflake

router = APIRouter(prefix="/api/v10", tags=["groups"], responses=OUTAGES)


@router.get("/guilds/{guild_id}/roles", response_model=list[RoleBody])
async def list_roles(groups: Service, caller: Caller, guild_id: Snowflake) -> Response:
    """List a guild's roles, the lowest first."""
    await groups.views.require_group(guild_id, caller)
    return JsonResponse([role_of(role) for role in await groups.views.list_roles(guild_id)])


@router.post("/guilds/{guild_id}/roles", response_model=RoleBody)
async def create_role(groups: Service, actor: Acting, guild_id: Snowflake, body: ChangedRole) -> Response:
    """Add a role, below all others but @everyone's."""
    return JsonResponse(role_of(await groups.roles.create(actor, guild_id, body.fields())))


@router.patch("/guilds/{guild_id}/roles", response_model=list[RoleBody])
async def move_roles(
    groups: Service,
    actor: Acting,
    guild_id: Snowflake,
    body: Annotated[list[RolePosition], Body(max_length=MAX_ROLES)],
) -> Response:
    """Order roles; return all of them."""
    await groups.roles.move(actor, guild_id, [(one.id, one.position) for one in body if one.position is not None])
    return JsonResponse([role_of(role) for role in await groups.views.list_roles(guild_id)])


@router.get("/guilds/{guild_id}/roles/{role_id}", response_model=RoleBody)
async def get_role(groups: Service, caller: Caller, guild_id: Snowflake, role_id: Snowflake) -> Response:
    """Return one role of a guild."""
    await groups.views.require_group(guild_id, caller)
    role = next((one for one in await groups.views.list_roles(guild_id) if one.id == role_id), None)
    if role is None:
        raise UnknownRole
    return JsonResponse(role_of(role))


@router.patch("/guilds/{guild_id}/roles/{role_id}", response_model=RoleBody)
async def change_role(
    groups: Service, actor: Acting, guild_id: Snowflake, role_id: Snowflake, body: ChangedRole
) -> Response:
    """Change a role. Of @everyone's only the permissions can be changed."""
    return JsonResponse(role_of(await groups.roles.change(actor, guild_id, role_id, body.fields())))


@router.delete("/guilds/{guild_id}/roles/{role_id}", status_code=204)
async def delete_role(groups: Service, actor: Acting, guild_id: Snowflake, role_id: Snowflake) -> Response:
    """Delete a role; members and channels have it no more."""
    await groups.roles.delete(actor, guild_id, role_id)
    return Response(status_code=204)


@router.put("/guilds/{guild_id}/members/{user_id}/roles/{role_id}", status_code=204)
async def give_role(
    groups: Service, actor: Acting, guild_id: Snowflake, user_id: Snowflake, role_id: Snowflake
) -> Response:
    """Give a member a role."""
    await groups.members.give_role(actor, guild_id, user_id, role_id, given=True)
    return Response(status_code=204)


@router.delete("/guilds/{guild_id}/members/{user_id}/roles/{role_id}", status_code=204)
async def take_role(
    groups: Service, actor: Acting, guild_id: Snowflake, user_id: Snowflake, role_id: Snowflake
) -> Response:
    """Take a role from a member."""
    await groups.members.give_role(actor, guild_id, user_id, role_id, given=False)
    return Response(status_code=204)
