"""Publishing events: the one way from a stored record to the nodes' queues.

Ring 4 (shell). The order of each stream is kept; what goes to the same keys goes together, in envelopes of
a bounded size. Who binds which key: docs/ARCHITECTURE.md, Topology.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from shared.bus import Bus
from shared.core.commands import Events, encode_envelope
from shared.core.stream import Event, size_of
from shared.topology import Topology

ENVELOPE_BYTES: Final = 64 * 1024
"""About how large an envelope of events gets, at most (one event may be larger)."""
_SIDE_BY_SIDE: Final = 64
"""Most sets of keys that are published to at once."""


async def publish_events(bus: Bus, topology: Topology, events: Sequence[Event]) -> None:
    """Publish and return when the bus confirmed all. Raises `BusUnavailable`: some may be out, in order.

    A stream's events all have the same keys, so their order is kept; different keys go side by side.
    """
    by_keys: dict[tuple[str, ...], list[Event]] = {}
    for event in events:
        by_keys.setdefault(topology.keys_of(event.group_id, event.to), []).append(event)
    if len(by_keys) == 1:
        ((keys, its_events),) = by_keys.items()
        await _publish(bus, topology, keys, its_events)
        return
    places = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def publish(keys: tuple[str, ...], its_events: list[Event]) -> None:
        async with places:
            await _publish(bus, topology, keys, its_events)

    outcomes = await asyncio.gather(*(publish(*item) for item in by_keys.items()), return_exceptions=True)
    for outcome in outcomes:
        if outcome is not None:
            raise outcome


async def _publish(bus: Bus, topology: Topology, keys: tuple[str, ...], events: Sequence[Event]) -> None:
    for batch in _envelopes(events):
        await bus.publish(topology.events, keys, encode_envelope(Events(tuple(batch))))


def _envelopes(events: Sequence[Event]) -> Iterator[list[Event]]:
    batch: list[Event] = []
    size = 0
    for event in events:
        its_size = size_of(event.record)
        if batch and size + its_size > ENVELOPE_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += its_size
    yield batch
