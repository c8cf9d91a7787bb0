"""REST routes of the groups service: invites.

Ring 4 (shell). Whoever has a code may look at what it leads to, and use it. Who may do what else is decided in
`services.groups.core.invites`.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from services.groups.guild_bodies import InviteBody, InviteFactsBody, NewInvite
from services.groups.service import OUTAGES, Acting, Service
from shared.core.model import Channel, Group, Invite
from shared.core.permissions import Permission
from shared.core.wire.channels import invite_facts_of, invite_of
from shared.core.wire.values import Json
from shared.door import Caller
from shared.http_errors import JsonResponse
from shared.snowflakes import Snowflake

router = APIRouter(prefix="/api/v10", tags=["groups"], responses=OUTAGES)

Code = Annotated[str, Path(min_length=1, max_length=32, description="an invite's code")]


async def _count_attempt(request: Request, groups: Service, caller: Caller) -> None:
    """Refuse who tries codes too often: of an address, and of a user."""
    await groups.attempts.count_address(request.client.host if request.client is not None else "")
    await groups.attempts.count_user(caller)


@router.post("/channels/{channel_id}/invites", response_model=InviteFactsBody)
async def create_invite(
    groups: Service, actor: Acting, channel_id: Snowflake, body: NewInvite | None = None
) -> Response:
    """Make an invite into a channel; without `unique` an unused one that never ends is answered again."""
    body = body or NewInvite()
    invite = await groups.invites.create(
        actor,
        channel_id,
        max_age_s=body.max_age,
        max_uses=body.max_uses,
        temporary=body.temporary,
        unique=body.unique,
    )
    return JsonResponse(_with_facts(await groups.invites.find(invite.code)))


@router.get("/channels/{channel_id}/invites", response_model=list[InviteFactsBody])
async def list_channel_invites(groups: Service, caller: Caller, channel_id: Snowflake) -> Response:
    """List the invites into a channel to who manages it."""
    return JsonResponse([_with_facts(found) for found in await groups.invites.list_of_channel(caller, channel_id)])


@router.get("/guilds/{guild_id}/invites", response_model=list[InviteFactsBody])
async def list_guild_invites(groups: Service, caller: Caller, guild_id: Snowflake) -> Response:
    """List a guild's invites to who manages it."""
    await groups.views.require_permission(guild_id, caller, Permission.MANAGE_GUILD)
    return JsonResponse([_with_facts(found) for found in await groups.invites.list_of_group(guild_id)])


@router.get("/invites/{code}", response_model=InviteBody, dependencies=[Depends(_count_attempt)])
async def get_invite(groups: Service, code: Code) -> Response:
    """Return what an invite leads to."""
    return JsonResponse(invite_of(*await groups.invites.find(code)))


@router.post("/invites/{code}", response_model=InviteBody, dependencies=[Depends(_count_attempt)])
async def accept_invite(groups: Service, caller: Caller, code: Code) -> Response:
    """Join a guild by an invite; a member stays one and uses nothing."""
    await groups.emails.require_verified(caller)
    return JsonResponse(invite_of(*await groups.invites.accept(caller, code)))


@router.delete("/invites/{code}", response_model=InviteBody, dependencies=[Depends(_count_attempt)])
async def delete_invite(groups: Service, actor: Acting, code: Code) -> Response:
    """Close an invite: who made it, and who manages the channel or the guild."""
    return JsonResponse(invite_of(*await groups.invites.delete(actor, code)))


def _with_facts(found: tuple[Invite, Group, Channel]) -> Json:
    return invite_of(*found) | invite_facts_of(found[0])
