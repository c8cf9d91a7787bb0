"""What replicas of history hear on the bus: each other's signs of life, and what gateway nodes say of their envelopes.

Ring 4 (shell). Who works which shard follows from the first (`core.spread`), how wide envelopes are from the second
(`core.union`); what is lost costs nothing but an uneven spread for some seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from services.history.core.spread import SIGN_S, Spread
from services.history.core.union import UnionWidth
from shared.bus import Bus, BusUnavailable
from shared.core.signs import Decoded, Sign, decode_sign, encode_sign
from shared.reach import Reach
from shared.topology import Binding, Topology

log = structlog.stdlib.get_logger(__name__)


async def give_signs(bus: Bus, topology: Topology, name: str, reach: Reach) -> None:
    """Say once a second that this replica lives, for ever, and at the end that it leaves. A supervised task.

    It also leaves for as long as it does not reach the database: others own its shards meanwhile.
    """
    key = (topology.replicas_key("history"),)
    try:
        while True:
            try:
                await bus.publish(topology.events, key, encode_sign(Sign(name, leaves=not reach.is_there)))
            except BusUnavailable as error:
                log.info("sign_lost", reason=str(error))
            await asyncio.sleep(SIGN_S)
    finally:
        try:
            async with asyncio.timeout(SIGN_S):
                await bus.publish(topology.events, key, encode_sign(Sign(name, leaves=True)))
        except (BusUnavailable, TimeoutError):
            log.info("leaving_unsaid")


async def hear_signs(
    bus: Bus, topology: Topology, name: str, spread: Spread, width: UnionWidth, clock_ms: Callable[[], int]
) -> None:
    """Take in what replicas and nodes say, for ever. A supervised task."""
    queue = topology.replica_queue(name)
    binding = Binding(topology.events, topology.replicas_key("history"))
    while True:
        try:
            async with bus.subscribe(queue, (binding,)) as subscription:
                while True:
                    batch = await subscription.take(256)
                    for delivery in batch.deliveries:
                        match decode_sign(delivery.body):
                            case Sign() as sign:
                                spread.hear(sign, clock_ms())
                            case Decoded() as decoded:
                                width.hear(decoded, clock_ms())
                    try:
                        await subscription.ack(batch.deliveries)
                    except BusUnavailable:
                        continue  # a gap follows
        except BusUnavailable as error:
            log.info("signs_unheard", reason=str(error))
            await asyncio.sleep(SIGN_S)
