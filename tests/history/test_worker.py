"""The shard's worker: stored, published, replied, acked; and what it does when a part fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.bus import Bus
from shared.core.calls import EventPage, ReadChannelEvents
from shared.core.commands import COMMAND_LIFETIME_MS, SendMessage
from shared.core.model import User
from shared.rpc import Rpc
from tests.history.world import ADA, CHANNEL, EVE, GROUP, NOW, TOPOLOGY, World, open_world


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


async def test_a_command_that_breaks_us_is_refused_and_the_shard_goes_on(world: World) -> None:
    """A defect met with one command ends in a final error for its sender, not in a stuck shard."""
    world.streams.broken = True
    refused = await world.commands.send(send_of(1), timeout_s=5)
    assert refused.error == "InternalError"
    world.streams.broken = False
    assert (await world.commands.send(send_of(2), timeout_s=5)).seq == 1


async def test_an_unreadable_envelope_does_not_stop_the_shard(world: World) -> None:
    """Bytes that are no envelope are logged and left behind."""
    bus: Bus = world.bus
    await bus.publish(TOPOLOGY.log, (TOPOLOGY.log_key(0),), b"\xc1 nonsense", mandatory=True)
    assert (await world.commands.send(send_of(1), timeout_s=5)).seq == 1


async def test_a_change_of_the_group_makes_older_permissions_doubtful(world: World) -> None:
    """Who was removed meanwhile is refused by the shard, though the sender's node had permitted it."""
    await world.invalidate(GROUP, 6)
    refused = await world.commands.send(send_of(1, EVE), timeout_s=5)
    permitted = await world.commands.send(send_of(2), timeout_s=5)
    assert (refused.error, permitted.seq) == ("MissingAccess", 1)


async def test_nodes_read_what_they_missed_by_a_call(world: World) -> None:
    """`ReadChannelEvents` answers everything after a seq, in order, and whether there is more."""
    await asyncio.gather(*(world.commands.send(send_of(n), timeout_s=5) for n in range(1, 6)))
    page: EventPage = await Rpc(world.bus, TOPOLOGY).call(ReadChannelEvents(CHANNEL.id, after_seq=1, limit=3))
    assert [event.record.seq for event in page.events] == [2, 3, 4]
    assert page.events[0].group_id == GROUP
    assert page.has_more
