"""REST of the gateway: where clients find the WebSocket, and how they listen without one.

Ring 4 (shell). The shapes of `GET /gateway` and `GET /gateway/bot` are Discord's, `GET /gateway/events` is our own
(`services.gateway.listening`); typing is `services.gateway.signalling`; sends by REST are history's.
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from services.gateway.core.frames import LAST_S, Identify, Resume
from services.gateway.core.sse import decode_place
from services.gateway.listening import MOST_WAIT_S, Ask, Host, Listening
from services.gateway.signalling import Signalling
from shared.core.errors import InvalidForm
from shared.door import Caller, MaybeCaller, Token
from shared.snowflakes import Snowflake

_DAY_MS = 24 * 3600 * 1000
_STARTS = 1000


class Where(Protocol):
    """What the routes need of the service."""

    @property
    def node(self) -> Host:
        """The node, which has the sessions."""

    @property
    def signalling(self) -> Signalling:
        """Who tells the nodes what is of the moment."""

    @property
    def starts_at_once(self) -> int:
        """How many sessions a bot may begin within five seconds."""

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
    """How often a bot may identify. Starling counts no days: `total` and `remaining` are there for clients that do."""

    total: int
    remaining: int
    reset_after: int = Field(description="ms")
    max_concurrency: int = Field(description="sessions begun within five seconds; who keeps to it is not refused")


class BotGateway(GatewayUrl):
    """Where a bot connects, and how."""

    shards: int = Field(description="1: one connection can have everything; a bot may take more")
    session_start_limit: SessionStartLimit


class Events(BaseModel):
    """What a poll is answered."""

    session_id: str | None = Field(description="to be told in the next poll; null: begin anew, without it")
    s: int | None = Field(description="to be told as `seq` in the next poll")
    has_more: bool = Field(description="whether there is more already")
    events: list[dict[str, Any]] = Field(description="frames `{op, d, s, t}`, in order")


_POSITIONS = r"^[0-9]{1,20}:[0-9]{1,18}(,[0-9]{1,20}:[0-9]{1,18})*$"

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
            total=_STARTS, remaining=_STARTS, reset_after=_DAY_MS, max_concurrency=where.starts_at_once
        ),
    )


@router.post("/channels/{channel_id}/typing", status_code=204, response_class=Response, summary="Tell that one types")
async def start_typing(where: Found, channel_id: Snowflake, user_id: Caller) -> Response:
    """Tell all who see the channel that the caller types, for some ten seconds (TYPING_START)."""
    await where.signalling.type_in(user_id, channel_id)
    return Response(status_code=204)


@router.get(
    "/gateway/events",
    summary="Listen without a WebSocket",
    response_class=Response,
    responses={
        200: {
            "description": "Without `wait` a stream of events whose data are frames; with it those that have come.",
            "model": Events,
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def get_gateway_events(
    where: Found,
    token: Token,
    wait: Annotated[
        float | None, Query(ge=0, le=MOST_WAIT_S, allow_inf_nan=False, description="seconds; answers as a long poll")
    ] = None,
    session_id: Annotated[str | None, Query(max_length=128, description="the session to go on with")] = None,
    seq: Annotated[int | None, Query(ge=0, le=LAST_S, description="the last `s` seen of it")] = None,
    positions: Annotated[
        str | None, Query(max_length=4096, pattern=_POSITIONS, description="`{channel_id}:{seq},…` that are there")
    ] = None,
    intents: Annotated[int | None, Query(ge=0, description="which events, as in IDENTIFY; all without it")] = None,
    last_event_id: Annotated[str | None, Header(max_length=256, description="a stream's way to go on")] = None,
    origin: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Begin a session, or go on with one: as a stream of server-sent events, or with `wait` as a long poll."""
    ask: Ask
    told = dict(one.split(":") for one in positions.split(",")) if positions else {}
    known = {channel_id: int(at) for channel_id, at in told.items()}
    if last_event_id:
        place = decode_place(last_event_id)
        ask = Resume(token or "", place.session_id, place.s, known)
    elif session_id:
        if seq is None:
            raise InvalidForm({"seq": [("BASE_TYPE_REQUIRED", "This field is required")]})
        ask = Resume(token or "", session_id, seq, known)
    else:
        ask = Identify(token or "", intents)
    return Listening(where.node, ask, wait_s=wait, origin=origin)
