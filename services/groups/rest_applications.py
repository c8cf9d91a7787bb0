"""REST routes of applications and their bots.

Ring 4 (shell). The collaborators are `app.state.groups`, as for `rest`.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Response

from services.groups.applications import Application
from services.groups.bodies import ApplicationBody, BotTokenBody, NewApplication, NewApplicationBody
from services.groups.rest_users import count_address
from services.groups.service import Service
from shared.core.wire.users import application_of
from shared.door import Caller
from shared.http import ErrorBody
from shared.http_errors import JsonResponse
from shared.snowflakes import Snowflake

router = APIRouter(
    prefix="/api/v10",
    tags=["groups"],
    responses={"5XX": {"model": ErrorBody, "description": "Try again: a part that is needed did not answer"}},
)


@router.get("/applications", response_model=list[ApplicationBody])
async def list_applications(groups: Service, caller: Caller) -> Response:
    """List the caller's applications."""
    return JsonResponse([_application_of(one) for one in await groups.applications.list_own(caller)])


@router.post("/applications", status_code=201, response_model=NewApplicationBody, dependencies=[Depends(count_address)])
async def create_application(groups: Service, caller: Caller, body: NewApplication) -> Response:
    """Make an application with its bot; the token is shown only here."""
    await groups.attempts.count_user(caller)
    await groups.emails.require_verified(caller)
    made, token = await groups.applications.create(caller, body.name, body.description)
    told = _application_of(made)
    return JsonResponse(told | {"bot": told["bot"] | {"token": token}}, 201)


@router.get("/oauth2/applications/@me", response_model=ApplicationBody)
async def get_oauth2_application(groups: Service, caller: Caller) -> Response:
    """Return the application of the bot that calls: where libraries look first."""
    return JsonResponse(_application_of(await groups.applications.read_of_bot(caller)))


@router.get("/applications/@me", response_model=ApplicationBody)
async def get_current_application(groups: Service, caller: Caller) -> Response:
    """Return the application of the bot that calls."""
    return JsonResponse(_application_of(await groups.applications.read_of_bot(caller)))


@router.get("/applications/{application_id}", response_model=ApplicationBody)
async def get_application(groups: Service, caller: Caller, application_id: Snowflake) -> Response:
    """Return one of the caller's applications."""
    return JsonResponse(_application_of(await groups.applications.find_own(caller, application_id)))


@router.delete("/applications/{application_id}", status_code=204)
async def delete_application(groups: Service, caller: Caller, application_id: Snowflake) -> Response:
    """Delete an application and its bot, which leaves all groups; its sessions are closed with 4004."""
    await groups.applications.delete(caller, application_id)
    return Response(status_code=204)


@router.post("/applications/{application_id}/bot/reset", response_model=BotTokenBody)
async def reset_bot_token(groups: Service, caller: Caller, application_id: Snowflake) -> Response:
    """Return a new token of the bot; those so far are revoked, their sessions closed with 4004."""
    await groups.attempts.count_user(caller)
    return JsonResponse({"token": await groups.applications.reset_token(caller, application_id)})


def _application_of(application: Application) -> dict[str, Any]:
    return application_of(application.bot.user, application.bot.bio, application.owner, application.groups)
