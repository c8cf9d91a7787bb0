"""Trails: where nodes leave what others need to go on with their sessions. The seam.

Ring 2. Implementations: `MemoryTrails` (memory_trails.py) and `RedisTrails` (redis_trails.py), held by
tests/contracts/test_trails.py. What is in it may be lost: whose trail is not found can't be resumed elsewhere
(INVALID_SESSION), unless the node lives and writes it again. What a trail says: `services.gateway.core.positions`.
"""

from __future__ import annotations

from typing import Protocol

from services.gateway.core.positions import Changes, Trail


class TrailsUnavailable(Exception):
    """The store did not answer: what was to be written may or may not have been."""


class Trails(Protocol):
    """Trails by node (its name and incarnation), each with a time to live. All raise `TrailsUnavailable`."""

    async def append(self, node: str, changes: Changes, *, ttl_s: float) -> bool:
        """Store a checkpoint and what changed in the table with it, together or not at all.

        False, with nothing changed, unless its number is one above the newest that is stored: then `rewrite`. A repeat
        of the newest is True, and only begins the time to live anew.
        """

    async def rewrite(self, trail: Trail, *, ttl_s: float) -> None:
        """Store the whole trail at once, in place of an older one; nothing changes if a newer one is stored."""

    async def read(self, node: str) -> Trail | None:
        """Return a node's trail; None if there is none that can be read."""

    async def newest(self, node: str) -> int | None:
        """Return the number of the newest checkpoint in a node's trail; None if there is none."""
