"""The HTTP shell: one FastAPI app with Discord's errors, probes, metrics and documents.

Ring 4 (shell). `create_app` is all that a service or a test needs; `shared.http_edge` bounds requests,
`shared.http_errors` shapes answers, `shared.lifecycle` serves the app on a socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shared.bus import BusUnavailable
from shared.core.errors import InvalidJson, StarlingError, Unavailable
from shared.http_docs import documents
from shared.http_edge import Edge, route_of
from shared.http_errors import JsonResponse, answer_of, answer_of_status, form_error_of
from shared.metrics import Metrics
from shared.settings import HttpSettings
from shared.streams import StoreUnavailable

log = structlog.stdlib.get_logger(__name__)

Probe = Callable[[], Awaitable[bool]]
"""Whether one part may take traffic at this moment; a failure or a late answer is a no."""


class ErrorBody(BaseModel):
    """What every 4xx and 5xx says: Discord's shape."""

    code: int = Field(description="Discord's JSON error code, 0 if it has none")
    message: str = Field(description="for people; may change")
    errors: dict[str, Any] | None = Field(None, description="per field, nested: {field: {_errors: [{code, message}]}}")


def create_app(
    settings: HttpSettings,
    *,
    metrics: Metrics,
    routers: Sequence[APIRouter] = (),
    state: Mapping[str, object] | None = None,
    probes: Mapping[str, Probe] | None = None,
    title: str = "Starling",
) -> FastAPI:
    """Return an app: the routers, `/healthz`, `/readyz`, `/metrics`, `/docs`, `/openapi.json`.

    `state` is put on `app.state` by name: each service's collaborators. `probes` are asked by `/readyz`.
    """
    app = FastAPI(
        title=title,
        version="0.1.0",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        responses={"4XX": {"model": ErrorBody, "description": "Refused: Discord's error shape"}},
        strict_content_type=True,
    )
    for name, part in (state or {}).items():
        setattr(app.state, name, part)
    app.add_exception_handler(StarlingError, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_status)
    app.add_exception_handler(StoreUnavailable, _on_outage)
    app.add_exception_handler(BusUnavailable, _on_outage)
    app.include_router(_health(metrics, probes or {}, settings.probe_timeout.total_seconds()))
    app.include_router(documents(title))
    for router in routers:
        app.include_router(router)
    app.add_middleware(
        Edge,
        metrics=metrics,
        max_body_bytes=settings.max_body_bytes,
        deadline_s=settings.request_timeout.total_seconds(),
        max_in_flight=settings.max_requests,
    )
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


async def _on_refusal(_: Request, error: Exception) -> Response:
    if not isinstance(error, StarlingError):
        raise error
    return answer_of(error)


async def _on_invalid(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    if any(one["type"] == "json_invalid" for one in error.errors()):
        return answer_of(InvalidJson())
    return answer_of(form_error_of(error))


async def _on_status(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return answer_of_status(error)


async def _on_outage(request: Request, error: Exception) -> Response:
    log.warning("part_was_away", route=route_of(request.scope), reason=str(error)[:200])
    return answer_of(Unavailable())


def _health(metrics: Metrics, probes: Mapping[str, Probe], timeout_s: float) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> Response:
        return JsonResponse({"alive": True})

    @router.get("/readyz")
    async def readyz() -> Response:
        results = await asyncio.gather(*(_ask(name, probe, timeout_s) for name, probe in probes.items()))
        parts = dict(zip(probes, results, strict=True))
        if all(said == "ready" for said in results):
            return JsonResponse({"ready": True, "parts": parts})
        return JsonResponse({"code": 0, "message": "not ready", "ready": False, "parts": parts}, 503)

    @router.get("/metrics")
    async def read_metrics() -> Response:
        return Response(metrics.exposition(), media_type=metrics.content_type)

    return router


async def _ask(name: str, probe: Probe, timeout_s: float) -> str:
    try:
        async with asyncio.timeout(timeout_s):
            return "ready" if await probe() else "not ready"
    except TimeoutError:
        return "no answer"
    except Exception as failure:
        log.warning("probe_failed", probe=name, reason=type(failure).__name__)
        return "failed"
