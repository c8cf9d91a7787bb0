"""Signals of history: what a user's sessions are told of at once, and need not be told.

Ring 4 (shell). The markers are stored; who misses the signal learns of it by the next READY.
"""

from __future__ import annotations

import contextlib

from shared.bus import Bus, BusUnavailable
from shared.core.commands import Acked, Acks, encode_envelope
from shared.topology import Topology


async def tell_ack(bus: Bus, topology: Topology, acked: Acked) -> None:
    """Tell the nodes of a user how far it has read; nothing while the bus is away."""
    with contextlib.suppress(BusUnavailable):
        keys = topology.keys_of(0, (acked.user_id,))
        await bus.publish(topology.events, keys, encode_envelope(Acks((acked,))))
