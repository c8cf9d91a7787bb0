"""REST of the gateway: where clients find the WebSocket.

Ring 4 (shell). The shapes are Discord's (`GET /gateway`, `GET /gateway/bot`); sends by REST are history's.
"""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from shared.door import Caller, MaybeCaller

_DAY_MS = 24 * 3600 * 1000
_STARTS = 1000


class Where(Protocol):
    """What the routes need of the service."""

    def url_of(self, user_id: int, /) -> str:
        """Return the WebSocket's URL for a user, 0 for anyone."""


def _where(request: Request) -> Where:
    found: Where = request.app.state.gateway
    return found


Found = Annotated[Where, Depends(_where)]


class GatewayUrl(BaseModel):
    """Where to connect."""

    url: str = Field(description="WebSocket URL; add ?v=10&encoding=json")


class SessionStartLimit(BaseModel):
    """How often a bot may identify. Starling does not count; the numbers are there for clients that do."""

    total: int
    remaining: int
    reset_after: int = Field(description="ms")
    max_concurrency: int


class BotGateway(GatewayUrl):
    """Where a bot connects, and how."""

    shards: int = Field(description="always 1: one connection gets everything")
    session_start_limit: SessionStartLimit


router = APIRouter(prefix="/api/v10", tags=["gateway"])


@router.get("/gateway", summary="Where to connect")
async def get_gateway(where: Found, user_id: MaybeCaller) -> GatewayUrl:
    """Return the gateway's URL. Needs no token; with one the URL may be better for that user."""
    return GatewayUrl(url=where.url_of(user_id))


@router.get("/gateway/bot", summary="Where a bot connects")
async def get_gateway_bot(where: Found, user_id: Caller) -> BotGateway:
    """Return the gateway's URL and how many connections to make."""
    return BotGateway(
        url=where.url_of(user_id),
        shards=1,
        session_start_limit=SessionStartLimit(
            total=_STARTS, remaining=_STARTS, reset_after=_DAY_MS, max_concurrency=_STARTS
        ),
    )
