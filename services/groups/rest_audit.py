"""REST routes of the groups service: the audit log of a guild.

Ring 4 (shell). What stands in it is derived in `shared.core.audit`.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from services.groups.guild_bodies import AuditLogBody
from services.groups.service import OUTAGES, Service
from shared.core.audit import AuditFilter
from shared.core.ids import MAX_ID
from shared.core.permissions import Permission
from shared.core.wire.audit import audit_log_of
from shared.door import Caller
from shared.http_errors import JsonResponse
from shared.snowflakes import Cursor, Snowflake

_MOST_ACTION = 1_000
router = APIRouter(prefix="/api/v10", tags=["groups"], responses=OUTAGES)


@router.get("/guilds/{guild_id}/audit-logs", response_model=AuditLogBody)
async def read_audit_log(
    groups: Service,
    caller: Caller,
    guild_id: Snowflake,
    user_id: Cursor = 0,
    action_type: Annotated[int, Query(ge=0, le=_MOST_ACTION, description="Discord's number; 0: any")] = 0,
    target_id: Cursor = 0,
    before: Cursor | None = None,
    after: Cursor | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Response:
    """List who did what to whom in a guild, the newest first; with `after` the oldest. Kept for 45 days."""
    await groups.views.require_permission(guild_id, caller, Permission.VIEW_AUDIT_LOG)
    which = AuditFilter(user_id, action_type, target_id)
    page = await groups.audit_logs.page(guild_id, which, after, MAX_ID if before is None else before, limit)
    return JsonResponse(audit_log_of(*page))
