"""The session registry: which node has which session. The seam.

Ring 2. Implementations: `MemoryRegistry` (memory_registry.py) and `RedisRegistry` (redis_registry.py), held by
tests/contracts/test_registry.py. What is in it may be lost: a session that is not found can't be
resumed, and its client identifies anew (INVALID_SESSION). Changed only by compare-and-set on the claim
epoch, so that of two nodes that take over one session the lower epoch loses (rule 5).
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class SessionEntry(msgspec.Struct, frozen=True):
    """Where a session lives. `epoch` counts claims from 1; `node` names node and incarnation."""

    session_id: str
    user_id: int
    node: str
    epoch: int


class RegistryUnavailable(Exception):
    """The registry did not answer; the session goes on, but can't be found by other nodes."""


class SessionRegistry(Protocol):
    """Entries by session id, each with a time to live. All raise `RegistryUnavailable`."""

    async def claim(self, entry: SessionEntry, *, ttl_s: float) -> bool:
        """Store the entry if its epoch is one above the stored one's (1: none stored); True if it is ours now.

        Idempotent: the same claim again only begins its time to live anew.
        """

    async def touch(self, session_id: str, epoch: int, *, ttl_s: float) -> bool:
        """Begin the time to live anew; False if the entry is gone or was claimed by a later epoch."""

    async def read(self, session_id: str) -> SessionEntry | None:
        """Return where a session lives."""

    async def release(self, session_id: str, epoch: int) -> bool:
        """Remove the entry if it still has this epoch."""
