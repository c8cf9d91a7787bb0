"""The store of the commands that bots offer. The seam, and the one in memory.

Ring 2. Held with `services.groups.mongo_application_commands` by tests/contracts/test_application_command_store.py.
A scope is one value that is changed by compare-and-set; group 0 stands for everywhere.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from shared.core.model import ApplicationCommand


class CommandScope(msgspec.Struct, frozen=True):
    """The commands of an application in one place. `revision` counts its changes; 0: there was none yet."""

    application_id: int
    group_id: int
    revision: int = 0
    commands: tuple[ApplicationCommand, ...] = ()


class ApplicationCommandStore(Protocol):
    """One scope per application and group. All raise `shared.streams.StoreUnavailable`."""

    async def read(self, application_id: int, group_id: int) -> CommandScope:
        """Return a scope; an empty one of revision 0 where nothing was stored."""

    async def write(self, scope: CommandScope) -> bool:
        """Store a scope in the place of the one of the revision before; False if that is not the stored one."""

    async def forget(self, application_id: int) -> None:
        """Drop all scopes of an application."""


class MemoryApplicationCommands:
    """An `ApplicationCommandStore` without a server."""

    def __init__(self) -> None:
        self._scopes: dict[tuple[int, int], CommandScope] = {}

    async def read(self, application_id: int, group_id: int) -> CommandScope:
        """Return a scope."""
        return self._scopes.get((application_id, group_id), CommandScope(application_id, group_id))

    async def write(self, scope: CommandScope) -> bool:
        """Store a scope in the place of the one of the revision before."""
        key = scope.application_id, scope.group_id
        stored = self._scopes.get(key)
        if scope.revision != (stored.revision if stored is not None else 0) + 1:
            return False
        self._scopes[key] = scope
        return True

    async def forget(self, application_id: int) -> None:
        """Drop all scopes of an application."""
        self._scopes = {key: scope for key, scope in self._scopes.items() if key[0] != application_id}
