"""What a bus promises, in memory and on RabbitMQ alike."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest

from shared.amqp import open_amqp_bus
from shared.bus import (
    Batch,
    Bus,
    BusUnavailable,
    CallTimeout,
    Delivery,
    Subscription,
    SubscriptionClosed,
    Unroutable,
)
from shared.memory_bus import MemoryBus
from shared.topology import Binding, Queue, Topology
from tests.servers import forget_topology

_SHARDS = 2
_DEADLINE_S = 30.0


@dataclass(frozen=True)
class World:
    """Two processes on one broker: `bus` and `other` have different connections where there are any."""

    topology: Topology
    bus: Bus
    other: Bus

    def node(self, name: str = "a", *, max_bytes: int = 0) -> Queue:
        """Return an exclusive queue."""
        return replace(self.topology.node_queue(name), max_bytes=max_bytes)

    def key(self, group_id: int) -> Binding:
        """Return the binding that brings a group's events."""
        return Binding(self.topology.events, self.topology.group_key(group_id))

    async def publish(self, body: bytes, *group_ids: int) -> None:
        """Publish an event that somebody must be there for."""
        keys = [self.topology.group_key(group_id) for group_id in group_ids]
        await self.bus.publish(self.topology.events, keys, body, mandatory=True)

    async def append(self, *bodies: bytes) -> None:
        """Publish commands to shard 0."""
        for body in bodies:
            await self.bus.publish(self.topology.log, ("0",), body)


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.servers)])
def broker(request: pytest.FixtureRequest) -> str:
    """Return where the bus of this test runs: an AMQP URL, or nothing for memory."""
    return "" if request.param == "memory" else str(request.getfixturevalue("rabbitmq_url"))


@pytest.fixture
async def world(broker: str) -> AsyncIterator[World]:
    """Yield two buses under a prefix of their own."""
    topology = Topology(f"test-{uuid.uuid4().hex[:12]}", shards=_SHARDS)
    if not broker:
        bus = MemoryBus()
        yield World(topology, bus, bus)
        return
    async with open_amqp_bus(broker) as one, open_amqp_bus(broker) as other:
        yield World(topology, one, other)
    await forget_topology(broker, topology, ["a", "b"])


async def take_count(
    subscription: Subscription, count: int, *, ack: bool = True, deadline_s: float = _DEADLINE_S
) -> list[Delivery]:
    """Take exactly `count` deliveries, without a gap."""
    taken: list[Delivery] = []
    async with asyncio.timeout(deadline_s):
        while len(taken) < count:
            batch = await subscription.take(count - len(taken))
            assert not batch.gap
            taken.extend(batch.deliveries)
            if ack:
                await subscription.ack(batch.deliveries)
    return taken


async def take_gap(subscription: Subscription) -> Batch:
    """Take, without acking, until a gap comes; return its batch."""
    async with asyncio.timeout(_DEADLINE_S):
        while True:
            batch = await subscription.take(100)
            if batch.gap:
                return batch


def bodies_of(deliveries: Sequence[Delivery]) -> list[bytes]:
    """Return what was published."""
    return [delivery.body for delivery in deliveries]


def numbered(count: int) -> list[bytes]:
    """Return distinct bodies in order."""
    return [b"%06d" % number for number in range(count)]


async def test_publishes_keep_the_order_of_the_calls(world: World) -> None:
    """Ten thousand publishes, a thousand in flight at a time, arrive in the order of their calls, each once."""
    sent = numbered(10_000)
    async with (
        world.other.subscribe(world.topology.log_queue(0), world.topology.log_bindings(0)) as subscription,
        asyncio.TaskGroup() as taker,
    ):
        taking = taker.create_task(take_count(subscription, len(sent), deadline_s=100))
        for start in range(0, len(sent), 1000):
            async with asyncio.TaskGroup() as publishers:
                for body in sent[start : start + 1000]:
                    publishers.create_task(world.append(body))
    assert bodies_of(taking.result()) == sent


async def test_a_queue_gets_one_copy_of_a_publish(world: World) -> None:
    """A publish under several keys is copied once into each queue that has any of them."""
    both = (world.key(1), world.key(2))
    async with (
        world.bus.subscribe(world.node("a"), both) as first,
        world.other.subscribe(world.node("b"), both[1:]) as second,
    ):
        await world.publish(b"both", 1, 2, 3)
        await world.publish(b"last", 2)
        assert bodies_of(await take_count(first, 2)) == [b"both", b"last"]
        assert bodies_of(await take_count(second, 2)) == [b"both", b"last"]


async def test_an_exchange_in_partitions_is_one_to_who_uses_it(broker: str) -> None:
    """Each key has its part: bound and published there; keys of several parts are at most a copy for each part."""
    topology = Topology(f"test-{uuid.uuid4().hex[:12]}", shards=1, exchange_partitions=4)
    keys = [topology.group_key(group_id) for group_id in range(20)]
    bindings = [Binding(topology.events, key) for key in keys]
    async with AsyncExitStack() as stack:
        bus: Bus = await stack.enter_async_context(open_amqp_bus(broker)) if broker else MemoryBus()
        if broker:
            stack.push_async_callback(forget_topology, broker, topology)
        subscription = await stack.enter_async_context(bus.subscribe(topology.node_queue("a"), bindings[:1]))
        await subscription.bind(bindings[1:])
        for key in keys:
            await bus.publish(topology.events, (key,), key.encode(), mandatory=True)
        assert bodies_of(await take_count(subscription, 20)) == [key.encode() for key in keys]
        await bus.publish(topology.events, keys, b"all", mandatory=True)
        await bus.publish(topology.events, keys[-1:], b"last", mandatory=True)
        taken = bodies_of(await take_count(subscription, 2))
        while b"last" not in taken:
            taken += bodies_of(await take_count(subscription, 1))
        assert 1 <= taken.count(b"all") <= len(topology.events.parts) == 4
        await subscription.unbind(bindings[1:])
        await bus.publish(topology.events, keys, b"one part is enough", mandatory=True)
        with pytest.raises(Unroutable):
            await bus.publish(topology.events, keys[1:], b"none", mandatory=True)


async def test_a_fanout_reaches_every_process(world: World) -> None:
    """An invalidation comes to each process, whatever its key."""
    bindings = (Binding(world.topology.invalidate),)
    async with (
        world.bus.subscribe(world.topology.invalidation_queue("a"), bindings) as first,
        world.other.subscribe(world.topology.invalidation_queue("b"), bindings) as second,
    ):
        await world.bus.publish(world.topology.invalidate, ("any",), b"drop")
        assert bodies_of(await take_count(first, 1) + await take_count(second, 1)) == [b"drop", b"drop"]


async def test_bindings_are_in_force_on_return(world: World) -> None:
    """After bind a key is routed, after unbind it is not, also for many at a time, and unknown ones are ignored."""
    many = [world.key(group_id) for group_id in range(600)]
    async with world.other.subscribe(world.node()) as subscription:
        with pytest.raises(Unroutable):
            await world.publish(b"early", 599)
        await subscription.bind(many)
        await world.publish(b"first", 0)
        await world.publish(b"last", 599)
        assert bodies_of(await take_count(subscription, 2)) == [b"first", b"last"]
        await subscription.unbind([*many[1:], world.key(9999)])
        with pytest.raises(Unroutable):
            await world.publish(b"late", 599)
        await world.publish(b"still", 0)
        assert bodies_of(await take_count(subscription, 1)) == [b"still"]


async def test_binds_and_unbinds_of_one_key_do_not_cross(world: World) -> None:
    """However fast a key is bound and unbound, the last call decides."""
    async with world.bus.subscribe(world.node()) as subscription:
        for last_is_bind in (True, False):
            async with asyncio.TaskGroup() as tasks:
                for _ in range(20):
                    tasks.create_task(subscription.unbind([world.key(1)]))
                    tasks.create_task(subscription.bind([world.key(1)]))
                if not last_is_bind:
                    tasks.create_task(subscription.unbind([world.key(1)]))
            if last_is_bind:
                await world.publish(b"bound", 1)
                assert bodies_of(await take_count(subscription, 1)) == [b"bound"]
            else:
                with pytest.raises(Unroutable):
                    await world.publish(b"unbound", 1)


async def test_what_was_not_acked_comes_again_in_order(world: World) -> None:
    """A consumer that ends leaves what it did not ack to the next one: first, in order, marked; acked never again."""
    queue, bindings = world.topology.log_queue(0), world.topology.log_bindings(0)
    sent = numbered(10)
    async with world.bus.subscribe(queue, bindings) as subscription:
        await world.append(*sent)
        taken = await take_count(subscription, 10, ack=False)
        await subscription.ack([taken[7], taken[0]])
        await subscription.ack([taken[1]])
    await world.append(b"new")
    async with world.other.subscribe(queue, bindings) as subscription:
        again = await take_count(subscription, 8)
        assert bodies_of(again) == [*sent[2:7], *sent[8:], b"new"]
        assert [delivery.redelivered for delivery in again] == [True] * 7 + [False]


async def test_consumers_compete(world: World) -> None:
    """Two consumers of one queue share its deliveries: each gets some, none is delivered twice."""
    queue, bindings = world.topology.rpc_queue("a"), world.topology.rpc_bindings("a")
    sent = numbered(40)
    async with (
        world.bus.subscribe(queue, bindings, prefetch=20) as first,
        world.other.subscribe(queue, bindings, prefetch=20) as second,
    ):
        for body in sent:
            await world.bus.publish(world.topology.rpc, ("a",), body)
        ours = bodies_of(await take_count(first, 20, ack=False))
        theirs = bodies_of(await take_count(second, 20, ack=False))
    assert sorted(ours + theirs) == sent


async def test_the_first_consumer_is_the_active_one(world: World) -> None:
    """A shard's second consumer gets nothing while the first lives, and everything, in order, once it ended."""
    queue, bindings = world.topology.log_queue(1), world.topology.log_bindings(1)
    sent = numbered(30)
    async with AsyncExitStack() as first_life:
        first = await first_life.enter_async_context(world.bus.subscribe(queue, bindings, prefetch=10))
        async with world.other.subscribe(queue, bindings) as second:
            for body in sent:
                await world.bus.publish(world.topology.log, ("1",), body)
            taken = await take_count(first, 10, ack=False)
            assert bodies_of(taken) == sent[:10]
            await first.ack(taken[:5])
            await take_count(first, 5, ack=False)
            await first_life.aclose()
            assert bodies_of(await take_count(second, 25)) == sent[5:]


async def test_unroutable_is_known_at_once(world: World) -> None:
    """A mandatory publish that no queue is bound for raises; any other is gone without a word."""
    with pytest.raises(Unroutable):
        await world.publish(b"nobody", 1, 2)
    await world.bus.publish(world.topology.events, ("g.1",), b"nobody")


async def test_calls_are_answered(world: World) -> None:
    """Each of many calls at a time gets its own answer."""
    async with world.other.subscribe(world.topology.rpc_queue("a"), world.topology.rpc_bindings("a")) as served:

        async def ask(body: bytes) -> bytes:
            return await world.bus.call(world.topology.rpc, "a", body, timeout_s=_DEADLINE_S)

        asking = [asyncio.ensure_future(ask(body)) for body in numbered(50)]
        for delivery in reversed(await take_count(served, 50)):
            await world.other.reply(delivery, b"re " + delivery.body)
        assert await asyncio.gather(*asking) == [b"re " + body for body in numbered(50)]


async def test_a_call_ends_with_its_deadline(world: World) -> None:
    """An unanswered call raises at its deadline, which its server knows; a late answer goes nowhere, harming none."""
    topology = world.topology
    async with world.other.subscribe(topology.rpc_queue("a"), topology.rpc_bindings("a")) as served:
        with pytest.raises(CallTimeout):
            await world.bus.call(topology.rpc, "a", b"slow", timeout_s=0.3)
        [late] = await take_count(served, 1)
        assert late.timeout_s == 0.3
        await world.other.reply(late, b"too late")
        asking = asyncio.ensure_future(world.bus.call(topology.rpc, "a", b"quick", timeout_s=_DEADLINE_S))
        [delivery] = await take_count(served, 1)
        await world.other.reply(delivery, b"in time")
        assert await asking == b"in time"


async def test_a_call_expires_in_the_queue(world: World) -> None:
    """Nobody gets to work at a call whose caller has given up."""
    topology = world.topology
    queue, bindings = topology.rpc_queue("b"), topology.rpc_bindings("b")
    async with world.other.subscribe(queue, bindings):
        pass
    with pytest.raises(CallTimeout):
        await world.bus.call(topology.rpc, "b", b"expired", timeout_s=0.1)
    await world.bus.publish(topology.rpc, ("b",), b"next")
    async with world.other.subscribe(queue, bindings) as served:
        assert bodies_of(await take_count(served, 1)) == [b"next"]


async def test_a_call_that_nobody_serves_fails_at_once(world: World) -> None:
    """Without a queue for it a call is refused, not waited for."""
    with pytest.raises(Unroutable):
        await world.bus.call(world.topology.rpc, "a", b"hello?", timeout_s=_DEADLINE_S)


async def test_an_answer_to_nobody_is_nothing(world: World) -> None:
    """Answering what was not a call of anybody alive raises nothing and leaves the bus as it was."""
    async with world.other.subscribe(world.node(), [world.key(1)]) as subscription:
        gone = Delivery(b"", reply_to="amq.rabbitmq.reply-to.gone", correlation_id="1")
        await world.bus.reply(gone, b"anybody?")
        await world.publish(b"goes on", 1)
        assert bodies_of(await take_count(subscription, 1)) == [b"goes on"]


async def test_overflow_is_a_gap(world: World) -> None:
    """A bounded queue that dropped something tells so, voids what came before, and goes on with its bindings."""
    async with world.other.subscribe(world.node(max_bytes=20_000), [world.key(1)], prefetch=2) as subscription:
        await subscription.bind([world.key(2)])
        # Just above the bound, less what the prefetch takes out: one overflow, not two.
        for body in numbered(20):
            await world.bus.publish(world.topology.events, ("g.1",), body * 200)
        void = await take_gap(subscription)
        await subscription.ack(void.deliveries)
        await world.publish(b"key 1", 1)
        await world.publish(b"key 2", 2)
        async with asyncio.timeout(_DEADLINE_S):
            while (batch := await subscription.take(1)).deliveries[0].body != b"key 1":
                await subscription.ack(batch.deliveries)
        await subscription.ack(batch.deliveries)
        assert bodies_of(await take_count(subscription, 1)) == [b"key 2"]


async def test_a_durable_queue_waits_for_its_first_consumer(world: World) -> None:
    """Declared and bound without one it keeps what comes, tells how much, and drops its oldest above its bound."""
    queue = replace(world.topology.dead_queue(), max_bytes=20_000)
    bindings = world.topology.dead_bindings()
    assert await world.bus.declare(queue, bindings) == 0
    sent = [body * 200 for body in numbered(30)]
    for body in sent:
        await world.bus.publish(world.topology.log, (world.topology.dead_key(),), body, mandatory=True)
    kept = await world.other.declare(queue, bindings)
    assert 10 <= kept <= 16
    async with world.other.subscribe(queue, bindings) as subscription:
        assert bodies_of(await take_count(subscription, kept, ack=False)) == sent[-kept:]
        assert await world.bus.declare(queue, bindings) == 0, "what somebody has in hand is not counted"
    async with world.other.subscribe(queue, bindings) as subscription:
        assert bodies_of(await take_count(subscription, kept)) == sent[-kept:], "given back in order"


async def test_prefetch_bounds_what_is_unacked(world: World) -> None:
    """A consumer holds at most its prefetch; the rest goes to others, and acking brings more."""
    queue, bindings = world.topology.rpc_queue("a"), world.topology.rpc_bindings("a")
    sent = numbered(21)
    async with world.bus.subscribe(queue, bindings, prefetch=5) as bounded:
        for body in sent[:20]:
            await world.bus.publish(world.topology.rpc, ("a",), body)
        held = await take_count(bounded, 5, ack=False)
        async with world.other.subscribe(queue, bindings, prefetch=100) as other:
            assert bodies_of(await take_count(other, 15)) == sent[5:20]
        await bounded.ack(held[:1])
        await world.bus.publish(world.topology.rpc, ("a",), sent[20])
        assert bodies_of(await take_count(bounded, 1)) == sent[20:]


async def test_an_exclusive_queue_ends_with_its_subscription(world: World) -> None:
    """Nothing is routed to a node that has gone, and another of the same name begins empty."""
    async with world.other.subscribe(world.node(), [world.key(1)]) as subscription:
        await world.publish(b"old", 1)
        await take_count(subscription, 1, ack=False)

    async def publish_until_refused() -> None:
        async with asyncio.timeout(_DEADLINE_S):
            while True:
                await world.publish(b"meanwhile", 1)

    with pytest.raises(Unroutable):
        await publish_until_refused()
    async with world.other.subscribe(world.node(), [world.key(1)]) as subscription:
        await world.publish(b"new", 1)
        assert bodies_of(await take_count(subscription, 1)) == [b"new"]


async def test_take_ends_with_the_subscription(world: World) -> None:
    """Who waits for deliveries learns that there will be none."""
    async with world.bus.subscribe(world.node()) as subscription:
        waiting = asyncio.ensure_future(subscription.take(1))
        await asyncio.sleep(0)
    with pytest.raises(SubscriptionClosed):
        await waiting
    with pytest.raises(SubscriptionClosed):
        await subscription.take(1)


async def test_the_body_of_a_subscription_fails_as_itself(world: World) -> None:
    """An error inside a subscription's context comes out as it is, and what was not acked is given back."""
    queue, bindings = world.topology.log_queue(0), world.topology.log_bindings(0)

    async def fail_inside() -> None:
        async with world.bus.subscribe(queue, bindings) as subscription:
            await world.append(b"unacked")
            await take_count(subscription, 1, ack=False)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_inside()
    async with world.bus.subscribe(queue, bindings) as subscription:
        assert bodies_of(await take_count(subscription, 1)) == [b"unacked"]


async def test_prefixes_do_not_meet(world: World) -> None:
    """Two Starlings on one broker, under two prefixes, hear nothing of each other."""
    stranger = replace(world.topology, prefix=f"{world.topology.prefix}-stranger")
    async with (
        world.bus.subscribe(world.node(), [world.key(1)]) as ours,
        world.bus.subscribe(
            stranger.node_queue("a"), [Binding(stranger.events, "g.1"), Binding(stranger.events, "g.2")]
        ),
    ):
        await world.bus.publish(stranger.events, ("g.1",), b"theirs", mandatory=True)
        await world.publish(b"ours", 1)
        assert bodies_of(await take_count(ours, 1)) == [b"ours"]
        with pytest.raises(Unroutable):
            await world.publish(b"nobody here", 2)


@pytest.mark.servers
async def test_what_the_broker_refuses_to_declare_ends_nothing_else(rabbitmq_url: str) -> None:
    """A queue that is there with other arguments: told as `BusUnavailable`, and publishing goes on."""
    topology = Topology(f"test-{uuid.uuid4().hex[:12]}", shards=1)
    queue = topology.dead_queue()
    async with open_amqp_bus(rabbitmq_url) as bus:
        await bus.declare(queue, topology.dead_bindings())
        with pytest.raises(BusUnavailable, match="PRECONDITION"):
            await bus.declare(replace(queue, max_bytes=1))
        await bus.publish(topology.log, (topology.dead_key(),), b"letter", mandatory=True)
    await forget_topology(rabbitmq_url, topology)


async def test_memory_is_bounded() -> None:
    """The memory bus refuses what does not fit, and takes again once something was acked."""
    topology = Topology()
    bus = MemoryBus(max_bytes=10_000)
    async with bus.subscribe(topology.log_queue(0), topology.log_bindings(0)) as subscription:

        async def fill() -> None:
            while True:
                await bus.publish(topology.log, ("0",), b"x" * 1000)

        with pytest.raises(BusUnavailable):
            await fill()
        await subscription.ack((await subscription.take(1)).deliveries)
        await bus.publish(topology.log, ("0",), b"x" * 1000)
