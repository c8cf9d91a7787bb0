"""Keeping the node's sessions in the registry, where other nodes find them.

Ring 4 (shell). One worker, off every session's path: a registry that is away costs the sessions nothing but that
other nodes can't find them. Entries are touched at a third of their time to live.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from services.gateway.registry import RegistryUnavailable, SessionEntry, SessionRegistry

AT_ONCE: Final = 32
"""Calls to the registry at one time."""
_EPOCH: Final = 1

log = structlog.get_logger()


class Registrar:
    """The registry's view of one node's sessions. `node` names node and incarnation."""

    def __init__(self, registry: SessionRegistry, node: str, *, ttl_s: float) -> None:
        self._registry = registry
        self._node = node
        self._ttl_s = ttl_s
        self._entries: dict[str, SessionEntry] = {}
        self._released: deque[str] = deque(maxlen=10_000)
        self._unclaimed: dict[str, None] = {}
        self._work = asyncio.Event()

    def add(self, session_id: str, user_id: int) -> None:
        """Claim a new session soon."""
        self._entries[session_id] = SessionEntry(session_id, user_id, self._node, _EPOCH)
        self._unclaimed[session_id] = None
        self._work.set()

    def remove(self, session_id: str) -> None:
        """Release a session soon; what is not released in time runs out by itself."""
        if self._entries.pop(session_id, None) is not None and session_id not in self._unclaimed:
            self._released.append(session_id)
            self._work.set()
        self._unclaimed.pop(session_id, None)

    async def run(self) -> None:
        """Claim, touch and release, for ever."""
        loop = asyncio.get_running_loop()
        touch_at = loop.time() + self._ttl_s / 3
        while True:
            try:
                async with asyncio.timeout_at(touch_at):
                    await self._work.wait()
            except TimeoutError:
                touch_at = loop.time() + self._ttl_s / 3
                await self._each(list(self._entries), self._touch)
                continue
            self._work.clear()
            unclaimed, self._unclaimed = list(self._unclaimed), {}
            await self._each(unclaimed, self._claim)
            released = list(self._released)
            self._released.clear()
            await self._each(released, self._release)

    async def _each(self, session_ids: list[str], what: Callable[[str], Awaitable[object]]) -> None:
        """Do something for each session, some at once; an outage ends it for this time."""
        for start in range(0, len(session_ids), AT_ONCE):
            try:
                await asyncio.gather(*(what(one) for one in session_ids[start : start + AT_ONCE]))
            except RegistryUnavailable as error:
                log.warning("registry_unavailable", sessions=len(session_ids) - start, reason=str(error))
                return

    async def _claim(self, session_id: str) -> None:
        if (entry := self._entries.get(session_id)) is not None:
            await self._registry.claim(entry, ttl_s=self._ttl_s)

    async def _touch(self, session_id: str) -> None:
        entry = self._entries.get(session_id)
        if entry is not None and not await self._registry.touch(session_id, _EPOCH, ttl_s=self._ttl_s):
            await self._registry.claim(entry, ttl_s=self._ttl_s)  # lost there: say it again

    async def _release(self, session_id: str) -> None:
        await self._registry.release(session_id, _EPOCH)

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {"entries": len(self._entries), "waiting": len(self._unclaimed) + len(self._released)}
