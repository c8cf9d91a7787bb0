"""Following: sessions that open while things happen, lost publishes, lost queues, services that are away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest

from services.gateway.backlog import Backlog
from services.gateway.core.hub import Hub
from services.gateway.core.outs import Repair
from services.gateway.core.state import HELD_EVENTS
from services.gateway.memory_registry import MemoryRegistry
from services.gateway.registrar import Registrar
from services.gateway.registry import Lifted, Link, RegistryUnavailable, SessionEntry
from shared.core import calls
from shared.core.message_events import MessageCreated
from shared.core.model import Channel, ChannelType, User
from shared.core.stream import Event, Record, channel_stream
from shared.memory_bus import MemoryBus, MemorySubscription
from shared.rpc import Rpc
from shared.topology import Binding, Queue
from tests.gateway.world import Client, World, open_client, open_node, open_world, settings_of
from tests.waiting import running


class LossyBus(MemoryBus):
    """A bus that can lose a node's queue."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[MemorySubscription] = []

    @asynccontextmanager
    async def subscribe(
        self, queue: Queue, bindings: Sequence[Binding] = (), *, prefetch: int = 256
    ) -> AsyncIterator[MemorySubscription]:
        """Subscribe, and remember it if it is a node's."""
        async with super().subscribe(queue, bindings, prefetch=prefetch) as subscription:
            if queue.exclusive:
                self.nodes.append(subscription)
            yield subscription


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Open a world whose node queues can be lost."""
    async with open_world(LossyBus()) as opened:
        yield opened


async def read_messages(client: Client, count: int) -> list[tuple[str, int]]:
    """Return channel and seq of the first `count` messages that a client ever got."""
    while len(client.got("MESSAGE_CREATE")) < count:
        await client.receive()
    return [(message["channel_id"], message["seq"]) for message in client.got("MESSAGE_CREATE")]


async def test_what_happens_while_a_session_opens_is_neither_short_nor_double(world: World) -> None:
    """Bind first, then read: heads in GUILD_CREATE and the events after it fit without a gap or a repeat (rule 8)."""
    ann, ben = world.register("ann"), world.register("ben")
    group, channel = await world.create_group(ann)
    async with open_node(world) as node, open_client(node) as client:
        gates = [world.gates.setdefault(kind, asyncio.Event()) for kind in (calls.ReadSessions, calls.ReadGroups)]
        identified = asyncio.create_task(client.identify(world.token(ann)))
        for gate, kind in zip(gates, (calls.ReadSessions, calls.ReadGroups), strict=True):
            while kind not in {type(call) for call in world.asked}:
                await asyncio.sleep(0)
            await world.say(ann, channel, "while it is read")
            more = await world.create_channel(group, "more")
            await world.say(ann, more, "in a new channel")
            gate.set()
        await world.join(ben, group)
        await world.say(ann, channel, "after")
        await identified
        await world.say(ann, channel, "end")
        while not (messages := client.got("MESSAGE_CREATE")) or messages[-1]["content"] != "end":
            await client.receive()
    (created,) = client.got("GUILD_CREATE")
    heads = {one["id"]: one["last_seq"] for one in created["channels"]}
    seq = created["last_seq"]
    for frame in client.dispatches:
        d = frame["d"]
        if frame["t"] == "MESSAGE_CREATE":
            heads[d["channel_id"]] += 1
            assert d["seq"] == heads[d["channel_id"]]
        elif frame["t"] in ("CHANNEL_CREATE", "GUILD_MEMBER_ADD"):
            seq += 1
            assert d["seq"] == seq
            if frame["t"] == "CHANNEL_CREATE":
                heads[d["id"]] = d["last_seq"]
    assert heads == {str(one.id): len(world.streams[f"c:{one.id}"]) for one in world.channels.values()}
    assert seq == len(world.streams[f"g:{group.id}"])


async def test_a_join_reaches_the_sessions_that_are_there(world: World) -> None:
    """A user who joins by REST gets GUILD_CREATE on every device, then the messages; leaving ends it at once."""
    ann, ben = world.register("ann"), world.register("ben")
    group, channel = await world.create_group(ann)
    async with open_node(world) as node, open_client(node, world.token(ben)) as client:
        world.failing[calls.ReadGroups] = 2
        await world.join(ben, group)
        await client.until("GUILD_CREATE")
        await world.say(ann, channel, "welcome")
        assert await read_messages(client, 1) == [(str(channel.id), 1)]
        await world.leave(ben, group)
        await world.say(ann, channel, "gone?")
        deleted = (await client.until("GUILD_DELETE"))["d"]
        assert deleted["id"] == str(group.id)
        await client.send(1)
        await client.until(11)
        assert len(client.got("MESSAGE_CREATE")) == 1


async def test_a_lost_publish_is_repaired_in_order(world: World) -> None:
    """A hole in a stream is read before anything behind it is delivered, however often the read fails."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    async with open_node(world) as node, open_client(node, world.token(ann)) as client:
        world.failing[calls.ReadChannelEvents] = 2
        world.losing = 1
        for text in ("lost", "seen", "too"):
            await world.say(ann, channel, text)
        assert await read_messages(client, 3) == [(str(channel.id), seq) for seq in (1, 2, 3)]


async def test_what_was_imported_is_no_news(world: World) -> None:
    """Old messages of a followed channel are dispatched to nobody; the next new one is, with its seq behind them."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    async with open_node(world) as node, open_client(node, world.token(ann)) as client:
        world.imports(ann, channel, 200)
        await world.say(ann, channel, "new")
        await world.say(ann, channel, "newer")
        assert await read_messages(client, 2) == [(str(channel.id), 201), (str(channel.id), 202)]


async def test_who_resumes_over_an_import_begins_anew(world: World) -> None:
    """The events between are old messages, to be found in pages; so there is no backlog, and none with a hole."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    world.imports(ann, channel, 20)
    backlog = Backlog(Rpc(world.bus, world.topology), lambda: 0.0)
    assert await backlog.read(channel_stream(channel.id), 3, 20) is None
    await world.say(ann, channel, "new")
    missed = await backlog.read(channel_stream(channel.id), 20, 21)
    assert missed is not None
    assert [event.record.seq for event in missed] == [21]


async def test_a_hole_delays_only_its_own_unit(world: World) -> None:
    """While one group waits for what it missed, another goes on."""
    ann = world.register("ann")
    _, broken = await world.create_group(ann, "one")
    _, other = await world.create_group(ann, "two")
    async with open_node(world) as node, open_client(node, world.token(ann)) as client:
        gate = world.gates[calls.ReadGroups] = asyncio.Event()
        world.losing = 1
        await world.say(ann, broken, "lost")
        await world.say(ann, broken, "held back")
        await world.say(ann, other, "goes on")
        assert await read_messages(client, 1) == [(str(other.id), 1)]
        gate.set()
        assert (await read_messages(client, 3))[1:] == [(str(broken.id), 1), (str(broken.id), 2)]


async def test_bots_know_a_direct_channel_by_its_first_message(world: World) -> None:
    """Their libraries take CHANNEL_CREATE for a group's; everybody else is told."""
    ann, bot = world.register("ann"), world.register("robin", bot=True)
    async with (
        open_node(world) as node,
        open_client(node, world.token(ann)) as person,
        open_client(node, world.token(bot)) as robot,
    ):
        channel = await world.open_direct(ann, bot)
        await world.say(ann, channel, "hello")
        await robot.until_content("hello")
        await person.until_content("hello")
    assert not robot.got("CHANNEL_CREATE")
    assert len(person.got("CHANNEL_CREATE")) == 1


async def test_a_lost_queue_is_repaired_before_it_goes_on(world: World) -> None:
    """After a gap every stream is compared: messages, members, new channels and new direct channels all arrive."""
    ann, ben = world.register("ann"), world.register("ben")
    group, channel = await world.create_group(ann)
    direct = await world.open_direct(ann, ben)
    async with open_node(world) as node, open_client(node, world.token(ann)) as client:
        world.losing = 10_000
        await world.say(ann, channel, "lost")
        await world.join(ben, group)
        more = await world.create_channel(group, "more")
        await world.say(ann, more, "lost too")
        await world.say(ben, direct, "psst")
        cleo = world.register("cleo")
        fresh = await world.open_direct(cleo, ann)
        await world.say(cleo, fresh, "hello")
        second, _ = await world.create_group(cleo, "second")
        await world.join(ann, second)
        world.losing = 0
        assert isinstance(world.bus, LossyBus)
        for subscription in world.bus.nodes:
            subscription.lose()
        await read_messages(client, 4)
        while len(client.got("CHANNEL_CREATE")) < 2 or len(client.got("GUILD_CREATE")) < 2:
            await client.receive()
    assert sorted(await read_messages(client, 4)) == sorted(
        [(str(channel.id), 1), (str(more.id), 1), (str(direct.id), 2), (str(fresh.id), 2)]
    )
    assert [member["user"]["username"] for member in client.got("GUILD_MEMBER_ADD")] == ["ben"]
    assert {one["id"] for one in client.got("CHANNEL_CREATE")} == {str(more.id), str(fresh.id)}
    assert client.got("GUILD_CREATE")[1]["id"] == str(second.id)


async def test_a_removal_in_a_lost_queue_is_known_before_anything_later(world: World) -> None:
    """Promise 7 holds over a gap: what was said after the removal reaches the removed member on no path."""
    ann, ben, group, channel = await world.create_pair()
    async with open_node(world) as node, open_client(node, world.token(ben)) as client:
        world.losing = 2
        await world.leave(ben, group)
        assert isinstance(world.bus, LossyBus)
        for subscription in world.bus.nodes:
            subscription.lose()
        await world.say(ann, channel, "secret")
        await client.until("GUILD_DELETE")
        await world.say(ann, channel, "secret too")
        await client.send(1)
        await client.until(11)
        assert client.got("MESSAGE_CREATE") == []


async def test_identify_while_groups_is_away_may_be_tried_again(world: World) -> None:
    """A session that can't be opened is closed with a code after which libraries come again; then it works."""
    ann = world.register("ann")
    world.failing[calls.ReadSessions] = 1
    async with open_node(world) as node:
        async with open_client(node) as client:
            await client.send(2, {"token": world.token(ann)})
            assert await client.closed() == 4000
        async with open_client(node, world.token(ann)) as client:
            assert client.ready["user"]["username"] == "ann"


async def test_many_sessions_of_one_user_are_read_once(world: World) -> None:
    """Sessions that open at the same time share one read of the user and one of each group."""
    ann = world.register("ann")
    for number in range(25):
        await world.create_group(ann, f"group {number}")
    all_are_open = asyncio.Barrier(4)
    async with open_node(world) as node, asyncio.TaskGroup() as tasks:

        async def open_one() -> None:
            async with open_client(node, world.token(ann)) as client:
                assert len(client.got("GUILD_CREATE")) == 25
                await all_are_open.wait()

        for _ in range(4):
            tasks.create_task(open_one())
    kinds = [type(call) for call in world.asked]
    assert kinds.count(calls.ReadSessions) == 1
    assert kinds.count(calls.ReadGroups) == 2


async def test_many_who_come_together_are_followed_together(world: World) -> None:
    """Who comes while others are bound and read goes with the next round; a stranger among them harms nobody."""
    people = [world.register(f"user{number}") for number in range(12)]
    comers = [*people[:6], User(4242, "stranger"), *people[6:]]
    gate = world.gates.setdefault(calls.ReadSessions, asyncio.Event())
    async with open_node(world) as node, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(open_client(node)) for _ in comers]
        for client, user in zip(clients, comers, strict=True):
            await client.send(2, {"token": world.token(user)})
            while not world.asked:
                await asyncio.sleep(0)
        async with asyncio.timeout(5):
            while node.gateway.node.statistics()["units_at_work"] < len(comers):
                await asyncio.sleep(0)
        assert sum(isinstance(call, calls.ReadSessions) for call in world.asked) == 1
        gate.set()
        assert await clients.pop(6).closed() == 4004
        for client in clients:
            while not client.got("READY"):
                await client.receive()
        assert node.metrics.registry.get_sample_value("starling_gateway_bindings_bound") == len(people)
    asked = [call.user_ids for call in world.asked if isinstance(call, calls.ReadSessions)]
    assert asked[:2] == [(people[0].id,), tuple(user.id for user in comers[1:])]


async def test_an_answer_that_does_not_come_holds_up_only_those_who_wait_for_it(world: World) -> None:
    """A round that takes long lets the next begin."""
    ann, ben = world.register("ann"), world.register("ben")
    gate = world.gates.setdefault(calls.ReadSessions, asyncio.Event())
    async with open_node(world) as node, open_client(node) as first, open_client(node) as second:
        await first.send(2, {"token": world.token(ann)})
        while not world.asked:
            await asyncio.sleep(0)
        del world.gates[calls.ReadSessions]
        await second.identify(world.token(ben))
        assert not first.got("READY")
        gate.set()
        while not first.got("READY"):
            await first.receive()


async def test_who_comes_back_soon_is_still_followed(world: World) -> None:
    """Following lingers: a reconnect within that time reads but markers; after it nothing is bound or held any more."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    async with open_node(world, settings_of(unbind_linger=timedelta(seconds=60))) as node:
        async with open_client(node, world.token(ann)):
            pass
        await node.wait_sessions(0)
        await world.say(ann, channel, "while away")
        async with open_client(node, world.token(ann)) as client:
            assert client.got("GUILD_CREATE")[0]["channels"][0]["last_seq"] == 1
        followed = [type(call) for call in world.asked if not isinstance(call, calls.ReadMarkers)]
        assert followed == [calls.ReadSessions, calls.ReadGroups]
        await node.wait_sessions(0)
    async with open_node(world, settings_of(unbind_linger=timedelta(0)), name="hasty") as node:
        async with open_client(node, world.token(ann)):
            pass
        await node.wait_sessions(0)
        await node.gateway.node.sweep_once()
        await node.gateway.node.sweep_once()
        values = {
            name: node.metrics.registry.get_sample_value(f"starling_gateway_{name}")
            for name in ("hub_users", "hub_groups", "hub_channels")
        }
        assert set(values.values()) == {0.0}
        async with asyncio.timeout(5):
            while node.metrics.registry.get_sample_value("starling_gateway_bindings_bound"):
                await asyncio.sleep(0.01)


async def test_a_direct_channel_that_turns_up_late_is_told(world: World) -> None:
    """An event of a direct channel that the node never heard of: its users learn of it, and get all of a short one."""
    ann, ben = world.register("ann"), world.register("ben")
    async with open_node(world) as node, open_client(node, world.token(ann)) as client:
        world.losing = 1
        channel = await world.open_direct(ann, ben)
        await world.say(ben, channel, "first")
        created = (await client.until("CHANNEL_CREATE"))["d"]
        assert (created["id"], created["last_seq"]) == (str(channel.id), 1)
        assert await read_messages(client, 1) == [(str(channel.id), 2)]


async def test_a_long_direct_channel_is_told_from_its_head(world: World) -> None:
    """Nobody gets a flood: of a long one the head is told, and what comes after it is delivered."""
    ann, ben = world.register("ann"), world.register("ben")
    async with open_node(world) as node, open_client(node, world.token(ann)) as client:
        world.losing = 101
        channel = await world.open_direct(ann, ben)
        for number in range(100):
            last = await world.say(ben, channel, str(number))
        await world.say(ben, channel, "now")
        created = (await client.until("CHANNEL_CREATE"))["d"]
        assert (created["last_seq"], created["last_message_id"]) == (101, str(last.record.id))
        assert await read_messages(client, 1) == [(str(channel.id), 102)]


def test_what_is_held_back_is_bounded() -> None:
    """Above the bound it is dropped, and the unit is read once more instead: nothing is lost, nothing grows."""
    hub: Hub[str] = Hub()
    ann = User(1, "ann")
    hub.hold("u:1")
    channel = Channel(9, ChannelType.DIRECT, recipients=(ann, User(2, "ben")))
    hub.roster.put_user(calls.SessionView(ann, 1, (), (calls.DirectView(channel, 1, 0),)), 0.0)
    hub.release("u:1", 0.0)
    hub.hold("c:9")
    for seq in range(2, HELD_EVENTS + 4):
        hub.apply(Event("c:9", Record(seq, 0, MessageCreated(ann, "x"), id=seq), to=(1, 2)), 0.0)
    assert len(hub.held_events("c:9")) <= HELD_EVENTS
    assert hub.release("c:9", 0.0) == [Repair("c:9")]
    assert hub.is_held("c:9")


class AwayRegistry(MemoryRegistry):
    """A registry that is away for a while."""

    is_away = False

    async def claim(self, entry: SessionEntry, *, ttl_s: float) -> bool:
        """Claim, unless it is away."""
        if self.is_away:
            raise RegistryUnavailable("away")
        return await super().claim(entry, ttl_s=ttl_s)

    async def touch(self, session_id: str, epoch: int, lifted: Lifted, *, ttl_s: float) -> bool:
        """Touch, unless it is away."""
        if self.is_away:
            raise RegistryUnavailable("away")
        return await super().touch(session_id, epoch, lifted, ttl_s=ttl_s)


async def test_a_registry_that_is_away_harms_no_session(world: World) -> None:
    """Sessions open and talk; they are registered once it is back, at the latest when they would be touched."""
    ann = world.register("ann")
    registry = AwayRegistry()
    registry.is_away = True
    settings = settings_of(resume_window=timedelta(0), heartbeat_interval=timedelta(seconds=1))
    async with open_node(world, settings, registry=registry) as node, open_client(node, world.token(ann)) as client:
        session_id = client.ready["session_id"]
        assert await registry.read(session_id) is None
        registry.is_away = False
        async with asyncio.timeout(5):
            while (entry := await registry.read(session_id)) is None:
                await asyncio.sleep(0.01)
        assert (entry.user_id, entry.epoch) == (ann.id, 1)
        assert session_id.startswith(f"{entry.node}.")
        await client.socket.close()
        async with asyncio.timeout(5):
            while await registry.read(session_id) is not None:
                await asyncio.sleep(0.01)


async def test_the_registrar_keeps_entries_alive() -> None:
    """A session that lives longer than the time to live is still found; one that ended before its claim is not."""
    registry = MemoryRegistry()
    registrar = Registrar(registry, "node.1", ttl_s=0.15)
    registrar.add("s", 1, 0)
    registrar.add("gone", 2, 0)
    registrar.remove("gone")
    async with running(registrar.run()):
        await asyncio.sleep(0.4)  # longer than the time to live
        assert await registry.read("s") is not None
        assert await registry.read("gone") is None


async def test_the_registrar_writes_again_what_the_registry_lost() -> None:
    """A registry that comes back empty is told all at once, also of sessions that lived elsewhere before."""
    registry = MemoryRegistry()
    registrar = Registrar(registry, "node.1", ttl_s=60)
    moved = SessionEntry("moved", 1, 3, (Link("a", 0), Link("node.1", 9)))
    registrar.add("s", 2, 0, b"extra")
    registrar.keep(moved)
    registrar.lift("s", (5, 7))
    registrar.lift("unknown", (5, 7))
    async with running(registrar.run()):
        await wait_read(registry, "s")
        assert await registry.release_many([("s", 1)]) == [True]
        registrar.renew()
        assert await wait_read(registry, "s") == SessionEntry("s", 2, 1, (Link("node.1", 0),), b"extra", (5, 7))
        assert await wait_read(registry, "moved") == moved


class MissingRegistry(MemoryRegistry):
    """A registry that does not answer the first claims, and touches."""

    misses = 1
    missed_touches = 0

    async def claim_many(self, entries: Sequence[SessionEntry], *, ttl_s: float) -> list[bool]:
        """Store the entries, unless it is away."""
        if self.misses:
            self.misses -= 1
            raise RegistryUnavailable("away")
        return await super().claim_many(entries, ttl_s=ttl_s)

    async def touch_many(self, entries: Sequence[SessionEntry], *, ttl_s: float) -> list[bool]:
        """Touch the entries, unless it is away."""
        if self.missed_touches:
            self.missed_touches -= 1
            raise RegistryUnavailable("away")
        return await super().touch_many(entries, ttl_s=ttl_s)


async def test_what_could_not_be_written_again_is_written_soon() -> None:
    """A registry that comes back empty, and then does not answer for a moment, is told all the same."""
    registry = MissingRegistry()
    registry.misses, registry.missed_touches = 0, 1
    registrar = Registrar(registry, "node.1", ttl_s=60)
    registrar.add("s", 1, 0)
    async with running(registrar.run()):
        await wait_read(registry, "s")
        assert await registry.release_many([("s", 1)]) == [True]
        registrar.renew()
        await wait_read(registry, "s")
        assert registry.missed_touches == 0


async def test_a_session_that_could_not_be_claimed_is_claimed_soon() -> None:
    """A moment's outage leaves nobody unknown until the next touch, and claims none that ended meanwhile."""
    registry = MissingRegistry()
    registrar = Registrar(registry, "node.1", ttl_s=60)
    registrar.add("s", 1, 0)
    registrar.add("gone", 2, 0)
    async with running(registrar.run()):
        async with asyncio.timeout(5):
            while registry.misses:
                await asyncio.sleep(0.01)
        registrar.remove("gone")
        await wait_read(registry, "s")
        assert await registry.read("gone") is None


async def test_a_session_that_another_node_claimed_is_lost() -> None:
    """The lower epoch loses: the session ends here, and is neither touched nor released any more."""
    registry = MemoryRegistry()
    registrar = Registrar(registry, "node.1", ttl_s=60)
    lost: list[str] = []
    registrar.lost = lost.append
    registrar.add("s", 2, 0)
    async with running(registrar.run()):
        entry = await wait_read(registry, "s")
        claimed = entry.moved_to("node.2", 70_000, 1)
        assert await registry.claim(claimed, ttl_s=60)
        registrar.renew()
        async with asyncio.timeout(5):
            while not lost:
                await asyncio.sleep(0.01)
        registrar.remove("s")
        registrar.add("other", 1, 0)
        await wait_read(registry, "other")
        assert (lost, await registry.read("s")) == (["s"], claimed)


async def wait_read(registry: MemoryRegistry, session_id: str) -> SessionEntry:
    """Return an entry once it is there."""
    async with asyncio.timeout(5):
        while (entry := await registry.read(session_id)) is None:
            await asyncio.sleep(0.01)
    return entry
