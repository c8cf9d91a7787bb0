"""Reading: the bodies of users and groups by RPC, what is asked for at about the same time by few calls.

Ring 4 (shell).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from services.gateway.gathering import Gathering
from shared.core.calls import Call, Groups, GroupView, ReadGroups, ReadSessions, Sessions, SessionView
from shared.lifecycle import Supervisor
from shared.rpc import Rpc

SESSIONS_PER_CALL: Final = 100
GROUPS_PER_CALL: Final = 20
CALLS_AT_ONCE: Final = 64


class Reading:
    """Asks groups and history, not too much at once."""

    def __init__(self, rpc: Rpc, supervisor: Supervisor) -> None:
        self.sessions = Gathering(self._read_sessions, supervisor, most=SESSIONS_PER_CALL)
        """What there is to know of a user."""
        self.groups = Gathering(self._read_groups, supervisor, most=GROUPS_PER_CALL)
        """What there is to know of a group."""
        self._rpc = rpc
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)

    async def call(self, call: Call) -> Any:
        """Return the answer to a call. Raises what it is answered with, and `Unavailable`."""
        async with self._calls:
            return await self._rpc.call(call)

    async def _read_sessions(self, user_ids: tuple[int, ...]) -> tuple[dict[int, SessionView], tuple[int, ...]]:
        told: Sessions = await self.call(ReadSessions(user_ids))
        return {view.user.id: view for view in told.views}, told.left

    async def _read_groups(self, group_ids: tuple[int, ...]) -> tuple[dict[int, GroupView], tuple[int, ...]]:
        told: Groups = await self.call(ReadGroups(group_ids))
        return {view.group.id: view for view in told.views}, told.left
