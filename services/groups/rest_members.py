"""REST routes of the groups service: members of a guild.

Ring 4 (shell). Who is not in a group is told that there is none; of a channel, that access is missing, as Discord says.
Who may do what is decided in `services.groups.core.members`.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from services.groups.bodies import BanBody, MemberBody
from services.groups.guild_bodies import AddedMember, BansBody, ChangedMember, ChangedOwnMember, NewBan, NewBans
from services.groups.service import OUTAGES, Acting, Service
from shared.core.group_errors import BansFailed
from shared.core.ids import MAX_ID
from shared.core.permissions import Permission
from shared.core.wire.members import ban_of, member_of
from shared.door import Caller
from shared.http_errors import JsonResponse
from shared.snowflakes import Cursor, Snowflake

router = APIRouter(prefix="/api/v10", tags=["groups"], responses=OUTAGES)


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
    return JsonResponse([member_of(member) for member in members])


@router.get("/guilds/{guild_id}/members/search", response_model=list[MemberBody])
async def search_members(
    groups: Service,
    caller: Caller,
    guild_id: Snowflake,
    query: Annotated[str, Query(max_length=256)],
    limit: Annotated[int, Query(ge=1, le=1000)] = 1,
) -> Response:
    """Find members by the begin of their usernames or shown names, in the order of their ids."""
    await groups.views.require_group(guild_id, caller)
    return JsonResponse([member_of(member) for member in await groups.views.search_members(guild_id, query, limit)])


@router.patch("/guilds/{guild_id}/members/@me", response_model=MemberBody)
async def change_own_member(groups: Service, actor: Acting, guild_id: Snowflake, body: ChangedOwnMember) -> Response:
    """Change what the caller is called in a guild."""
    return JsonResponse(member_of(await groups.members.change(actor, guild_id, actor.user_id, body.patch())))


@router.get("/guilds/{guild_id}/members/{user_id}", response_model=MemberBody)
async def get_member(groups: Service, caller: Caller, guild_id: Snowflake, user_id: Snowflake) -> Response:
    """Return one member of a guild."""
    await groups.views.require_group(guild_id, caller)
    return JsonResponse(member_of(await groups.views.require_member(guild_id, user_id)))


@router.put(
    "/guilds/{guild_id}/members/{user_id}",
    status_code=201,
    response_model=MemberBody,
    responses={204: {"description": "Is a member already"}},
)
async def add_member(
    groups: Service, actor: Acting, guild_id: Snowflake, user_id: Snowflake, body: AddedMember | None = None
) -> Response:
    """Put a user or bot into a guild; 204 without a body if it is a member already."""
    body = body or AddedMember()
    member = await groups.members.add(actor, guild_id, user_id, body.nick, body.roles or ())
    return Response(status_code=204) if member is None else JsonResponse(member_of(member), 201)


@router.patch("/guilds/{guild_id}/members/{user_id}", response_model=MemberBody)
async def change_member(
    groups: Service, actor: Acting, guild_id: Snowflake, user_id: Snowflake, body: ChangedMember
) -> Response:
    """Change a member: nick, roles, timeout."""
    return JsonResponse(member_of(await groups.members.change(actor, guild_id, user_id, body.patch())))


@router.delete("/guilds/{guild_id}/members/{user_id}", status_code=204)
async def kick_member(groups: Service, actor: Acting, guild_id: Snowflake, user_id: Snowflake) -> Response:
    """Remove a member. When this is answered, nothing said there later reaches the removed."""
    await groups.members.kick(actor, guild_id, user_id)
    return Response(status_code=204)


@router.get("/guilds/{guild_id}/bans", response_model=list[BanBody])
async def list_bans(
    groups: Service,
    caller: Caller,
    guild_id: Snowflake,
    before: Cursor | None = None,
    after: Cursor = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> Response:
    """List a guild's bans by user id, page by page."""
    await groups.views.require_permission(guild_id, caller, Permission.BAN_MEMBERS)
    bans = await groups.views.list_bans(guild_id, after, MAX_ID + 1 if before is None else before, limit)
    return JsonResponse([ban_of(ban) for ban in bans])


@router.get("/guilds/{guild_id}/bans/{user_id}", response_model=BanBody)
async def get_ban(groups: Service, caller: Caller, guild_id: Snowflake, user_id: Snowflake) -> Response:
    """Return the ban of a user."""
    await groups.views.require_permission(guild_id, caller, Permission.BAN_MEMBERS)
    return JsonResponse(ban_of(await groups.views.require_ban(guild_id, user_id)))


@router.put("/guilds/{guild_id}/bans/{user_id}", status_code=204)
async def ban_user(
    groups: Service,
    actor: Acting,
    guild_id: Snowflake,
    user_id: Snowflake,
    body: NewBan | None = None,
) -> Response:
    """Keep a user out, member or not. When this is answered, nothing said there later reaches the banned."""
    await groups.members.ban(actor, guild_id, user_id, body.seconds() if body is not None else 0)
    return Response(status_code=204)


@router.post("/guilds/{guild_id}/bulk-ban", response_model=BansBody)
async def ban_users(groups: Service, actor: Acting, guild_id: Snowflake, body: NewBans) -> Response:
    """Ban up to 200 users; who can't be banned is told, unless that is all of them."""
    user_ids = dict.fromkeys(body.user_ids)
    banned, failed = await groups.members.ban_many(actor, guild_id, user_ids, body.delete_message_seconds or 0)
    if not banned:
        raise BansFailed
    told = {"banned_users": [str(one) for one in banned], "failed_users": [str(one) for one in failed]}
    return JsonResponse(told)


@router.delete("/guilds/{guild_id}/bans/{user_id}", status_code=204)
async def lift_ban(groups: Service, actor: Acting, guild_id: Snowflake, user_id: Snowflake) -> Response:
    """Let a banned user in again."""
    await groups.members.lift_ban(actor, guild_id, user_id)
    return Response(status_code=204)
