"""Signals: what is of the moment and in no stream. Today that somebody types.

Ring 4 (shell). A signal goes once to each node with sessions that may see it, and is lost without harm: no stream, no
replay log, dropped by nodes that are behind. Who may write in a channel may signal there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shared.bus import Bus, BusUnavailable
from shared.core.calls import Access, ReadAccess
from shared.core.commands import Signals, Typed, encode_envelope
from shared.core.errors import MissingAccess, MissingPermissions, RateLimited, Unavailable
from shared.core.group_errors import UnknownChannel
from shared.core.limits import Budgets
from shared.http_limits import note
from shared.rpc import Rpc
from shared.topology import Topology

_PER_SECOND: Final = 0.5
_BURST: Final = 5.0
_USERS: Final = 50_000


class Signalling:
    """Tells the nodes what users do at this moment. `now` is Unix ms."""

    def __init__(self, bus: Bus, topology: Topology, rpc: Rpc, now: Callable[[], int], *, has_budgets: bool) -> None:
        self._bus = bus
        self._topology = topology
        self._rpc = rpc
        self._now = now
        self._budgets = Budgets(_PER_SECOND, _BURST, most=_USERS) if has_budgets else None

    async def type_in(self, user_id: int, channel_id: int) -> None:
        """Tell that a user types in a channel, to all who see it.

        Raises `RateLimited`, `UnknownChannel`, `MissingAccess`, `MissingPermissions`, `Unavailable`.
        """
        if self._budgets is not None and (wait_s := note("typing", self._budgets.use(user_id, self._now())).wait_s):
            raise RateLimited(retry_after=wait_s)
        access: Access = await self._rpc.call(ReadAccess(channel_id, user_id))
        if access.channel is None:
            raise UnknownChannel
        if not access.can_view:
            raise MissingAccess
        if not access.can_send:
            raise MissingPermissions
        group_id = access.channel.group_id
        to = () if group_id else tuple(one.id for one in access.channel.recipients)
        typed = Typed(channel_id, user_id, self._now(), group_id, to, access.member)
        try:
            keys = self._topology.keys_of(group_id, to)
            await self._bus.publish(self._topology.events, keys, encode_envelope(Signals((typed,))))
        except BusUnavailable as error:
            raise Unavailable from error
