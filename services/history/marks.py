"""The mark store: who reacted with what, which messages are pinned, what direct channels are like. The seam.

Ring 2. Implementations: `MemoryMarks` (memory_marks.py) and `MongoMarks` (mongo_marks.py), held by
tests/contracts/test_marks.py. The values, and what they are projections of: `core.marks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.history.core.marks import Mark, Pin, Reactor, ReactorKey
from shared.core.model import Channel, User


class MarkStore(Protocol):
    """Point reads, bounded lists, idempotent writes. All raise `shared.streams.StoreUnavailable`."""

    async def put(self, marks: Sequence[Mark]) -> None:
        """Put marks; one whose `seq` is not above the stored one's changes nothing."""

    async def read_epochs(self, keys: Sequence[ReactorKey]) -> list[int]:
        """Return the epoch of each of these reactions, 0 where it is gone or never was."""

    async def list_reactors(self, message_id: int, emoji: str, epoch: int, after: int, limit: int) -> list[User]:
        """Return who reacted so in this epoch, by user id above `after`."""

    async def list_own(self, user_id: int, message_ids: Sequence[int], epochs: Sequence[int]) -> list[Reactor]:
        """Return a user's reactions to these messages in these epochs, in one query."""

    async def list_pins(self, channel_id: int, before: int, limit: int) -> list[Pin]:
        """Return a channel's pins made before `before` (Unix ms), the newest first."""

    async def read_directs(self, channel_ids: Sequence[int]) -> list[Channel | None]:
        """Return direct channels, by these ids (at most 100)."""
