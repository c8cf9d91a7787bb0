"""Registering the commands that a bot offers. They are stored and told; nobody can call them yet.

Ring 4 (shell). Reads a scope, lets `services.groups.core.application_commands` decide, and stores what comes out if
nobody was faster. Only the bot itself and its owner have to do with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from services.groups.application_command_store import ApplicationCommandStore
from services.groups.applications import Applications
from services.groups.core.application_commands import Commands, change, create, delete, overwrite, require
from services.groups.views import Views
from shared.core.errors import MissingAccess, Unavailable
from shared.core.group_errors import UnknownGroup
from shared.core.ids import IdSource
from shared.core.model import ApplicationCommand

_TRIES: Final = 5
_Result = TypeVar("_Result")


class ApplicationCommands:
    """Changes and shows scopes. `group_id` 0: everywhere.

    All raise `UnknownApplication`, `NotForBots`, `OnlyForBots`, `MissingAccess`, `StoreUnavailable` and `Unavailable`
    beside what they tell: who is neither the bot nor its owner, and a group that the bot is not in.
    """

    def __init__(
        self,
        store: ApplicationCommandStore,
        applications: Applications,
        views: Views,
        ids: IdSource,
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._applications = applications
        self._views = views
        self._ids = ids
        self._now = now

    async def list_all(self, user_id: int, application_id: int, group_id: int) -> Commands:
        """Return the commands of a scope."""
        await self._require_own(user_id, application_id, group_id)
        return (await self._store.read(application_id, group_id)).commands

    async def find(self, user_id: int, application_id: int, group_id: int, command_id: int) -> ApplicationCommand:
        """Return one command. Raises `UnknownApplicationCommand`."""
        return require(await self.list_all(user_id, application_id, group_id), command_id)

    async def create(
        self, user_id: int, application_id: int, group_id: int, fields: Mapping[str, Any]
    ) -> tuple[ApplicationCommand, bool]:
        """Add a command, or put it in the place of the one of its name; return it and whether it is new.

        Raises `InvalidForm`, `TooManyApplicationCommands`.
        """
        await self._require_own(user_id, application_id, group_id)
        new_id = self._new_id()
        _, made = await self._change(application_id, group_id, lambda commands: create(commands, new_id, fields))
        return made, made.id == new_id

    async def change(
        self, user_id: int, application_id: int, group_id: int, command_id: int, fields: Mapping[str, Any]
    ) -> ApplicationCommand:
        """Change a command; what is not given stays. Raises `UnknownApplicationCommand`, `InvalidForm`."""
        await self._require_own(user_id, application_id, group_id)
        version = self._new_id()
        return (
            await self._change(application_id, group_id, lambda commands: change(commands, command_id, version, fields))
        )[1]

    async def overwrite(
        self, user_id: int, application_id: int, group_id: int, given: Sequence[Mapping[str, Any]]
    ) -> Commands:
        """Let a scope have these commands and no others. Raises `InvalidForm`, `TooManyApplicationCommands`."""
        await self._require_own(user_id, application_id, group_id)
        ids = [self._new_id() for _ in given]
        return (await self._change(application_id, group_id, lambda commands: (overwrite(commands, ids, given), None)))[
            0
        ]

    async def delete(self, user_id: int, application_id: int, group_id: int, command_id: int) -> None:
        """Delete a command. Raises `UnknownApplicationCommand`."""
        await self._require_own(user_id, application_id, group_id)
        await self._change(application_id, group_id, lambda commands: (delete(commands, command_id), None))

    async def _change(
        self, application_id: int, group_id: int, decide: Callable[[Commands], tuple[Commands, _Result]]
    ) -> tuple[Commands, _Result]:
        for _ in range(_TRIES):
            scope = await self._store.read(application_id, group_id)
            commands, result = decide(scope.commands)
            if commands == scope.commands:
                return commands, result
            changed = msgspec.structs.replace(scope, revision=scope.revision + 1, commands=commands)
            if await self._store.write(changed):
                return commands, result
        raise Unavailable

    async def _require_own(self, user_id: int, application_id: int, group_id: int) -> None:
        if user_id == application_id:
            await self._applications.read_of_bot(user_id)
        else:
            await self._applications.find_own(user_id, application_id)
        if group_id:
            try:
                await self._views.require_group(group_id, application_id)
            except UnknownGroup as error:
                raise MissingAccess from error

    def _new_id(self) -> int:
        return self._ids.next_id(self._now())
