"""What user slots and exchange partitions do on RabbitMQ, with the nodes' own code: layouts, rates, ways to leave.

A layout binds the users of three nodes, publishes direct messages between them, then lets the first node die and the
others bind its users while the broker takes its queue away; a bystander publishes and binds meanwhile
(`tests.bench.bystander`). `tests.bench.bindings` runs them all.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Final

from deploy.load.usage import cpu_s
from services.gateway.bindings import Bindings
from shared.amqp import open_amqp_bus
from shared.bus import Bus, Subscription, Unroutable
from shared.core.ids import first_id_at
from shared.topology import Binding, Topology
from tests.bench.bystander import Felt, between, open_bystander
from tests.waiting import running

NODES: Final = 3
_PREFIX: Final = "bench"
_AT_ONCE: Final = 64
_CALM_S: Final = 0.5
_GONE_POLL_S: Final = 0.02
_STEP_S: Final = 60.0
_REPEATS: Final = 3
_FIRST_MS: Final = 1_700_000_000_000
_HOUR_MS: Final = 3_600_000
_END: Final = b"end"


@dataclass(frozen=True)
class Plan:
    """How much is measured. `users`: of each node; `rates`: keys bound in one go, a tenth of that one by one."""

    users: int = 5000
    events: int = 500
    rates: int = 2000


@dataclass(frozen=True)
class Layout:
    """Which keys users have, on how many exchanges, and whether users of one slot meet one node."""

    slots: int
    partitions: int
    is_steered: bool

    @cached_property
    def topology(self) -> Topology:
        """The names of this layout."""
        return Topology(_PREFIX, user_slots=self.slots, exchange_partitions=self.partitions)

    def home_of(self, number: int, user_id: int, alive: Sequence[int]) -> int:
        """Return the node of the n-th user: the slot's by rendezvous hash; else in turn, the dead one's too."""
        slot = self.topology.user_slot(user_id)
        if self.is_steered and slot is not None:
            return max(alive, key=lambda node: sha256(b"%d.%d" % (slot, node)).digest())
        node = number % NODES
        return node if node in alive else alive[number // NODES % len(alive)]


@dataclass(frozen=True)
class Measured:
    """What came of one layout. `for_nothing` is a share of 1, `ms` are the bystander's waits.

    From `rebind_s` on all is about the death of a node: until its users were bound elsewhere, how many keys that took,
    until its queue was gone, what the broker's processor did meanwhile.
    """

    slots: int
    partitions: int
    steered: bool
    keys_per_node: int
    bind_all_s: float
    for_nothing: float
    rebind_s: float
    rebound_keys: int
    gone_s: float
    broker_cpu_s: float
    calm_publish_ms: float
    publish_p99_ms: float
    publish_most_ms: float
    bind_most_ms: float


@dataclass(frozen=True)
class Rate:
    """Binds of one queue: how many per second, and the broker's processor time for each."""

    partitions: int
    batched_per_s: float
    batched_cpu_us: float
    single_per_s: float
    single_cpu_us: float


@dataclass(frozen=True)
class Leaving:
    """How a node's keys go: by an unbind for each, or with its queue."""

    way: str
    seconds: float
    broker_cpu_s: float
    publish_p99_ms: float
    publish_most_ms: float
    bind_most_ms: float


class BoundNode:
    """A gateway's queue and bindings without the gateway; counts what comes."""

    def __init__(self, topology: Topology, number: int, bus: Bus, subscription: Subscription) -> None:
        self.topology = topology
        self.key = topology.node_key(f"node-{number}")
        self.bus = bus
        self.subscription = subscription
        self.bindings = Bindings(topology.events)
        self.got: list[int] = []
        self.ended = asyncio.Event()

    async def take(self) -> None:
        """Take deliveries, for ever."""
        while True:
            batch = await self.subscription.take(256)
            for delivery in batch.deliveries:
                if delivery.body == _END:
                    self.ended.set()
                else:
                    self.got.append(int(delivery.body))
            await self.subscription.ack(batch.deliveries)

    async def follow(self, users: Sequence[int]) -> None:
        """Bind what these users need, each as a session of its own; return when all is in force."""
        async with asyncio.timeout(_STEP_S):
            await asyncio.gather(*(self.bindings.add([self.topology.user_key(user)]) for user in users))

    async def wait_gone(self, topology: Topology, key: str) -> float:
        """Wait until nothing is routed under a key any more; return when that was."""
        async with asyncio.timeout(_STEP_S):
            while True:
                try:
                    await self.bus.publish(topology.events, (key,), _END, mandatory=True)
                except Unroutable:
                    return time.monotonic()
                await asyncio.sleep(_GONE_POLL_S)


@asynccontextmanager
async def open_bound(url: str, topology: Topology, number: int) -> AsyncIterator[BoundNode]:
    """Open a node with a connection of its own; the end of the context is the end of its queue."""
    queue = topology.node_queue(f"node-{number}")
    own = Binding(topology.events, topology.node_key(f"node-{number}"))
    async with open_amqp_bus(url, name=queue.name) as bus, bus.subscribe(queue, (own,)) as subscription:
        node = BoundNode(topology, number, bus, subscription)
        async with running(node.take()), running(node.bindings.run(subscription)):
            yield node


def user_ids(count: int) -> list[int]:
    """Return ids as of users who registered within an hour, the same each time."""
    chosen = random.Random(2)  # noqa: S311
    return [first_id_at(_FIRST_MS + ms) for ms in chosen.sample(range(_HOUR_MS), count)]


async def measure_layout(url: str, pid: int, layout: Layout, plan: Plan) -> Measured:
    """Bind, publish, let one die. `pid` is the broker's."""
    topology, everybody = layout.topology, tuple(range(NODES))
    users = range(plan.users * NODES)
    ids = user_ids(len(users))
    homes = [layout.home_of(user, ids[user], everybody) for user in users]
    async with AsyncExitStack() as stack:
        felt = await stack.enter_async_context(open_bystander(url, _PREFIX, layout.partitions))
        first = await stack.enter_async_context(AsyncExitStack())
        nodes = [await first.enter_async_context(open_bound(url, topology, 0))]
        nodes += [await stack.enter_async_context(open_bound(url, topology, number)) for number in everybody[1:]]

        began = time.monotonic()
        await asyncio.gather(
            *(node.follow([ids[user] for user in users if homes[user] == at]) for at, node in enumerate(nodes))
        )
        bind_all_s = time.monotonic() - began
        keys = [int(node.bindings.statistics()["bound"]) for node in nodes]
        for_nothing = await measure_over_delivery(nodes, homes, ids, plan.events)
        calm = time.monotonic()
        await asyncio.sleep(_CALM_S)

        dies, cpu = time.monotonic(), cpu_s(pid)
        leaving = asyncio.create_task(first.aclose())
        moved = {user: layout.home_of(user, ids[user], everybody[1:]) for user in users if homes[user] == 0}
        gone = asyncio.create_task(nodes[1].wait_gone(topology, nodes[0].key))
        await asyncio.gather(
            *(nodes[at].follow([ids[user] for user, home in moved.items() if home == at]) for at in everybody[1:])
        )
        rebound = time.monotonic()
        gone_at = await gone
        await leaving
        cpu = cpu_s(pid) - cpu
        again = sum(int(node.bindings.statistics()["bound"]) for node in nodes[1:]) - sum(keys[1:])
    over = max(rebound, gone_at)
    publishes = between(felt.publishes, dies, over)
    return Measured(
        layout.slots,
        layout.partitions,
        layout.is_steered,
        round(statistics.mean(keys)),
        bind_all_s,
        for_nothing,
        rebound - dies,
        again,
        gone_at - dies,
        cpu,
        statistics.median(between(felt.publishes, calm, dies)),
        percentile(publishes, 0.99),
        publishes[-1],
        max(between(felt.binds, dies, over), default=0.0),
    )


async def measure_over_delivery(
    nodes: Sequence[BoundNode], homes: Sequence[int], ids: Sequence[int], events: int
) -> float:
    """Return the share of the events at the nodes that are repeats or concern nobody there."""
    topology, chosen = nodes[0].topology, random.Random(1)  # noqa: S311
    pairs = [chosen.sample(range(len(ids)), 2) for _ in range(events)]
    places = asyncio.Semaphore(_AT_ONCE)

    async def publish(number: int) -> None:
        async with places:
            keys = topology.keys_of(0, [ids[user] for user in pairs[number]])
            await nodes[0].bus.publish(topology.events, keys, b"%d" % number)

    async with asyncio.timeout(_STEP_S):
        await asyncio.gather(*map(publish, range(events)))
        for node in nodes:
            await nodes[0].bus.publish(topology.events, (node.key,), _END)
            await node.ended.wait()
    wanted = sum(len({homes[user] for user in pair}) for pair in pairs)
    useful = sum(
        len({number for number in node.got if any(homes[user] == at for user in pairs[number])})
        for at, node in enumerate(nodes)
    )
    if useful != wanted:
        raise RuntimeError(f"{wanted - useful} events did not come")
    return 1 - useful / sum(len(node.got) for node in nodes)


async def measure_rate(url: str, pid: int, partitions: int, plan: Plan) -> Rate:
    """Bind new keys to a queue that has none, all at once and one by one; medians of a few times."""
    topology = Topology(_PREFIX, exchange_partitions=partitions)
    batched: list[tuple[float, float]] = []
    single: list[tuple[float, float]] = []
    for _ in range(_REPEATS):
        async with open_bound(url, topology, 0) as node:
            bindings = [Binding(topology.events, topology.group_key(one)) for one in range(1, 1 + plan.rates)]
            some = [Binding(topology.events, topology.group_key(-one)) for one in range(1, 1 + plan.rates // 10)]
            await node.subscription.bind([Binding(part, "g.0") for part in topology.events.parts])  # declares them
            cpu, began = cpu_s(pid), time.monotonic()
            await node.subscription.bind(bindings)
            batched.append((len(bindings) / (time.monotonic() - began), (cpu_s(pid) - cpu) * 1e6 / len(bindings)))
            cpu, began = cpu_s(pid), time.monotonic()
            for one in some:
                await node.subscription.bind([one])
            single.append((len(some) / (time.monotonic() - began), (cpu_s(pid) - cpu) * 1e6 / len(some)))
    (a, b), (c, d) = ([statistics.median(column) for column in zip(*runs, strict=True)] for runs in (batched, single))
    return Rate(partitions, a, b, c, d)


async def measure_leaving(url: str, pid: int, plan: Plan, *, unbinds: bool) -> Leaving:
    """Let a node with a key for each of its users leave, while another stays."""
    layout = Layout(0, 1, is_steered=False)
    async with AsyncExitStack() as stack:
        felt: Felt = await stack.enter_async_context(open_bystander(url, _PREFIX, 1))
        stays = await stack.enter_async_context(open_bound(url, layout.topology, 1))
        async with open_bound(url, layout.topology, 0) as node:
            users = user_ids(plan.users)
            await node.follow(users)
            await asyncio.sleep(_CALM_S)
            cpu, began = cpu_s(pid), time.monotonic()
            if unbinds:
                keys = map(node.topology.user_key, users)
                await node.subscription.unbind([Binding(node.topology.events, key) for key in keys])
        ended = await stays.wait_gone(layout.topology, node.key)
        cpu = cpu_s(pid) - cpu
    publishes = between(felt.publishes, began, ended)
    return Leaving(
        "an unbind for each" if unbinds else "with the queue",
        ended - began,
        cpu,
        percentile(publishes, 0.99),
        publishes[-1],
        max(between(felt.binds, began, ended), default=0.0),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return what this share (0 to 1) of the ordered values is not above."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
