"""What a node says of what it decoded."""

from __future__ import annotations

from services.gateway.reporting import Reporting
from shared.core.signs import Decoded, decode_sign
from shared.memory_bus import MemoryBus
from shared.topology import Binding, Topology

TOPOLOGY = Topology("test")


async def test_only_what_is_new_is_said_and_silence_is_silent() -> None:
    """A report tells what came since the one before; a node that decoded nothing says nothing."""
    bus, counts = MemoryBus(), [Decoded(7, 3)]
    reporting = Reporting(bus, TOPOLOGY, lambda: counts[-1])
    binding = Binding(TOPOLOGY.events, TOPOLOGY.replicas_key("history"))
    async with bus.subscribe(TOPOLOGY.replica_queue("a"), (binding,)) as subscription:
        for now in (Decoded(7, 3), Decoded(17, 5), Decoded(17, 5), Decoded(18, 9)):
            counts.append(now)
            await reporting.report()
        batch = await subscription.take(10)
    assert [decode_sign(delivery.body) for delivery in batch.deliveries] == [Decoded(10, 2), Decoded(1, 1)]
