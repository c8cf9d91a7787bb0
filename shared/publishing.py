"""Publishing events: the one way from a stored record to the nodes' queues.

Ring 4 (shell). The order of each stream is kept; what goes together, in envelopes of a bounded size, is
`shared.core.packing`'s decision. Who binds which key: docs/ARCHITECTURE.md, Topology.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from shared.bus import Bus
from shared.core.commands import Events, encode_envelope
from shared.core.packing import Keys, Packed, pack
from shared.core.stream import Event
from shared.topology import Topology

_SIDE_BY_SIDE: Final = 64
"""Most envelopes that wait for their confirm at once."""


async def publish_events(
    bus: Bus,
    topology: Topology,
    events: Sequence[Event],
    *,
    most_keys: int = 1,
    observe: Callable[[Packed], None] = lambda _: None,
) -> None:
    """Publish and return when the bus confirmed all. Raises `BusUnavailable`: some may be out, in order.

    A stream's events all have the same keys, so their order is kept; up to `most_keys` go into one publish (an
    event's own always do). `observe` is told of each envelope that was confirmed.
    """
    by_keys: dict[Keys, list[Event]] = {}
    for event in events:
        by_keys.setdefault(topology.keys_of(event.group_id, event.to), []).append(event)
    places = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def publish(train: Sequence[Packed]) -> None:
        async with places:
            for packed in train:
                await bus.publish(topology.events, packed.keys, encode_envelope(Events(tuple(packed.events))))
                observe(packed)

    trains = pack(by_keys, most_keys)
    if len(trains) == 1:
        await publish(trains[0])
        return
    for outcome in await asyncio.gather(*map(publish, trains), return_exceptions=True):
        if outcome is not None:
            raise outcome
