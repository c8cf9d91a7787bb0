"""Asking for members: REQUEST_GUILD_MEMBERS answered from the store, chunk by chunk.

Ring 4 (shell). One request of a connection is at work at a time, the others wait in a short line; what does not fit,
or can't be read now, is told as RATE_LIMITED. A chunk is read when the client has taken the one before, so a slow one
costs one chunk of memory, and few are read at once on the whole node.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from services.gateway.connection import Connection
from services.gateway.core.frames import RequestMembers
from services.gateway.core.hub import Hub
from services.gateway.core.intents import Intent
from services.gateway.core.members import CHUNK, chunk_of, chunks_of, ids_of, limit_of, refusal_of
from services.gateway.core.snapshot import nobody_shown
from services.gateway.core.state import LocalGroup
from services.gateway.fanout import Fanout
from services.gateway.sessions import LiveSession
from shared.core.calls import MemberPage, ReadMembers
from shared.core.errors import StarlingError
from shared.core.model import Member, Presence
from shared.core.roles import known_only
from shared.lifecycle import Supervisor
from shared.rpc import Rpc

WAITING: Final = 100
"""Requests of one connection that wait for their turn."""
READS_AT_ONCE: Final = 4
RETRY_AFTER_S: Final = 5.0


class Asking:
    """Answers the requests of a node's connections. `presences` of a group's members are as far as they are known."""

    def __init__(
        self,
        hub: Hub[LiveSession],
        fanout: Fanout,
        rpc: Rpc,
        supervisor: Supervisor,
        presences: Callable[[LocalGroup[LiveSession]], Mapping[int, Presence]] = nobody_shown,
    ) -> None:
        self._hub = hub
        self._fanout = fanout
        self._rpc = rpc
        self._presences = presences
        self._supervisor = supervisor
        self._lines: dict[Connection, deque[tuple[int, RequestMembers]]] = {}
        self._reads = asyncio.Semaphore(READS_AT_ONCE)

    def ask(self, connection: Connection, group_id: int, request: RequestMembers) -> None:
        """Answer a request in its turn."""
        line = self._lines.get(connection)
        if line is None:
            self._lines[connection] = deque([(group_id, request)])
            self._supervisor.start("members", self._run(connection))
        elif len(line) < WAITING:
            line.append((group_id, request))
        else:
            self._fanout.tell(connection, "RATE_LIMITED", refusal_of(request, group_id, RETRY_AFTER_S))

    @property
    def busy(self) -> int:
        """Connections whose requests are at work."""
        return len(self._lines)

    async def _run(self, connection: Connection) -> None:
        line = self._lines[connection]
        try:
            while line and connection.is_open:
                group_id, request = line[0]
                try:
                    await self._answer(connection, group_id, request)
                except StarlingError:
                    self._fanout.tell(connection, "RATE_LIMITED", refusal_of(request, group_id, RETRY_AFTER_S))
                line.popleft()
        finally:
            del self._lines[connection]

    async def _answer(self, connection: Connection, group_id: int, request: RequestMembers) -> None:
        ids, limit = ids_of(request), limit_of(request)
        if (group := self._group_of(connection, group_id)) is None:
            self._fanout.tell(connection, "GUILD_MEMBERS_CHUNK", chunk_of(request, group_id, (), ids=ids))
        elif ids is not None or request.query:
            found: Sequence[Member] = ()
            if ids is None or ids:
                call = ReadMembers(group_id, limit=limit, prefix=request.query or "", user_ids=ids or ())
                found = (await self._read(connection, call)).members
            self._tell(connection, request, group_id, found, ids=ids)
        else:
            await self._tell_all(connection, request, group, limit)

    async def _tell_all(
        self, connection: Connection, request: RequestMembers, group: LocalGroup[LiveSession], limit: int
    ) -> None:
        group_id, after, is_all = group.group.id, 0, False
        count = chunks_of(group.member_count, limit)
        left = limit or CHUNK * (count + 1)
        for index in range(count):
            wanted = left if index == count - 1 else min(CHUNK, left)
            some: list[Member] = []
            while len(some) < wanted and not is_all:
                page = await self._read(connection, ReadMembers(group_id, after, min(wanted - len(some), CHUNK)))
                some += page.members
                after, is_all = page.after, not page.after
            left -= len(some)
            if not self._tell(connection, request, group_id, some, index, count):
                return

    def _tell(
        self,
        connection: Connection,
        request: RequestMembers,
        group_id: int,
        members: Sequence[Member],
        index: int = 0,
        count: int = 1,
        ids: Sequence[int] | None = None,
    ) -> bool:
        """Tell a chunk; False if the client is gone, or not in the group any more."""
        if (group := self._group_of(connection, group_id)) is None:
            return False
        known = [known_only(member, group.roles) for member in members]
        is_shown = connection.live is not None and connection.live.scope.intents & Intent.GUILD_PRESENCES
        presences = self._presences(group) if is_shown else {}
        chunk = chunk_of(request, group_id, known, index, count, ids, presences)
        self._fanout.tell(connection, "GUILD_MEMBERS_CHUNK", chunk)
        return True

    def _group_of(self, connection: Connection, group_id: int) -> LocalGroup[LiveSession] | None:
        """Return a group if the connection's user is in it, and there is somebody to tell."""
        group = self._hub.roster.groups.get(group_id)
        is_told = group is not None and connection.user_id in group.users and connection.is_open
        return group if is_told else None

    async def _read(self, connection: Connection, call: ReadMembers) -> MemberPage:
        """Read members once the client has taken what was told before."""
        await connection.taken()
        async with self._reads:
            page: MemberPage = await self._rpc.call(call)
            return page
