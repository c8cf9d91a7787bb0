"""Signs of life between the replicas of history, on the bus.

Ring 4 (shell). Who works which shard follows from them (`core.spread`); a lost sign or a gap costs nothing but an
uneven spread for some seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from services.history.core.spread import SIGN_S, Sign, Spread, decode_sign, encode_sign
from shared.bus import Bus, BusUnavailable
from shared.topology import Binding, Topology

log = structlog.stdlib.get_logger(__name__)


async def give_signs(bus: Bus, topology: Topology, name: str) -> None:
    """Say once a second that this replica lives, for ever, and at the end that it leaves. A supervised task."""
    key = (topology.replicas_key("history"),)
    try:
        while True:
            try:
                await bus.publish(topology.events, key, encode_sign(Sign(name)))
            except BusUnavailable as error:
                log.info("sign_lost", reason=str(error))
            await asyncio.sleep(SIGN_S)
    finally:
        try:
            async with asyncio.timeout(SIGN_S):
                await bus.publish(topology.events, key, encode_sign(Sign(name, leaves=True)))
        except (BusUnavailable, TimeoutError):
            log.info("leaving_unsaid")


async def hear_signs(bus: Bus, topology: Topology, name: str, spread: Spread, clock_ms: Callable[[], int]) -> None:
    """Take in the signs of all replicas, for ever. A supervised task."""
    queue = topology.replica_queue(name)
    binding = Binding(topology.events, topology.replicas_key("history"))
    while True:
        try:
            async with bus.subscribe(queue, (binding,)) as subscription:
                while True:
                    batch = await subscription.take(256)
                    for delivery in batch.deliveries:
                        if (sign := decode_sign(delivery.body)) is not None:
                            spread.hear(sign, clock_ms())
                    try:
                        await subscription.ack(batch.deliveries)
                    except BusUnavailable:
                        continue  # a gap follows
        except BusUnavailable as error:
            log.info("signs_unheard", reason=str(error))
            await asyncio.sleep(SIGN_S)
