"""Invalidations: telling the shards which groups have changed, and noticing when nobody would tell.

Ring 4 (shell). Commands permitted under older facts than were told are looked at again by the sequencer. What was
lost is told as a gap; a bus that has gone silent is noticed by the missing signs of life (`core.pulse`). A gap costs
a look at the head of each group that somebody writes in, silence one for each batch. How they are heard:
`shared.invalidations`.
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
from shared.core.invalidation import SIGN_OF_LIFE, decode_invalidation, encode_invalidation
from shared.invalidations import hear_invalidations, tell_moved
from shared.topology import Topology

_SIGN_TIMEOUT_S: Final = 1.0

log = structlog.stdlib.get_logger(__name__)


async def tell_shards(
    bus: Bus,
    topology: Topology,
    name: str,
    shards: Sequence[Shard],
    pulse: Pulse,
    *,
    now: Callable[[], int],
    clock_ms: Callable[[], int],
    moved: Callable[[int, int], None] = lambda group_id, seq: None,
) -> None:
    """Tell the shards what is heard, and `moved` each group with its seq, for ever. A supervised task.

    `now` is Unix ms, `clock_ms` never goes back.
    """
    for shard in shards:
        shard.begin_doubt(now())  # of what changed before we heard anything

    def hear(batch: Batch) -> None:
        if batch.deliveries:
            pulse.hear(clock_ms(), random.random())  # noqa: S311 (jitter)
        for shard in shards:
            _tell(shard, batch, now())
        tell_moved(batch, moved)

    await hear_invalidations(bus, topology, name, hear)


def _tell(shard: Shard, batch: Batch, now: int) -> None:
    """Tell a shard; after a gap, or what can't be read, all that was permitted before is looked at again."""
    if batch.gap:
        shard.begin_doubt(now)
    for delivery in batch.deliveries:
        invalidation = decode_invalidation(delivery.body)
        if invalidation is None:
            shard.begin_doubt(now)
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
