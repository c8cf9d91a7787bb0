"""Apps in memory, many of one service: FastAPI takes 0.2 s to build a service's routes, so they share them."""

from __future__ import annotations

from typing import Protocol

from fastapi import APIRouter, FastAPI

from shared.http import create_app
from shared.metrics import Metrics
from shared.settings import HttpSettings


class NewApp(Protocol):
    """Makes an app with this state, by name."""

    def __call__(self, **state: object) -> FastAPI: ...


def apps_on(router: APIRouter) -> NewApp:
    """Return what makes apps on the router, as `create_app` makes them, that have its routes in common."""
    routes = create_app(HttpSettings(), metrics=Metrics(), routers=[router]).routes

    def new_app(**state: object) -> FastAPI:
        app = create_app(HttpSettings(), metrics=Metrics(), state=state)
        app.routes.extend(routes)
        return app

    return new_app
