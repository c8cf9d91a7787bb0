"""Bindings: counted, in batches, one round at a time, whatever users do and whenever the bus is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.bindings import Bindings
from shared.bus import Batch, BusUnavailable, Delivery
from shared.core.errors import Unavailable
from shared.memory_bus import MemoryBus, MemorySubscription
from shared.topology import Binding, Queue, Topology
from tests.gateway.world import ServedNode, World, open_client, open_node, open_world, settings_of
from tests.waiting import running, wait_until


class Recorded:
    """A subscription that writes down what is asked of it, and lets each call wait for a gate."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.gate = asyncio.Event()
        self.fails = False

    async def bind(self, bindings: Sequence[Binding]) -> None:
        """Bind."""
        self.calls.append(("bind", [binding.key for binding in bindings]))
        await self.gate.wait()
        if self.fails:
            raise BusUnavailable("told to")

    async def unbind(self, bindings: Sequence[Binding]) -> None:
        """Unbind."""
        self.calls.append(("unbind", [binding.key for binding in bindings]))
        await self.gate.wait()


async def test_bindings_are_counted_and_go_in_batches() -> None:
    """Two users of a key are one binding; what is asked while one round is out goes together in the next."""
    bindings, subscription = Bindings(Topology().events), Recorded()
    async with running(bindings.run(subscription)):  # type: ignore[arg-type]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bindings.add(["a"]))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for key in ("b", "c", "a"):
                tasks.create_task(bindings.add([key]))
            await asyncio.sleep(0)
            subscription.gate.set()
        bindings.remove(["a"])
        await asyncio.sleep(0)
        await bindings.add(["b", "c"])
        assert subscription.calls == [("bind", ["a"]), ("bind", ["b", "c"])]
        assert bindings.statistics() == {"bound": 3, "waiting": 0}


async def test_bind_and_unbind_of_a_key_never_cross() -> None:
    """A key that is wanted again while it is being unbound is bound in the round after."""
    bindings, subscription = Bindings(Topology().events), Recorded()
    subscription.gate.set()
    async with running(bindings.run(subscription)):  # type: ignore[arg-type]
        await bindings.add(["a"])
        subscription.gate.clear()
        bindings.remove(["a"])
        while len(subscription.calls) < 2:
            await asyncio.sleep(0)
        again = asyncio.create_task(bindings.add(["a"]))
        await asyncio.sleep(0)
        assert not again.done()
        subscription.gate.set()
        await again
        assert subscription.calls == [("bind", ["a"]), ("unbind", ["a"]), ("bind", ["a"])]


async def test_a_crowd_that_left_is_unbound_bit_by_bit() -> None:
    """After some unbinds the broker is left alone for longer than they took; binds don't wait for that."""
    bindings, subscription = Bindings(Topology().events), Recorded()
    subscription.gate.set()
    keys = [str(number) for number in range(200)]
    async with running(bindings.run(subscription)):  # type: ignore[arg-type]
        await bindings.add(keys)
        subscription.gate.clear()
        bindings.remove(keys)
        await asyncio.sleep(0.2)
        subscription.gate.set()
        await bindings.add(["new"])
        assert [(what, len(some)) for what, some in subscription.calls] == [("bind", 200), ("unbind", 64), ("bind", 1)]
        await wait_until(lambda: bindings.statistics() == {"bound": 1, "waiting": 0})
        assert [key for what, some in subscription.calls if what == "unbind" for key in some] == keys


async def test_a_rest_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long some unbinds took, the next come after the longest rest."""
    monkeypatch.setattr("services.gateway.bindings._RESTS", 1e9)
    monkeypatch.setattr("services.gateway.bindings._MOST_REST_S", 0.01)
    bindings, subscription = Bindings(Topology().events), Recorded()
    subscription.gate.set()
    keys = [str(number) for number in range(100)]
    async with running(bindings.run(subscription)):  # type: ignore[arg-type]
        await bindings.add(keys)
        bindings.remove(keys)
        await wait_until(lambda: bindings.statistics() == {"bound": 0, "waiting": 0})


async def test_a_bind_that_may_have_failed_is_told() -> None:
    """Whoever waits hears it; the subscription keeps the key, so the next one finds it bound."""
    bindings, subscription = Bindings(Topology().events), Recorded()
    subscription.fails = True
    subscription.gate.set()
    async with running(bindings.run(subscription)):  # type: ignore[arg-type]
        with pytest.raises(Unavailable):
            await bindings.add(["a"])
        await bindings.add(["a"])
    assert len(subscription.calls) == 1


STEPS = st.lists(
    st.tuples(st.sampled_from(("add", "remove", "turn", "turn", "lose")), st.sampled_from(("a", "b", "c"))),
    min_size=10,
    max_size=60,
)


class Broken:
    """A subscription that is slow, and loses the bus when told to; it keeps then what was asked, as the real ones."""

    def __init__(self) -> None:
        self.wanted: set[str] = set()
        self.losing = 0

    async def bind(self, bindings: Sequence[Binding]) -> None:
        """Bind."""
        await self._change({binding.key for binding in bindings}, wanted=True)

    async def unbind(self, bindings: Sequence[Binding]) -> None:
        """Unbind."""
        await self._change({binding.key for binding in bindings}, wanted=False)

    async def _change(self, keys: set[str], *, wanted: bool) -> None:
        self.wanted = self.wanted | keys if wanted else self.wanted - keys
        await asyncio.sleep(0)
        if self.losing:
            self.losing -= 1
            raise BusUnavailable("told to")


@given(STEPS)
@settings(max_examples=300)
def test_what_is_used_is_bound_and_nothing_else(steps: list[tuple[str, str]]) -> None:
    """Whoever was told that a key is in force has it bound for as long as it is used, whatever others do to it.

    When all is quiet, exactly what is used is bound.
    """

    async def use(bindings: Bindings, key: str, used: list[str]) -> None:
        try:
            await bindings.add([key])
        except Unavailable:
            bindings.remove([key])
        else:
            used.append(key)

    async def program() -> None:
        bindings, subscription, used = Bindings(Topology().events), Broken(), list[str]()
        async with running(bindings.run(subscription)):  # type: ignore[arg-type]
            async with asyncio.TaskGroup() as tasks:
                for step, key in steps:
                    if step == "add":
                        tasks.create_task(use(bindings, key, used))
                    elif step == "remove" and key in used:
                        used.remove(key)
                        bindings.remove([key])
                    elif step == "lose":
                        subscription.losing += 1
                    elif step == "turn":
                        await asyncio.sleep(0)
                        assert set(used) <= subscription.wanted
            async with asyncio.timeout(5):
                while bindings.statistics() != {"bound": len(set(used)), "waiting": 0}:
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert subscription.wanted == set(used)

    asyncio.run(program())


class Watched:
    """A node's subscription whose binds and unbinds are written down."""

    def __init__(self, subscription: MemorySubscription, asked: list[tuple[str, str]]) -> None:
        self._subscription = subscription
        self._asked = asked

    async def take(self, limit: int) -> Batch:
        """See `shared.bus.Subscription`."""
        return await self._subscription.take(limit)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """See `shared.bus.Subscription`."""
        await self._subscription.ack(deliveries)

    async def bind(self, bindings: Sequence[Binding]) -> None:
        """See `shared.bus.Subscription`."""
        self._asked += [("bind", binding.key) for binding in bindings]
        await self._subscription.bind(bindings)

    async def unbind(self, bindings: Sequence[Binding]) -> None:
        """See `shared.bus.Subscription`."""
        self._asked += [("unbind", binding.key) for binding in bindings]
        await self._subscription.unbind(bindings)


class WatchedBus(MemoryBus):
    """A bus that writes down what nodes bind and unbind."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    @asynccontextmanager
    async def subscribe(  # type: ignore[override]
        self, queue: Queue, bindings: Sequence[Binding] = (), *, prefetch: int = 256
    ) -> AsyncIterator[MemorySubscription | Watched]:
        """Subscribe; watched if it is a node's."""
        async with super().subscribe(queue, bindings, prefetch=prefetch) as subscription:
            yield Watched(subscription, self.asked) if queue.exclusive else subscription


@asynccontextmanager
async def open_hasty(user_slots: int = 0) -> AsyncIterator[tuple[World, ServedNode, list[tuple[str, str]]]]:
    """Open a world with a node that unbinds with the next sweep; with what it binds and unbinds."""
    bus = WatchedBus()
    hasty = settings_of(unbind_linger=timedelta(0))
    async with open_world(bus, user_slots=user_slots) as world, open_node(world, hasty) as node:
        yield world, node, bus.asked


def bound(node: ServedNode) -> float | None:
    """Return how many keys a node has bound."""
    return node.metrics.registry.get_sample_value("starling_gateway_bindings_bound")


async def test_of_two_tabs_the_one_that_stays_keeps_its_keys() -> None:
    """Two tabs, close one: nothing is unbound, and the other goes on; close both: all is."""
    async with open_hasty() as (world, node, asked):
        ann, ben = world.register("ann"), world.register("ben")
        group, channel = await world.create_group(ann)
        direct = await world.open_direct(ann, ben)
        keys = [f"u.{ann.id}", f"g.{group.id}"]
        async with open_client(node, world.token(ann)) as stays:
            async with open_client(node, world.token(ann)):
                pass
            await node.wait_sessions(1)
            await node.gateway.node.sweep_once()
            for where in (channel, direct):
                await world.say(ben, where, "still there?")
                assert (await stays.until("MESSAGE_CREATE"))["d"]["channel_id"] == str(where.id)
            assert asked == [("bind", key) for key in keys]
        await node.wait_sessions(0)
        await node.gateway.node.sweep_once()
        await node.gateway.node.sweep_once()
        await wait_until(lambda: bound(node) == 0)
        assert sorted(asked[2:]) == sorted(("unbind", key) for key in keys)


async def test_a_hundred_reloads_bind_once() -> None:
    """A page that is reloaded over and over costs the broker nothing: its keys linger in between."""
    bus = WatchedBus()
    async with open_world(bus) as world, open_node(world) as node:
        ann = world.register("ann")
        group, channel = await world.create_group(ann)
        for _ in range(100):
            async with open_client(node, world.token(ann)):
                pass
        async with open_client(node, world.token(ann)) as client:
            await node.gateway.node.sweep_once()
            await world.say(ann, channel, "here")
            await client.until("MESSAGE_CREATE")
        assert bus.asked == [("bind", f"u.{ann.id}"), ("bind", f"g.{group.id}")]


async def test_a_late_close_takes_nothing_from_who_came_again() -> None:
    """The old socket of a device that has connected anew is closed last: the new session keeps what both used."""
    async with open_hasty() as (world, node, asked):
        ann = world.register("ann")
        _, channel = await world.create_group(ann)
        async with open_client(node, world.token(ann)) as late, open_client(node, world.token(ann)) as again:
            late.socket.transport.abort()
            await node.wait_detached(1)
            await node.gateway.node.sweep_once()
            await world.say(ann, channel, "here")
            await again.until("MESSAGE_CREATE")
        assert {change for change, _ in asked} == {"bind"}


async def test_users_of_one_slot_share_a_binding() -> None:
    """With slots a node binds a slot once for all its users there, and keeps it until the last of them is gone."""
    async with open_hasty(user_slots=1) as (world, node, asked):
        ann, ben, cem = (world.register(name) for name in ("ann", "ben", "cem"))
        direct = await world.open_direct(ben, cem)
        async with open_client(node, world.token(ben)) as stays:
            async with open_client(node, world.token(ann)):
                assert asked == [("bind", "u.0")]
            await node.wait_sessions(1)
            await node.gateway.node.sweep_once()
            await world.say(cem, direct, "still there?")
            await stays.until("MESSAGE_CREATE")
        await node.wait_sessions(0)
        await node.gateway.node.sweep_once()
        await wait_until(lambda: bound(node) == 0)
        assert asked == [("bind", "u.0"), ("unbind", "u.0")]


async def test_what_a_slot_brings_for_others_is_dropped_and_counted() -> None:
    """An event of a user of the same slot who is elsewhere reaches the node, no session, and the count of foreign."""
    async with open_hasty(user_slots=1) as (world, node, _):
        ann, ben, cem = (world.register(name) for name in ("ann", "ben", "cem"))
        theirs, own = await world.open_direct(ben, cem), await world.open_direct(ann, ben)
        async with open_client(node, world.token(ann)) as client:
            for number in range(3):
                await world.say(cem, theirs, f"not for ann {number}")
            await world.create_group(ben)  # tells ben's own stream
            await world.say(ben, own, "for ann")
            assert (await client.until("MESSAGE_CREATE"))["d"]["content"] == "for ann"
            assert node.metrics.registry.get_sample_value("starling_gateway_hub_events_foreign") == 4
            assert len(client.dispatches) == 2
