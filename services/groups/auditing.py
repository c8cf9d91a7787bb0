"""The audit logs of groups: kept as changes are projected, read by page, forgotten when their time is over.

Ring 4 (shell). What an entry is: `shared.core.audit`. History keeps those of messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from services.groups.store import GroupStore
from shared.audit import AuditStore
from shared.core.audit import ABOUT_USERS, AuditFilter, Entry, entries_of
from shared.core.model import User
from shared.core.roles import all_roles
from shared.core.stream import Record, owner_of
from shared.streams import StoreUnavailable

KEPT_MS: Final = 45 * 24 * 3600 * 1000
"""How long an entry is kept at least."""
_AT_ONCE: Final = 1_000
_NAP_S: Final = 600.0

log = structlog.get_logger(__name__)


class AuditLogs:
    """Audit logs of groups. All raise `StoreUnavailable`."""

    def __init__(self, audit: AuditStore, groups: GroupStore, now: Callable[[], int]) -> None:
        self._audit = audit
        self._groups = groups
        self._now = now

    async def keep(self, stream: str, records: Sequence[Record]) -> None:
        """Keep the entries of these events of one stream; to do so again changes nothing."""
        if not any(record.by for record in records):
            return
        group_id = owner_of(stream)
        stored = (await self._groups.list_roles((group_id,))).get(group_id, ())
        await self._audit.put(tuple(entries_of(stream, group_id, records, all_roles(group_id, stored))))

    async def page(
        self, group_id: int, which: AuditFilter, after: int | None, before: int, limit: int
    ) -> tuple[list[Entry], list[User]]:
        """Return entries with ids between the two, and the users whom they name; from `after` on the oldest first."""
        forward = after is not None
        entries = await self._audit.page(group_id, which, after or 0, before, limit, oldest_first=forward)
        named = {entry.by for entry in entries}
        for entry in entries:
            if entry.action in ABOUT_USERS:
                named.update(entry.targets)
        users = await self._groups.read_users(sorted(named))
        return entries, [users[one] for one in sorted(users)]

    async def forget(self) -> int:
        """Drop entries whose time is over; return how many."""
        dropped = 0
        while some := await self._audit.forget(self._now() - KEPT_MS, _AT_ONCE):
            dropped += some
        return dropped

    async def run_forgetter(self) -> None:
        """Drop entries whose time is over, every ten minutes, for ever. A supervised task of every replica."""
        while True:
            try:
                if dropped := await self.forget():
                    log.info("audit_entries_forgotten", entries=dropped)
            except StoreUnavailable as error:
                log.warning("audit_entries_kept", reason=repr(error))
            await asyncio.sleep(_NAP_S)
