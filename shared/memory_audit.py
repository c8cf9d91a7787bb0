"""Audit logs in the memory of one process: for tests, and the measure of the MongoDB store. Ring 2."""

from __future__ import annotations

from collections.abc import Sequence

from shared.core.audit import AuditFilter, Entry


class MemoryAudit:
    """An `AuditStore` without a server."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, int], Entry] = {}

    async def put(self, entries: Sequence[Entry]) -> None:
        """Keep entries; one of a record that has one already changes nothing."""
        for entry in entries:
            self._entries.setdefault((entry.stream, entry.seq), entry)

    async def page(
        self, group_id: int, which: AuditFilter, after: int, before: int, limit: int, *, oldest_first: bool = False
    ) -> list[Entry]:
        """Return entries with ids between the two."""
        found = [
            entry
            for entry in self._entries.values()
            if entry.group_id == group_id
            and which.by in (0, entry.by)
            and which.action in (0, entry.action)
            and which.target in (0, *entry.targets)
            and after < entry.id < before
        ]
        return sorted(found, key=lambda entry: entry.id, reverse=not oldest_first)[:limit]

    async def forget(self, before: int, limit: int) -> int:
        """Drop entries of what was done before then, at most `limit`; return how many."""
        old = [key for key, entry in self._entries.items() if entry.at < before][:limit]
        for key in old:
            del self._entries[key]
        return len(old)
