"""The marker store: how far each user has read in each channel. The seam.

Ring 2. Implementations: `MemoryMarkers` (memory_markers.py) and `MongoMarkers` (mongo_markers.py), held by
tests/contracts/test_markers.py. A marker is all that is kept of what is unread: how much that is is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shared.core.calls import Marker


class MarkerStore(Protocol):
    """Markers, which only go forward. All raise `shared.streams.StoreUnavailable`."""

    async def advance(self, user_id: int, marker: Marker) -> bool:
        """Put a user's marker of a channel, unless it is there or further on already: then False."""

    async def read(self, user_id: int, channel_id: int) -> Marker | None:
        """Return a user's marker of a channel."""

    async def list_markers(self, user_ids: Sequence[int], limit: int) -> dict[int, list[Marker]]:
        """Return markers of each user (at most 100), those at the newest messages first, at most `limit` each."""
