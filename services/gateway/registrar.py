"""Keeping the node's sessions in the registry, where other nodes find them.

Ring 4 (shell). One worker, off every session's path: a registry that is away costs the sessions nothing but that
other nodes can't find them. Entries are touched at a third of their time to live, and restored where they are lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec
import structlog

from services.gateway.registry import Lifted, Link, RegistryUnavailable, SessionEntry, SessionRegistry

AT_ONCE: Final = 100
"""Sessions that the registry is asked about at one time."""
_AGAIN_S: Final = 1.0
"""When to claim or touch again what could not be: a session that nobody finds can't go on anywhere else."""
_FIRST_EPOCH: Final = 1
_One = TypeVar("_One")

log = structlog.get_logger(__name__)


def _ignore(session_id: str) -> None:
    """Do nothing about a session that was lost to another node."""


class Registrar:
    """The registry's view of one node's sessions. `node` names node and incarnation.

    `lost` is called with a session of ours that another node has claimed meanwhile: the lower epoch loses.
    """

    def __init__(self, registry: SessionRegistry, node: str, *, ttl_s: float) -> None:
        self.lost: Callable[[str], None] = _ignore
        self._registry = registry
        self._node = node
        self._ttl_s = ttl_s
        self._entries: dict[str, SessionEntry] = {}
        self._released: deque[tuple[str, int]] = deque(maxlen=10_000)
        self._unclaimed: dict[str, None] = {}
        self._work = asyncio.Event()
        self._is_to_renew = False

    def add(self, session_id: str, user_id: int, s0: int, extra: bytes = b"") -> None:
        """Claim a new session soon. A client that tells less than `s0` has not got all that it begins with."""
        self._entries[session_id] = SessionEntry(session_id, user_id, _FIRST_EPOCH, (Link(self._node, s0),), extra)
        self._unclaimed[session_id] = None
        self._work.set()

    def keep(self, entry: SessionEntry) -> None:
        """Look after a session that was claimed already, when it was taken over."""
        self._entries[entry.session_id] = entry

    def is_overtaken(self, entry: SessionEntry) -> bool:
        """Whether this entry, as the registry has it, is of a later claim than ours: the session lives elsewhere."""
        held = self._entries.get(entry.session_id)
        return held is not None and held.epoch < entry.epoch

    def lift(self, session_id: str, lifted: Lifted) -> None:
        """Take in up to where a client has all that it was sent; the registry hears of it at the next touch."""
        if (entry := self._entries.get(session_id)) is not None:
            self._entries[session_id] = msgspec.structs.replace(entry, lifted=lifted)

    def remove(self, session_id: str) -> None:
        """Release a session soon; what is not released in time runs out by itself."""
        entry = self._entries.pop(session_id, None)
        if entry is not None and session_id not in self._unclaimed:
            self._released.append((session_id, entry.epoch))
            self._work.set()
        self._unclaimed.pop(session_id, None)

    def forget(self, session_id: str) -> None:
        """Take in that a session lives elsewhere now: the entry is that node's."""
        self._entries.pop(session_id, None)
        self._unclaimed.pop(session_id, None)

    def renew(self) -> None:
        """Touch all sessions soon: the registry may have lost some."""
        self._is_to_renew = True
        self._work.set()

    async def run(self) -> None:
        """Claim, touch and release, for ever."""
        loop = asyncio.get_running_loop()
        wake_at = touch_at = loop.time() + self._ttl_s / 3
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(wake_at):
                    await self._work.wait()
            self._is_to_renew |= loop.time() >= touch_at
            self._work.clear()
            unclaimed, self._unclaimed = list(self._unclaimed), {}
            left = await self._each(unclaimed, self._claim)
            self._unclaimed |= {session_id: None for session_id in left if session_id in self._entries}
            released = list(self._released)
            self._released.clear()
            await self._each(released, self._registry.release_many)
            if self._is_to_renew:
                self._is_to_renew = False
                touch_at = loop.time() + self._ttl_s / 3
                if await self._each(list(self._entries), self._touch):
                    touch_at = min(touch_at, loop.time() + _AGAIN_S)  # it may have lost those of which it was not told
            wake_at = min(touch_at, loop.time() + _AGAIN_S) if left else touch_at

    async def _each(self, all_of_them: list[_One], what: Callable[[list[_One]], Awaitable[object]]) -> list[_One]:
        """Do something for all, some at once; an outage ends it for this time. Return the rest."""
        for start in range(0, len(all_of_them), AT_ONCE):
            try:
                await what(all_of_them[start : start + AT_ONCE])
            except RegistryUnavailable as error:
                log.warning("registry_unavailable", entries=len(all_of_them) - start, reason=str(error))
                return all_of_them[start:]
        return []

    def _held(self, session_ids: list[str]) -> list[SessionEntry]:
        return [entry for one in session_ids if (entry := self._entries.get(one)) is not None]

    async def _claim(self, session_ids: list[str]) -> None:
        await self._registry.claim_many(self._held(session_ids), ttl_s=self._ttl_s)

    async def _touch(self, session_ids: list[str]) -> None:
        entries = self._held(session_ids)
        touched = await self._registry.touch_many(entries, ttl_s=self._ttl_s)
        gone = [entry for entry, is_there in zip(entries, touched, strict=True) if not is_there]
        await asyncio.gather(*map(self._restore, gone))

    async def _restore(self, entry: SessionEntry) -> None:
        if await self._registry.restore(entry, ttl_s=self._ttl_s):
            return
        held = self._entries.get(entry.session_id)
        if held is not None and held.epoch == entry.epoch:
            self.forget(entry.session_id)
            log.warning("session_lost", reason="another node has claimed it")
            self.lost(entry.session_id)

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {"entries": len(self._entries), "waiting": len(self._unclaimed) + len(self._released)}
