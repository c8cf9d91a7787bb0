"""Publishing on a bus: one publish for many keys, every stream in order, one copy per node."""

from __future__ import annotations

from shared.core.commands import Events, decode_for_node
from shared.core.message_events import MessageCreated
from shared.core.model import User
from shared.core.packing import Packed
from shared.core.stream import Event, Record
from shared.memory_bus import MemoryBus
from shared.publishing import publish_events
from shared.topology import Binding, Topology

TOPOLOGY = Topology("test")
ANN = User(1, "ann")


def event_of(group_id: int, seq: int) -> Event:
    """Return a message of a group's channel."""
    return Event(f"c:{group_id}", Record(seq, 0, MessageCreated(ANN, "x"), id=seq), group_id)


async def test_a_batch_reaches_each_node_once() -> None:
    """A node bound to two of a batch's groups gets one delivery with all; alone under a key goes what was asked so."""
    bus = MemoryBus()
    batch = [event_of(5, 1), event_of(6, 1), event_of(5, 2), event_of(7, 1)]
    bindings = [Binding(TOPOLOGY.events, TOPOLOGY.group_key(group_id)) for group_id in (5, 6)]
    published: list[Packed] = []
    async with bus.subscribe(TOPOLOGY.node_queue("n"), bindings) as subscription:
        await publish_events(bus, TOPOLOGY, batch, most_keys=64, observe=published.append)
        await publish_events(bus, TOPOLOGY, batch)
        deliveries = (await subscription.take(10)).deliveries
    envelopes = [decode_for_node(delivery.body) for delivery in deliveries]
    together, *apart = [one.items for one in envelopes if isinstance(one, Events)]
    assert sorted(together, key=lambda event: event.group_id) == [batch[0], batch[2], batch[1], batch[3]]
    assert sorted(apart, key=len) == [(batch[1],), (batch[0], batch[2])]
    assert [packed.keys for packed in published] == [("g.5", "g.6", "g.7")]
