"""Peers: a session is given to all who ask for it at once, of whom the registry lets one have it."""

from __future__ import annotations

import asyncio

from services.gateway.core.handover import Gone
from services.gateway.peers import Gift, Peers
from shared.lifecycle import Supervisor
from shared.memory_bus import MemoryBus
from shared.topology import Binding, Topology
from tests.waiting import wait_until

GIFT = Gift(7, 5, {"u:7": 3}, [], b"")


async def test_who_asks_while_a_session_is_being_given_is_given_it_too() -> None:
    """Both come while it is made ready; who asks only for what nobody was given yet gets nothing."""
    bus, topology = MemoryBus(), Topology()
    gate = asyncio.Event()
    asked = 0
    here = [GIFT]

    async def give(session_id: str, told_s: int, user_id: int) -> Gift | None:
        nonlocal asked
        asked += 1
        await gate.wait()
        return here.pop() if here else None

    async with Supervisor("test") as supervisor:
        one, two, three = [
            Peers(bus, topology, f"{name}.00000001", supervisor, keep_s=60, clock=lambda: 0.0)
            for name in ("one", "two", "three")
        ]
        one.giver = give

        async def serve() -> None:
            own = Binding(topology.events, topology.node_key("one"))
            async with bus.subscribe(topology.node_queue("one"), (own,)) as subscription:
                while True:
                    batch = await subscription.take(16)
                    for delivery in batch.deliveries:
                        one.answer(delivery)
                    await subscription.ack(batch.deliveries)

        supervisor.start("serve", serve())
        await asyncio.sleep(0)
        asking = [asyncio.create_task(peer.ask("one.00000001", "s", 5)) for peer in (two, three)]
        await wait_until(lambda: asked == 2)
        gate.set()
        assert await asyncio.gather(*asking) == [GIFT, GIFT]
        assert isinstance(await three.ask("one.00000001", "s", 5, GIFT.user_id), Gone)
