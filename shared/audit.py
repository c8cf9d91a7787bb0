"""The store of audit logs: entries as they were derived, found by whose, what and whom. The seam.

Ring 2. Implementations: `MemoryAudit` (memory_audit.py) and `MongoAudit` (mongo_audit.py), held by
tests/contracts/test_audit.py. What an entry is: `shared.core.audit`. Groups and history write it, groups reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shared.core.audit import AuditFilter, Entry


class AuditStore(Protocol):
    """Entries of all groups. All raise `shared.streams.StoreUnavailable`."""

    async def put(self, entries: Sequence[Entry]) -> None:
        """Keep entries; one of a record that has one already changes nothing."""

    async def page(
        self, group_id: int, which: AuditFilter, after: int, before: int, limit: int, *, oldest_first: bool = False
    ) -> list[Entry]:
        """Return entries with ids between the two: the last ones, the newest first; or the first ones, the oldest."""

    async def forget(self, before: int, limit: int) -> int:
        """Drop entries of what was done before then (Unix ms), at most `limit`; return how many."""
