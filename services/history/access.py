"""What users may do in channels, as history asks it: what this process keeps while it is so, else groups.

Ring 4 (shell). At the doors of the routes (`service`), and where a shard looks up a permission again (`worker`).
"""

from __future__ import annotations

from shared.core.calls import Access, ReadAccess
from shared.core.errors import Unavailable
from shared.kept_access import KeptAccess
from shared.rpc import Rpc
from shared.streams import StoreUnavailable


class AccessReader:
    """Reads access by facts that are complete to what was answered or published before the question."""

    def __init__(self, rpc: Rpc, kept: KeptAccess) -> None:
        self._rpc = rpc
        self._kept = kept

    async def read(self, channel_id: int, user_id: int) -> Access:
        """Return what this user, or the webhook with this id, may do. Raises what groups tell, and `Unavailable`."""
        try:
            kept = await self._kept.find(channel_id, user_id)
        except StoreUnavailable as error:
            raise Unavailable from error
        if kept is not None:
            return kept
        access: Access = await self._rpc.call(ReadAccess(channel_id, user_id))
        self._kept.keep(channel_id, user_id, access)
        return access
