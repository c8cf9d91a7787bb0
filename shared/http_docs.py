"""`/docs`: the Swagger UI, served from this process so that it works without internet access.

Ring 4 (shell). The assets are the upstream files as the package fastapi-swagger ships them (its bundle is
byte for byte the one of npm's swagger-ui-dist); only its files are used, not its code.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import Response

from shared.core.errors import NotFound

_ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}


def documents(title: str) -> APIRouter:
    """Return the routes `/docs` and `/docs/{asset}`; each asset is read once, when first asked for."""
    router = APIRouter(include_in_schema=False)
    loaded: dict[str, bytes] = {}

    @router.get("/docs")
    async def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=title,
            swagger_js_url="/docs/swagger-ui-bundle.js",
            swagger_css_url="/docs/swagger-ui.css",
            swagger_favicon_url="/docs/favicon-32x32.png",
            swagger_ui_parameters={"persistAuthorization": True, "displayRequestDuration": True},
        )

    @router.get("/docs/{asset}")
    async def docs_asset(asset: str) -> Response:
        if asset not in _ASSETS:
            raise NotFound
        if asset not in loaded:
            loaded[asset] = resources.files("fastapi_swagger").joinpath("resources", asset).read_bytes()
        return Response(loaded[asset], media_type=_ASSETS[asset], headers={"Cache-Control": "public, max-age=86400"})

    return router
