"""The marker store in the memory of one process: for tests, and the measure of the MongoDB one.

Ring 2. Held by tests/contracts/test_markers.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.core.calls import Marker


class MemoryMarkers:
    """A `MarkerStore` without a server."""

    def __init__(self) -> None:
        self._markers: dict[int, dict[int, Marker]] = {}

    async def advance(self, user_id: int, marker: Marker) -> bool:
        """Put a user's marker of a channel, unless it is there or further on already."""
        its = self._markers.setdefault(user_id, {})
        before = its.get(marker.channel_id)
        if before is not None and before.message_id >= marker.message_id:
            return False
        its[marker.channel_id] = marker
        return True

    async def read(self, user_id: int, channel_id: int) -> Marker | None:
        """Return a user's marker of a channel."""
        return self._markers.get(user_id, {}).get(channel_id)

    async def list_markers(self, user_ids: Sequence[int], limit: int) -> dict[int, list[Marker]]:
        """Return markers of each user, those at the newest messages first."""
        found = {one: self._markers[one].values() for one in user_ids if one in self._markers}
        return {one: sorted(its, key=lambda marker: -marker.message_id)[:limit] for one, its in found.items()}
