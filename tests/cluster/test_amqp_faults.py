"""The AMQP bus while its broker is cut off, refuses, hangs, or takes queues away."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiormq
import pytest

from shared.amqp import AmqpBus, open_amqp_bus
from shared.bus import BusUnavailable, Subscription, Unroutable
from shared.topology import Binding, Exchange, Topology
from tests.proxy import Proxy, open_proxy
from tests.servers import forget_topology
from tests.waiting import wait_until

pytestmark = pytest.mark.servers

_DEADLINE_S = 30.0


@dataclass(frozen=True)
class World:
    """A bus behind a proxy (`behind` is its URL), and one that is not."""

    topology: Topology
    url: str
    behind: str
    proxy: Proxy
    bus: AmqpBus
    steady: AmqpBus

    def key(self, group_id: int) -> Binding:
        """Return the binding that brings a group's events."""
        return Binding(self.topology.events, self.topology.group_key(group_id))

    async def publish(self, body: bytes, group_id: int) -> None:
        """Publish an event by the steady bus; somebody must be bound."""
        key = self.topology.group_key(group_id)
        await self.steady.publish(self.topology.events, (key,), body, mandatory=True)


@pytest.fixture
async def world(rabbitmq_url: str) -> AsyncIterator[World]:
    """Yield a bus behind a proxy, under a prefix of its own. Its deadlines and heartbeats are short."""
    topology = Topology(f"test-{uuid.uuid4().hex[:12]}", shards=1)
    parts = urlsplit(rabbitmq_url)
    async with open_proxy(parts.port or 5672, parts.hostname or "127.0.0.1") as proxy:
        login = parts.netloc.rpartition("@")[0]
        behind = parts._replace(netloc=f"{login}@127.0.0.1:{proxy.port}").geturl()
        async with (
            open_amqp_bus(behind, heartbeat_s=1, timeout_s=5.0) as bus,
            open_amqp_bus(rabbitmq_url) as steady,
        ):
            await wait_until(lambda: bus.connected)
            yield World(topology, rabbitmq_url, behind, proxy, bus, steady)
    await forget_topology(rabbitmq_url, topology, ["a"])


async def take_bodies(subscription: Subscription, count: int) -> list[bytes]:
    """Take and ack exactly `count` deliveries, without a gap."""
    taken: list[bytes] = []
    async with asyncio.timeout(_DEADLINE_S):
        while len(taken) < count:
            batch = await subscription.take(count - len(taken))
            assert not batch.gap
            taken.extend(delivery.body for delivery in batch.deliveries)
            await subscription.ack(batch.deliveries)
    return taken


async def take_gap(subscription: Subscription) -> list[bytes]:
    """Take until the gap; return what came with it, acked. What came before is void."""
    async with asyncio.timeout(_DEADLINE_S):
        while not (batch := await subscription.take(1)).gap:
            pass
        await subscription.ack(batch.deliveries)
        return [delivery.body for delivery in batch.deliveries]


async def test_everything_is_in_force_again_after_a_cut(world: World) -> None:
    """After a cut comes one gap; then all bindings are in force, old and later ones, and publishes and calls work."""
    many = [world.key(group_id) for group_id in range(2, 500)]
    async with world.bus.subscribe(world.topology.node_queue("a"), [world.key(1)]) as subscription:
        await subscription.bind([*many, world.key(1000)])
        await subscription.unbind([world.key(1000)])
        for round_trip in (b"first", b"second"):
            world.proxy.cut()
            await take_gap(subscription)
            for group_id in (1, 2, 499):
                await world.publish(round_trip, group_id)
            assert await take_bodies(subscription, 3) == [round_trip] * 3
            with pytest.raises(Unroutable):
                await world.publish(b"unbound", 1000)
        await world.bus.publish(world.topology.events, ("g.1",), b"from here", mandatory=True)
        assert await take_bodies(subscription, 1) == [b"from here"]
        assert world.bus.connected


async def test_unacked_commands_come_again_after_a_cut(world: World) -> None:
    """A shard that lost its connection gets what it had not acked again, in order; an ack on its way may be lost."""
    sent = [b"%04d" % number for number in range(200)]
    async with world.bus.subscribe(
        world.topology.log_queue(0), world.topology.log_bindings(0), prefetch=50
    ) as subscription:
        for body in sent:
            await world.steady.publish(world.topology.log, ("0",), body)
        acked = await take_bodies(subscription, 20)
        held = await subscription.take(10)
        assert [delivery.body for delivery in held.deliveries] == sent[20 : 20 + len(held.deliveries)]
        world.proxy.cut()
        again = await take_gap(subscription)
        await subscription.ack(held.deliveries)  # void: from before the gap
        while sent[-1] not in again:
            again += await take_bodies(subscription, 1)
        assert len(again) >= len(sent) - len(acked)
        assert again == sent[-len(again) :]


async def test_nothing_confirmed_is_lost_over_many_cuts(world: World) -> None:
    """Publishes that were confirmed through an unsteady connection are all in the durable queue."""
    confirmed: list[bytes] = []
    done = asyncio.Event()

    async def publish() -> None:
        for number in range(1500):
            body = b"%05d" % number
            try:
                await world.bus.publish(world.topology.log, ("0",), body, mandatory=True)
            except BusUnavailable:
                continue
            confirmed.append(body)
        done.set()

    async def cut() -> None:
        for goal in range(300, 1400, 400):
            await wait_until(lambda goal=goal: len(confirmed) >= goal or done.is_set())  # type: ignore[misc]
            world.proxy.cut()

    async with world.steady.subscribe(world.topology.log_queue(0), world.topology.log_bindings(0)) as subscription:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(cut())
            tasks.create_task(publish())
        assert len(confirmed) > 1400
        await world.steady.publish(world.topology.log, ("0",), b"end")
        received: list[bytes] = []
        async with asyncio.timeout(_DEADLINE_S):
            while b"end" not in received:
                batch = await subscription.take(100)
                received.extend(delivery.body for delivery in batch.deliveries)
                await subscription.ack(batch.deliveries)
    assert set(confirmed) <= set(received)
    assert [body for body in received if body in set(confirmed)] == confirmed


async def test_a_deleted_queue_is_a_gap(world: World) -> None:
    """When an operator deletes a queue under its consumer, it is declared and bound again, and the consumer told."""
    async with world.bus.subscribe(world.topology.rpc_queue("a"), world.topology.rpc_bindings("a")) as subscription:
        connection = await aiormq.connect(world.url)
        channel = await connection.channel()
        await channel.queue_delete(world.topology.rpc_queue("a").name)
        await connection.close()
        await take_gap(subscription)
        await world.steady.publish(world.topology.rpc, ("a",), b"again", mandatory=True)
        assert await take_bodies(subscription, 1) == [b"again"]


async def test_a_broker_that_is_away_is_waited_for(world: World) -> None:
    """While the broker refuses, publishes and binds fail within their deadline; when it is back all is well again."""
    async with world.bus.subscribe(world.topology.node_queue("a"), [world.key(1)]) as subscription:
        await world.publish(b"before", 1)
        assert await take_bodies(subscription, 1) == [b"before"]
        world.proxy.refuse()
        world.proxy.cut()
        await wait_until(lambda: not world.bus.connected)
        with pytest.raises(BusUnavailable):
            await world.bus.publish(world.topology.events, ("g.1",), b"lost")
        with pytest.raises(BusUnavailable):
            await subscription.bind([world.key(2)])
        await world.proxy.accept()
        await take_gap(subscription)
        await world.publish(b"kept", 2)
        assert await take_bodies(subscription, 1) == [b"kept"]
        await world.bus.publish(world.topology.events, ("g.1",), b"after", mandatory=True)
        assert await take_bodies(subscription, 1) == [b"after"]


async def test_a_publish_waits_for_a_short_absence(world: World) -> None:
    """What was not sent yet when the connection broke is sent on the next one, in the order of the calls."""
    async with world.steady.subscribe(world.topology.log_queue(0), world.topology.log_bindings(0)) as subscription:
        world.proxy.cut()
        await wait_until(lambda: not world.bus.connected)
        async with asyncio.TaskGroup() as tasks:
            for number in range(50):
                tasks.create_task(world.bus.publish(world.topology.log, ("0",), b"%02d" % number))
        assert await take_bodies(subscription, 50) == [b"%02d" % number for number in range(50)]


async def test_a_subscription_without_a_broker_fails_in_time(world: World) -> None:
    """Entering a subscription raises at its deadline while there is no broker, and works when it is there."""
    world.proxy.refuse()
    world.proxy.cut()
    await wait_until(lambda: not world.bus.connected)
    with pytest.raises(BusUnavailable):
        async with world.bus.subscribe(world.topology.node_queue("a")):
            pytest.fail("there is no broker")
    await world.proxy.accept()
    await wait_until(lambda: world.bus.connected)
    async with world.bus.subscribe(world.topology.node_queue("a"), [world.key(1)]) as subscription:
        await world.publish(b"there", 1)
        assert await take_bodies(subscription, 1) == [b"there"]


async def test_a_half_open_connection_is_noticed(world: World) -> None:
    """A connection on which nothing comes any more is given up within ten seconds, and replaced."""
    async with world.bus.subscribe(world.topology.node_queue("a"), [world.key(1)]) as subscription:
        world.proxy.silence()
        await wait_until(lambda: not world.bus.connected, deadline_s=10.0)
        world.proxy.cut()
        world.proxy.resume()
        await take_gap(subscription)
        await world.publish(b"back", 1)
        assert await take_bodies(subscription, 1) == [b"back"]


async def test_a_half_open_connection_can_be_closed(world: World) -> None:
    """A process that is told to end does so within seconds, whatever its broker does."""
    async with asyncio.timeout(10):
        async with (
            open_amqp_bus(world.behind, timeout_s=2.0) as bus,
            bus.subscribe(world.topology.node_queue("b"), [world.key(1)]),
        ):
            world.proxy.silence()
    world.proxy.cut()
    world.proxy.resume()


async def test_a_call_in_flight_learns_of_the_cut(world: World) -> None:
    """A call whose connection is lost fails at once, not at its deadline."""
    async with world.steady.subscribe(world.topology.rpc_queue("a"), world.topology.rpc_bindings("a")) as served:
        asking = asyncio.ensure_future(world.bus.call(world.topology.rpc, "a", b"?", timeout_s=_DEADLINE_S))
        assert await take_bodies(served, 1) == [b"?"]
        world.proxy.cut()
        with pytest.raises(BusUnavailable):
            async with asyncio.timeout(5):
                await asking


async def test_an_error_on_one_channel_leaves_the_others_alone(world: World) -> None:
    """A publish that the broker answers by closing the channel fails alone: subscriptions see no gap."""
    wrong = Exchange(world.topology.events.name, kind="fanout")
    async with world.bus.subscribe(world.topology.node_queue("a"), [world.key(1)]) as subscription:
        with pytest.raises(BusUnavailable):
            await world.bus.publish(wrong, ("g.1",), b"wrong kind")
        await world.bus.publish(world.topology.events, ("g.1",), b"right", mandatory=True)
        assert await take_bodies(subscription, 1) == [b"right"]
