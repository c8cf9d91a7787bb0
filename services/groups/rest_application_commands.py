"""REST routes of the commands that bots offer: registered and told, called by nobody yet.

Ring 4 (shell). The same for everywhere and for one group. Who may is decided in `application_commands`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from services.groups.application_command_bodies import ChangedCommand, CommandBody, NewCommand
from services.groups.core.application_commands import MOST
from services.groups.service import OUTAGES, Service
from shared.core.account_errors import UnknownCommandPermissions
from shared.core.wire.users import application_command_of
from shared.door import Caller
from shared.http_errors import JsonResponse
from shared.snowflakes import Snowflake

router = APIRouter(prefix="/api/v10", tags=["groups"], responses=OUTAGES)

_ALL = "/applications/{application_id}/commands"
_ONE = _ALL + "/{command_id}"
_ALL_OF_GUILD = "/applications/{application_id}/guilds/{guild_id}/commands"
_ONE_OF_GUILD = _ALL_OF_GUILD + "/{command_id}"
_CREATED: dict[int | str, dict[str, Any]] = {
    201: {"model": CommandBody, "description": "It is new; 200: another command had the name, and is replaced"}
}
_Commands = Annotated[list[NewCommand], Body(max_length=sum(MOST.values()))]


@router.get(_ALL, response_model=list[CommandBody])
async def list_commands(groups: Service, caller: Caller, application_id: Snowflake) -> Response:
    """List the commands that a bot offers everywhere."""
    return await _list(groups, caller, application_id, 0)


@router.post(_ALL, response_model=CommandBody, responses=_CREATED)
async def create_command(groups: Service, caller: Caller, application_id: Snowflake, body: NewCommand) -> Response:
    """Offer a command everywhere; one of the same type and name is replaced."""
    return await _create(groups, caller, application_id, 0, body)


@router.put(_ALL, response_model=list[CommandBody])
async def overwrite_commands(groups: Service, caller: Caller, application_id: Snowflake, body: _Commands) -> Response:
    """Offer these commands everywhere, and no others."""
    return await _overwrite(groups, caller, application_id, 0, body)


@router.get(_ONE, response_model=CommandBody)
async def get_command(groups: Service, caller: Caller, application_id: Snowflake, command_id: Snowflake) -> Response:
    """Return a command that a bot offers everywhere."""
    return await _get(groups, caller, application_id, 0, command_id)


@router.patch(_ONE, response_model=CommandBody)
async def change_command(
    groups: Service, caller: Caller, application_id: Snowflake, command_id: Snowflake, body: ChangedCommand
) -> Response:
    """Change a command that a bot offers everywhere."""
    return await _change(groups, caller, application_id, 0, command_id, body)


@router.delete(_ONE, status_code=204)
async def delete_command(groups: Service, caller: Caller, application_id: Snowflake, command_id: Snowflake) -> Response:
    """Offer a command nowhere any more."""
    return await _delete(groups, caller, application_id, 0, command_id)


@router.get(_ALL_OF_GUILD, response_model=list[CommandBody])
async def list_guild_commands(
    groups: Service, caller: Caller, application_id: Snowflake, guild_id: Snowflake
) -> Response:
    """List the commands that a bot offers in one guild alone."""
    return await _list(groups, caller, application_id, guild_id)


@router.post(_ALL_OF_GUILD, response_model=CommandBody, responses=_CREATED)
async def create_guild_command(
    groups: Service, caller: Caller, application_id: Snowflake, guild_id: Snowflake, body: NewCommand
) -> Response:
    """Offer a command in one guild; one of the same type and name is replaced."""
    return await _create(groups, caller, application_id, guild_id, body)


@router.put(_ALL_OF_GUILD, response_model=list[CommandBody])
async def overwrite_guild_commands(
    groups: Service, caller: Caller, application_id: Snowflake, guild_id: Snowflake, body: _Commands
) -> Response:
    """Offer these commands in one guild, and no others there."""
    return await _overwrite(groups, caller, application_id, guild_id, body)


@router.get(_ALL_OF_GUILD + "/permissions", response_model=list[dict[str, Any]])
async def list_command_permissions(
    groups: Service, caller: Caller, application_id: Snowflake, guild_id: Snowflake
) -> Response:
    """Return no permissions of commands: what may be said about them is not kept."""
    await groups.application_commands.list_all(caller, application_id, guild_id)
    return JsonResponse([])


@router.get(_ONE_OF_GUILD, response_model=CommandBody)
async def get_guild_command(
    groups: Service, caller: Caller, application_id: Snowflake, guild_id: Snowflake, command_id: Snowflake
) -> Response:
    """Return a command that a bot offers in one guild alone."""
    return await _get(groups, caller, application_id, guild_id, command_id)


@router.patch(_ONE_OF_GUILD, response_model=CommandBody)
async def change_guild_command(
    groups: Service,
    caller: Caller,
    application_id: Snowflake,
    guild_id: Snowflake,
    command_id: Snowflake,
    body: ChangedCommand,
) -> Response:
    """Change a command that a bot offers in one guild alone."""
    return await _change(groups, caller, application_id, guild_id, command_id, body)


@router.delete(_ONE_OF_GUILD, status_code=204)
async def delete_guild_command(
    groups: Service, caller: Caller, application_id: Snowflake, guild_id: Snowflake, command_id: Snowflake
) -> Response:
    """Offer a command in one guild no more."""
    return await _delete(groups, caller, application_id, guild_id, command_id)


@router.get(_ONE_OF_GUILD + "/permissions", response_model=dict[str, Any])
async def get_command_permissions(
    groups: Service, caller: Caller, application_id: Snowflake, guild_id: Snowflake, command_id: Snowflake
) -> Response:
    """Answer that nothing is said about who may use a command."""
    await groups.application_commands.list_all(caller, application_id, guild_id)
    raise UnknownCommandPermissions


async def _list(groups: Service, caller: int, application_id: int, group_id: int) -> Response:
    found = await groups.application_commands.list_all(caller, application_id, group_id)
    return JsonResponse([application_command_of(one, application_id, group_id) for one in found])


async def _create(groups: Service, caller: int, application_id: int, group_id: int, body: NewCommand) -> Response:
    made, is_new = await groups.application_commands.create(caller, application_id, group_id, body.fields())
    return JsonResponse(application_command_of(made, application_id, group_id), 201 if is_new else 200)


async def _overwrite(
    groups: Service, caller: int, application_id: int, group_id: int, body: list[NewCommand]
) -> Response:
    given = [one.fields() for one in body]
    made = await groups.application_commands.overwrite(caller, application_id, group_id, given)
    return JsonResponse([application_command_of(one, application_id, group_id) for one in made])


async def _get(groups: Service, caller: int, application_id: int, group_id: int, command_id: int) -> Response:
    found = await groups.application_commands.find(caller, application_id, group_id, command_id)
    return JsonResponse(application_command_of(found, application_id, group_id))


async def _change(
    groups: Service, caller: int, application_id: int, group_id: int, command_id: int, body: ChangedCommand
) -> Response:
    changed = await groups.application_commands.change(caller, application_id, group_id, command_id, body.fields())
    return JsonResponse(application_command_of(changed, application_id, group_id))


async def _delete(groups: Service, caller: int, application_id: int, group_id: int, command_id: int) -> Response:
    await groups.application_commands.delete(caller, application_id, group_id, command_id)
    return Response(status_code=204)
