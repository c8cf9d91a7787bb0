"""REST routes of what there is none of: libraries ask for these lists when they start, and wait for an answer.

Ring 4 (shell). Everything else that is not there answers 404.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from services.groups.service import OUTAGES, Service
from shared.door import Caller
from shared.http_errors import JsonResponse
from shared.snowflakes import Snowflake

router = APIRouter(prefix="/api/v10", tags=["groups"], responses=OUTAGES)


@router.get("/soundboard-default-sounds", response_model=list[dict[str, Any]])
async def list_default_sounds(caller: Caller) -> Response:
    """Return no sounds. py-cord is never ready without an answer."""
    return JsonResponse([])


@router.get("/sticker-packs", response_model=dict[str, Any])
async def list_sticker_packs(caller: Caller) -> Response:
    """Return no packs of stickers."""
    return JsonResponse({"sticker_packs": []})


@router.get("/voice/regions", response_model=list[dict[str, Any]])
async def list_voice_regions(caller: Caller) -> Response:
    """Return no regions: there is no voice."""
    return JsonResponse([])


@router.get("/applications/{application_id}/emojis", response_model=dict[str, Any])
async def list_application_emojis(groups: Service, caller: Caller, application_id: Snowflake) -> Response:
    """Return no emojis of an application."""
    return JsonResponse({"items": []})


@router.get("/guilds/{guild_id}/emojis", response_model=list[dict[str, Any]])
async def list_emojis(groups: Service, caller: Caller, guild_id: Snowflake) -> Response:
    """Return no emojis of a guild."""
    return await _nothing(groups, caller, guild_id, [])


@router.get("/guilds/{guild_id}/stickers", response_model=list[dict[str, Any]])
async def list_stickers(groups: Service, caller: Caller, guild_id: Snowflake) -> Response:
    """Return no stickers of a guild."""
    return await _nothing(groups, caller, guild_id, [])


@router.get("/guilds/{guild_id}/scheduled-events", response_model=list[dict[str, Any]])
async def list_scheduled_events(groups: Service, caller: Caller, guild_id: Snowflake) -> Response:
    """Return no events of a guild's calendar."""
    return await _nothing(groups, caller, guild_id, [])


@router.get("/guilds/{guild_id}/regions", response_model=list[dict[str, Any]])
async def list_guild_regions(groups: Service, caller: Caller, guild_id: Snowflake) -> Response:
    """Return no regions of a guild: there is no voice."""
    return await _nothing(groups, caller, guild_id, [])


@router.get("/guilds/{guild_id}/soundboard-sounds", response_model=dict[str, Any])
async def list_guild_sounds(groups: Service, caller: Caller, guild_id: Snowflake) -> Response:
    """Return no sounds of a guild."""
    return await _nothing(groups, caller, guild_id, {"items": []})


@router.get("/guilds/{guild_id}/threads/active", response_model=dict[str, Any])
async def list_active_threads(groups: Service, caller: Caller, guild_id: Snowflake) -> Response:
    """Return no threads of a guild."""
    return await _nothing(groups, caller, guild_id, {"threads": [], "members": []})


async def _nothing(groups: Service, caller: int, group_id: int, nothing: object) -> Response:
    await groups.views.require_group(group_id, caller)
    return JsonResponse(nothing)
