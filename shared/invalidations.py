"""What `Topology.invalidate` tells, heard by whoever keeps facts about groups.

Ring 4 (shell). What it says is in `shared.core.invalidation`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from shared.bus import Batch, Bus, BusUnavailable
from shared.core.invalidation import SIGN_OF_LIFE, decode_invalidation
from shared.topology import Binding, Topology

_TAKEN_AT_ONCE: Final = 256
_RETRY_S: Final = 1.0

log = structlog.stdlib.get_logger(__name__)


async def hear_invalidations(bus: Bus, topology: Topology, name: str, hear: Callable[[Batch], None]) -> None:
    """Give what comes, and gaps, to `hear`, for ever. `name`: of this process and service. A supervised task."""
    queue = topology.invalidation_queue(name)
    while True:
        try:
            async with bus.subscribe(queue, (Binding(topology.invalidate),)) as subscription:
                while True:
                    batch = await subscription.take(_TAKEN_AT_ONCE)
                    hear(batch)
                    try:
                        await subscription.ack(batch.deliveries)
                    except BusUnavailable:
                        continue  # a gap follows
        except BusUnavailable as error:
            log.warning("invalidations_unheard", reason=str(error))
            await asyncio.sleep(_RETRY_S)


def tell_moved(batch: Batch, moved: Callable[[int, int], None]) -> None:
    """Tell `moved` each group of a batch with the seq that it has moved to; what can't be read tells of none."""
    for delivery in batch.deliveries:
        invalidation = decode_invalidation(delivery.body)
        if invalidation is not None and invalidation != SIGN_OF_LIFE:
            moved(invalidation.group_id, invalidation.seq)
