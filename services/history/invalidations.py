"""Invalidations: telling the shards which groups have changed, and noticing when nobody would tell.

Ring 4 (shell). Commands permitted under older facts than were told are looked at again by the sequencer. What was
lost is told as a gap; a bus that has gone silent is noticed by the missing signs of life (`core.pulse`). Both
only cost a look-up for each permission.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from services.history.core.pulse import Pulse
from services.history.core.shard import Shard
from shared.bus import Batch, Bus, BusUnavailable
from shared.core.commands import COMMAND_LIFETIME_MS
from shared.core.invalidation import SIGN_OF_LIFE, decode_invalidation, encode_invalidation
from shared.topology import Binding, Topology

_TAKEN_AT_ONCE: Final = 256
_RETRY_S: Final = 1.0
_SIGN_TIMEOUT_S: Final = 1.0

log = structlog.stdlib.get_logger(__name__)


async def hear_invalidations(
    bus: Bus,
    topology: Topology,
    name: str,
    shards: Sequence[Shard],
    pulse: Pulse,
    *,
    now: Callable[[], int],
    clock_ms: Callable[[], int],
) -> None:
    """Tell the shards what is heard, for ever. `now` is Unix ms, `clock_ms` never goes back. A supervised task."""
    queue = topology.invalidation_queue(name)
    for shard in shards:
        _doubt(shard, now())  # of what changed before we heard anything
    while True:
        try:
            async with bus.subscribe(queue, (Binding(topology.invalidate),)) as subscription:
                while True:
                    batch = await subscription.take(_TAKEN_AT_ONCE)
                    if batch.deliveries:
                        pulse.hear(clock_ms(), random.random())  # noqa: S311 (jitter)
                    for shard in shards:
                        _tell(shard, batch, now())
                    try:
                        await subscription.ack(batch.deliveries)
                    except BusUnavailable:
                        continue  # a gap follows
        except BusUnavailable as error:
            log.warning("invalidations_unheard", reason=str(error))
            await asyncio.sleep(_RETRY_S)


def _doubt(shard: Shard, now: int) -> None:
    """Have all permissions looked up that were given before now: what has changed since is not known."""
    shard.doubt_until = now + COMMAND_LIFETIME_MS


def _tell(shard: Shard, batch: Batch, now: int) -> None:
    """Tell a shard; after a gap, or what can't be read, all that was permitted before is looked at again."""
    if batch.gap:
        _doubt(shard, now)
    for delivery in batch.deliveries:
        invalidation = decode_invalidation(delivery.body)
        if invalidation is None:
            _doubt(shard, now)
        elif invalidation != SIGN_OF_LIFE:
            shard.note_group_seq(invalidation.group_id, invalidation.seq)
    if batch.deliveries:
        shard.heard_at = now


async def keep_pulse(bus: Bus, topology: Topology, pulse: Pulse, clock_ms: Callable[[], int]) -> None:
    """Give a sign of life whenever it is this process's turn, for ever. A supervised task."""
    while True:
        if wait_ms := pulse.wait_ms(clock_ms()):
            await asyncio.sleep(wait_ms / 1000)
            continue
        pulse.hear(clock_ms(), random.random())  # noqa: S311 (jitter)
        try:
            async with asyncio.timeout(_SIGN_TIMEOUT_S):
                await bus.publish(topology.invalidate, ("",), encode_invalidation(SIGN_OF_LIFE))
        except (BusUnavailable, TimeoutError) as error:
            log.info("sign_lost", reason=repr(error))
