"""The shard's worker: stored, published, replied, acked; and what it does when a part fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import msgspec
import pytest

from shared.bus import Bus
from shared.core.calls import EventPage, ReadChannelEvents
from shared.core.commands import COMMAND_LIFETIME_MS, Commands, SendMessage, encode_envelope
from shared.core.errors import InternalError, MissingAccess, Unavailable
from shared.core.model import User
from shared.core.stream import Head, channel_stream
from shared.memory_bus import MemoryBus
from shared.rpc import Rpc
from shared.topology import Binding, Exchange
from tests.history.world import ADA, BEN, CHANNEL, EVE, GROUP, NOW, TOPOLOGY, World, open_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a history service in memory."""
    async with open_world() as opened:
        yield opened


def send_of(number: int, author: User = ADA, *, nonce: str = "", group_seq: int = 5) -> SendMessage:
    """Return a command."""
    return SendMessage(
        command_id=number,
        channel_id=CHANNEL.id,
        reply_to="history",
        expires_at=NOW + COMMAND_LIFETIME_MS,
        author=author,
        content=f"message {number}",
        nonce=nonce,
        group_id=GROUP,
        group_seq=group_seq,
    )


async def wait_for_events(world: World, count: int) -> None:
    """Wait until the listener has heard so many."""
    async with asyncio.timeout(5):
        while len(world.events) < count:
            await asyncio.sleep(0)


async def test_many_senders_get_one_order(world: World) -> None:
    """Two hundred sends at once: each is replied to with its own seq, events come in the order of seq."""
    replies = await asyncio.gather(*(world.commands.send(send_of(n), timeout_s=5) for n in range(1, 201)))
    assert [reply.seq for reply in replies] == list(range(1, 201)), "the order of the calls is kept"
    await wait_for_events(world, 200)
    assert [event.record.seq for event in world.events] == list(range(1, 201))


async def test_the_store_comes_back_and_everything_flows(world: World) -> None:
    """While the store is away commands wait; when it is back each is stored once."""
    world.streams.away = 3
    replies = await asyncio.gather(*(world.commands.send(send_of(n), timeout_s=5) for n in (1, 2)))
    assert [reply.seq for reply in replies] == [1, 2]


async def test_an_unanswered_commit_is_not_repeated(world: World) -> None:
    """The store did it and did not say so: the message is there once, and its sender is told."""
    world.streams.unanswered = 1
    reply = await world.commands.send(send_of(1), timeout_s=5)
    following = await world.commands.send(send_of(2), timeout_s=5)
    assert (reply.seq, following.seq) == (1, 2)


async def test_a_command_that_breaks_us_is_buried_and_the_shard_goes_on(world: World) -> None:
    """A defect met with one command of a batch ends in a final error for its sender and a letter for operators.

    All others of the batch are stored, each once, in their order.
    """
    world.streams.breaks_on = 3
    replies = await asyncio.gather(*(world.commands.send(send_of(n), timeout_s=5) for n in range(1, 6)))
    assert [(reply.seq, reply.error) for reply in replies] == [
        (1, ""), (2, ""), (0, "InternalError"), (3, ""), (4, ""),
    ]  # fmt: skip
    (letter,) = await world.letters()
    assert (letter.id, letter.kind, letter.shard, letter.at) == ("3", "SendMessage", 0, NOW)
    assert (letter.command_id, letter.channel_id, letter.author_id) == (3, CHANNEL.id, ADA.id)
    assert letter.reason.startswith("ValueError at world.py:")
    assert "message 3" not in letter.reason
    assert world.buried == ["command"]


async def test_an_unreadable_envelope_is_buried_and_does_not_stop_the_shard(world: World) -> None:
    """Bytes that are no envelope are kept as they are, with what was wrong with them."""
    bus: Bus = world.bus
    await bus.publish(TOPOLOGY.log, (TOPOLOGY.log_key(0),), b"\xc1 nonsense", mandatory=True)
    assert (await world.commands.send(send_of(1), timeout_s=5)).seq == 1
    (letter,) = await world.letters()
    assert (letter.body, letter.kind, letter.command_id) == (b"\xc1 nonsense", "", 0)
    assert letter.reason
    assert world.buried == ["envelope"]


async def test_what_meets_a_broken_channel_is_buried(world: World) -> None:
    """A channel whose stored chain contradicts itself refuses for good, and what was sent to it is kept."""
    await world.streams.raise_heads([Head(channel_stream(CHANNEL.id), seq=7, tail=5)])
    refused = await world.commands.send(send_of(1), timeout_s=5)
    assert (refused.error, refused.message) == ("InternalError", "The channel's history is broken")
    assert [letter.reason for letter in await world.letters()] == ["The channel's history is broken"]


async def test_who_is_refused_for_good_has_a_letter_first(world: World) -> None:
    """While a letter can't be published its command stays in the log, and nobody is told anything."""
    world.streams.breaks_on = 1
    with world.bus_refusing_letters() as refused:
        sending = asyncio.ensure_future(world.commands.send(send_of(1), timeout_s=5))
        async with asyncio.timeout(5):
            while len(refused) < 3:
                await asyncio.sleep(0)
        assert not sending.done()
    assert (await sending).error == "InternalError"
    assert [letter.id for letter in await world.letters()] == ["1"]


@pytest.mark.parametrize("error", [InternalError(), Unavailable(), ValueError("a defect of groups")])
async def test_a_failure_of_groups_is_waited_for(world: World, error: Exception) -> None:
    """Whatever groups fails with while it is asked for a permission: the send waits, then is stored."""
    await world.invalidate(GROUP, 6)
    world.access_errors[ADA.id] = [error, error, MissingAccess()]
    waited, refused = await asyncio.gather(
        world.commands.send(send_of(1, BEN), timeout_s=5), world.commands.send(send_of(2), timeout_s=5)
    )
    assert (waited.seq, refused.error, refused.is_retryable) == (1, "MissingAccess", False)
    assert await world.letters() == []


async def test_without_groups_a_doubtful_send_is_to_be_tried_again() -> None:
    """When waiting was in vain it is refused for now and not remembered by its nonce; other sends are stored."""
    async with open_world(patience_s=0.1) as hasty:
        await hasty.invalidate(GROUP, 6)
        hasty.access_errors[ADA.id] = [InternalError()]
        sends = (send_of(1, nonce="a"), send_of(2, BEN), send_of(3, group_seq=6))
        told, of_ben, sure = await asyncio.gather(*(hasty.commands.send(one, timeout_s=5) for one in sends))
        assert (told.error, told.is_retryable, of_ben.seq, sure.seq) == ("Unavailable", True, 1, 2)
        hasty.access_errors.clear()
        assert (await hasty.commands.send(send_of(4, nonce="a"), timeout_s=5)).seq == 3
        assert await hasty.letters() == []


async def test_a_change_of_the_group_makes_older_permissions_doubtful(world: World) -> None:
    """Who was removed meanwhile is refused by the shard, though the sender's node had permitted it."""
    await world.invalidate(GROUP, 6)
    refused = await world.commands.send(send_of(1, EVE), timeout_s=5)
    permitted = await world.commands.send(send_of(2), timeout_s=5)
    assert (refused.error, permitted.seq) == ("MissingAccess", 1)


class SlowToNodes(MemoryBus):
    """Confirms what goes to a node only when as many wait for it as are told."""

    def __init__(self, nodes: int) -> None:
        super().__init__()
        self._nodes = nodes
        self._all = asyncio.Event()

    async def publish(self, exchange: Exchange, keys: Sequence[str], body: bytes, *, mandatory: bool = False) -> None:
        """Publish at once, confirm with the last."""
        await super().publish(exchange, keys, body, mandatory=mandatory)
        if keys[0].startswith("n."):
            self._nodes -= 1
            if not self._nodes:
                self._all.set()
            await self._all.wait()


async def test_nodes_are_told_side_by_side() -> None:
    """A batch of many nodes' commands costs one confirm's time, not one for each node."""
    nodes = [f"node-{number}" for number in range(5)]
    commands = Commands(tuple(msgspec.structs.replace(send_of(n), reply_to=one) for n, one in enumerate(nodes, 1)))
    async with open_world(bus=SlowToNodes(len(nodes))) as world, AsyncExitStack() as stack:
        heard = [
            await stack.enter_async_context(
                world.bus.subscribe(TOPOLOGY.node_queue(one), (Binding(TOPOLOGY.events, TOPOLOGY.node_key(one)),))
            )
            for one in nodes
        ]
        await world.bus.publish(TOPOLOGY.log, (TOPOLOGY.log_key(0),), encode_envelope(commands))
        async with asyncio.timeout(5):
            await wait_for_events(world, len(nodes))
            for subscription in heard:
                assert len((await subscription.take(1)).deliveries) == 1


async def test_nodes_read_what_they_missed_by_a_call(world: World) -> None:
    """`ReadChannelEvents` answers everything after a seq, in order, and whether there is more."""
    await asyncio.gather(*(world.commands.send(send_of(n), timeout_s=5) for n in range(1, 6)))
    page: EventPage = await Rpc(world.bus, TOPOLOGY).call(ReadChannelEvents(CHANNEL.id, after_seq=1, limit=3))
    assert [event.record.seq for event in page.events] == [2, 3, 4]
    assert page.events[0].group_id == GROUP
    assert page.has_more
