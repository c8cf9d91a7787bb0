"""Taking over: sessions that go on at another node, from one that lives and from one that is dead."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest

from services.gateway.core.positions import RESERVE
from services.gateway.core.takeover import CLOCKS_MS
from services.gateway.memory_registry import MemoryRegistry
from services.gateway.peers import Peers
from services.gateway.registry import RegistryUnavailable, SessionEntry
from shared.clock import now_ms
from shared.core import calls
from shared.core.permissions import DEFAULT, Permission
from tests.gateway.listeners import PollClient, open_listening, open_stream
from tests.gateway.nodes import Cluster, cluster, contents, say_all
from tests.gateway.world import Client, ServedNode, open_client
from tests.waiting import wait_until

__all__ = ["cluster"]


def positions(client: Client) -> dict[str, int]:
    """Return how far a client is in each channel."""
    found: dict[str, int] = {}
    for frame in client.dispatches:
        d = frame["d"]
        for channel in [*d.get("channels", ()), *d.get("private_channels", ())]:
            found[channel["id"]] = channel["last_seq"]
        if frame["t"] == "MESSAGE_CREATE":
            found[d["channel_id"]] = d["seq"]
    return found


@asynccontextmanager
async def cut_client(node: ServedNode, token: str) -> AsyncIterator[Client]:
    """Identify, and lose the connection at the end of the context."""
    async with open_client(node, token) as client:
        yield client
        client.socket.transport.abort()


async def test_a_living_node_hands_a_session_over_exactly(cluster: Cluster) -> None:
    """Missed frames come under the client's old `s`, then RESUMED under the new node's, then what is live. Once."""
    world = cluster.world
    ann, ben, _, channel = await world.create_pair()
    one, two = await cluster.start("one"), await cluster.start("two")
    async with open_client(one, world.token(ann)) as witness:
        async with cut_client(one, world.token(ben)) as client:
            await say_all(world, ann, channel, "before")
            await client.until_content("before")
        await one.wait_detached(1)
        await say_all(world, ann, channel, "missed 1", "missed 2")
        await witness.until_content("missed 2")
        told = client.last_s
        await cluster.checkpoint("one")
        async with open_client(two) as again:
            resumed = await again.resume(client, world.token(ben))
            assert contents(again) == ["missed 1", "missed 2"]
            assert {frame["s"] for frame in again.dispatches[:-1]} == {told}
            assert resumed["s"] > told
            await say_all(world, ann, channel, "live")
            live = await again.until_content("live")
            assert live["s"] > resumed["s"]
            assert contents(again) == ["missed 1", "missed 2", "live"]
            assert (one.sessions, two.sessions) == (1, 1)
            again.socket.transport.abort()
        # It lives at the second node now: there, and not at the first, it goes on.
        async with open_client(one) as back:
            await back.resume(again, world.token(ben))
            assert contents(back) == []
            assert (one.sessions, two.sessions) == (2, 0)


async def test_one_that_went_and_came_back_is_given_as_it_is_now(cluster: Cluster) -> None:
    """A client whose connections break before it reads anything goes to and fro, and at last misses nothing."""
    world = cluster.world
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    one, two = await cluster.start("one"), await cluster.start("two")
    async with cut_client(one, world.token(ann)) as client:
        pass
    missed: list[str] = []
    for left, right in ((one, two), (two, one), (one, two)):
        await left.wait_detached(1)
        missed.append(f"missed {len(missed)}")
        await say_all(world, ann, channel, missed[-1])
        async with open_client(right) as again:
            await again.resume(client, world.token(ann))  # it tells what it told the first time
            assert contents(again) == missed
            again.socket.transport.abort()
    assert (one.sessions, two.sessions) == (0, 1)


@pytest.mark.parametrize("tells_positions", [True, False])
async def test_a_dead_nodes_session_goes_on_elsewhere(cluster: Cluster, tells_positions: bool) -> None:
    """Killed without a word: all that was missed comes; a client that tells positions gets nothing twice."""
    world = cluster.world
    ann, ben, _, channel = await world.create_pair()
    one, two = await cluster.start("one"), await cluster.start("two")
    async with cut_client(one, world.token(ben)) as client:
        await cluster.checkpoint("one")
        await say_all(world, ann, channel, *(f"before {number}" for number in range(5)))
        await client.until_content("before 4")
        await cluster.kill("one")
    await say_all(world, ann, channel, "missed 1", "missed 2")
    async with open_client(two) as again:
        told: dict[str, Any] = {"positions": positions(client)} if tells_positions else {}
        await again.resume(client, world.token(ben), **told)
        got = contents(again)
        assert got[-2:] == ["missed 1", "missed 2"]
        assert got[:-2] == contents(client)[len(contents(client)) - len(got) + 2 :]
        if tells_positions:
            assert got == ["missed 1", "missed 2"]
        await say_all(world, ann, channel, "live")
        await again.until_content("live")
        assert contents(again) == [*got, "live"]


@pytest.mark.parametrize("tells_positions", [True, False])
@pytest.mark.parametrize("first_lives", [True, False])
async def test_a_node_that_died_before_it_told_anything(
    cluster: Cluster, first_lives: bool, tells_positions: bool
) -> None:
    """Killed right after it took a session over: the session goes on from where it came from, and nothing is missed."""
    world = cluster.world
    ann, ben, _, channel = await world.create_pair()
    one = await cluster.start("one")
    two = await cluster.start("two", checkpoint_interval=timedelta(hours=1))
    three = await cluster.start("three")
    async with cut_client(one, world.token(ben)) as client:
        await say_all(world, ann, channel, "at one")
        await client.until_content("at one")
        await cluster.checkpoint("one")
    await one.wait_detached(1)
    if not first_lives:
        await cluster.kill("one")
    await say_all(world, ann, channel, "missed")
    async with open_client(two) as moved:
        await moved.resume(client, world.token(ben))
        await say_all(world, ann, channel, "at two")
        await moved.until_content("at two")
        moved.socket.transport.abort()
    await cluster.kill("two")
    await say_all(world, ann, channel, "late")
    lie = client.resume_payload(world.token(ben), seq=moved.last_s + 2 * RESERVE)
    async with open_client(three) as liar:
        await liar.send(6, lie)
        assert (await liar.until(9))["d"] is False
    async with open_client(three) as again:
        told: dict[str, Any] = {"positions": positions(client) | positions(moved)} if tells_positions else {}
        resumed = await again.resume(moved, world.token(ben), **told)
        assert contents(again) == (["late"] if tells_positions else ["missed", "at two", "late"])
        assert resumed["s"] > moved.last_s
        await say_all(world, ann, channel, "live")
        assert (await again.until_content("live"))["s"] > resumed["s"]


async def test_a_group_that_came_right_before_the_death(cluster: Cluster) -> None:
    """Its dead node could not leave behind that the user joined, the client says it: what was said since comes, too."""
    world = cluster.world
    ann, ben = world.register("ann"), world.register("ben")
    group, channel = await world.create_group(ann)
    await say_all(world, ann, channel, "before")
    one, two = await cluster.start("one", checkpoint_interval=timedelta(hours=1)), await cluster.start("two")
    async with cut_client(one, world.token(ben)) as client:
        await cluster.checkpoint("one")
        await world.join(ben, group)
        await client.until("GUILD_CREATE")
        await cluster.kill("one")
    await say_all(world, ann, channel, "missed 1", "missed 2")
    async with open_client(two) as again:
        await again.resume(client, world.token(ben), positions=positions(client))
        (created,) = again.got("GUILD_CREATE")
        assert created["channels"][0]["last_seq"] == positions(client)[str(channel.id)] == 1
        assert contents(again) == ["missed 1", "missed 2"]


@pytest.mark.parametrize("reads_history", [True, False])
async def test_a_group_that_a_node_told_which_was_behind(cluster: Cluster, reads_history: bool) -> None:
    """Dead as above: what it had yet to tell comes, also from before the user joined, to whom may read that."""
    world = cluster.world
    ann, ben = world.register("ann"), world.register("ben")
    group, channel = await world.create_group(ann)
    if not reads_history:
        await world.let_everyone(group, DEFAULT & ~Permission.READ_MESSAGE_HISTORY)
    await say_all(world, ann, channel, "before 1", "before 2")
    one, two = await cluster.start("one", checkpoint_interval=timedelta(hours=1)), await cluster.start("two")
    async with cut_client(one, world.token(ben)) as client:
        await cluster.checkpoint("one")
        await world.join(ben, group, at=now_ms() + 2 * CLOCKS_MS)
        await client.until("GUILD_CREATE")
        await cluster.kill("one")
    async with open_client(two) as again:
        await again.resume(client, world.token(ben), positions={str(channel.id): 1})
        (created,) = again.got("GUILD_CREATE")
        assert created["channels"][0]["last_seq"] == (1 if reads_history else 2)
        assert contents(again) == (["before 2"] if reads_history else [])


async def test_what_its_dead_node_had_stored_does_not_come_again(cluster: Cluster) -> None:
    """A client that tells only `s` gets again what came since the last checkpoint at most, however long ago it was."""
    world = cluster.world
    ann, ben, _, channel = await world.create_pair()
    _, elsewhere = await world.create_group(ann, "elsewhere")
    one, two = await cluster.start("one", checkpoint_interval=timedelta(hours=1)), await cluster.start("two")
    async with open_client(one, world.token(ann)) as busy, cut_client(one, world.token(ben)) as client:
        await cluster.checkpoint("one")
        await say_all(world, ann, channel, "stored 1", "stored 2", "stored 3")
        await client.until_content("stored 3")
        await say_all(world, ann, elsewhere, "not for ben")
        await busy.until_content("not for ben")
        await cluster.checkpoint("one")
        await cluster.kill("one")
    await say_all(world, ann, channel, "missed")
    async with open_client(two) as again:
        await again.resume(client, world.token(ben))
        await say_all(world, ann, channel, "live")
        await again.until_content("live")
        assert contents(again) == ["missed", "live"]


async def test_a_node_that_was_taken_for_dead_goes_on_before_it_dies(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others read its trail while it was cut off from them; what it told its clients since does not come again."""
    world = cluster.world
    ann, ben, _, channel = await world.create_pair()
    one, two = await cluster.start("one"), await cluster.start("two")
    monkeypatch.setattr(Peers, "ask", AsyncMock(return_value=None))
    async with cut_client(one, world.token(ann)) as gone, cut_client(one, world.token(ben)) as client:
        await cluster.checkpoint("one")
        gone.socket.transport.abort()
        async with open_client(two) as elsewhere:
            await elsewhere.resume(gone, world.token(ann))
        await say_all(world, ann, channel, "told 1", "told 2")
        await client.until_content("told 2")
        await cluster.checkpoint("one")
        await cluster.kill("one")
    await say_all(world, ann, channel, "missed")
    async with open_client(two) as again:
        await again.resume(client, world.token(ben))
        assert contents(again) == ["missed"]


async def test_names_that_changed_meanwhile_are_told(cluster: Cluster) -> None:
    """One's own new name comes once by the user's stream and once by the group's, after a node's death too."""
    world = cluster.world
    ann = world.register("ann")
    await world.create_group(ann)
    one, two = await cluster.start("one"), await cluster.start("two")
    async with cut_client(one, world.token(ann)) as client:
        await cluster.checkpoint("one")
        await cluster.kill("one")
    await world.rename(ann, "anna")
    async with open_client(two) as again:
        await again.resume(client, world.token(ann))
        told = [(frame["t"], frame["d"].get("user", frame["d"])["username"]) for frame in again.dispatches[:-1]]
        assert sorted(told) == [("GUILD_MEMBER_UPDATE", "anna"), ("USER_UPDATE", "anna")]


@pytest.mark.parametrize("way", ["stream", "poll"])
async def test_a_dead_nodes_listener_goes_on_elsewhere(cluster: Cluster, way: str) -> None:
    """Without a WebSocket just so: a quiet stream, or a poll that met nobody, is placed by the last that it heard."""
    world = cluster.world
    ann, ben = world.register("ann"), world.register("ben")
    _, own = await world.create_group(ann)
    token = world.token(ben)
    one = await cluster.start("one", stream_heartbeat=timedelta(milliseconds=20))
    two = await cluster.start("two")
    polling = PollClient(one, token)
    await polling.poll()
    async with open_client(one, world.token(ann)) as witness, open_listening(one, token) as listening:
        await say_all(world, ann, own, "not for ben")
        heard = await witness.until_content("not for ben")
        signs = asyncio.create_task(listening.ended())
        while int(listening.last_id.rpartition(":")[2]) < heard["s"]:
            await asyncio.sleep(0.01)
        await polling.poll(wait=0)
        await cluster.checkpoint("one")
        await cluster.kill("one")
        with contextlib.suppress(httpx.RemoteProtocolError):
            await signs
    direct = await world.open_direct(ann, ben)
    await say_all(world, ann, direct, "missed 1", "missed 2")
    if way == "stream":
        async with open_stream(two, token, listening.last_id) as again:
            await again.until("RESUMED")
            assert again.contents == ["missed 1", "missed 2"]
            await say_all(world, ann, direct, "live")
            assert (await again.until("MESSAGE_CREATE"))["d"]["content"] == "live"
    else:
        polling.node = two
        for content in ("live", "later"):
            await say_all(world, ann, direct, content)
            await polling.until_content(content)
        assert polling.contents == ["missed 1", "missed 2", "live", "later"]


async def test_one_that_was_detached_long_before_its_node_died_misses_nothing(cluster: Cluster) -> None:
    """What came between the cut and the death, and after it, is all there: exactly, since all of it was told."""
    world = cluster.world
    ann, ben, _, channel = await world.create_pair()
    one, two = await cluster.start("one"), await cluster.start("two")
    async with open_client(one, world.token(ann)) as witness:
        async with cut_client(one, world.token(ben)) as client:
            await say_all(world, ann, channel, "before")
            await client.until_content("before")
            await cluster.checkpoint("one")
        await one.wait_detached(1)
        for number in range(5):
            await say_all(world, ann, channel, f"detached {number}")
            await witness.until_content(f"detached {number}")
            await cluster.checkpoint("one")
        await cluster.kill("one")
    await say_all(world, ann, channel, "dead")
    async with open_client(two) as again:
        await again.resume(client, world.token(ben))
        assert contents(again) == [*(f"detached {number}" for number in range(5)), "dead"]


async def test_groups_and_direct_channels_that_came_and_went_meanwhile_are_told(cluster: Cluster) -> None:
    """Joined, left, made and opened while the node was dead: GUILD_CREATE, GUILD_DELETE, CHANNEL_CREATE, messages."""
    world = cluster.world
    ann, ben = world.register("ann"), world.register("ben")
    left, of_left = await world.create_group(ann, "left")
    kept, of_kept = await world.create_group(ann, "kept")
    for group in (left, kept):
        await world.join(ben, group)
    one, two = await cluster.start("one"), await cluster.start("two")
    async with cut_client(one, world.token(ben)) as client:
        await cluster.checkpoint("one")
        await cluster.kill("one")
    await say_all(world, ann, of_left, "before the removal")
    await world.leave(ben, left)
    await say_all(world, ann, of_left, "after the removal")
    joined, of_joined = await world.create_group(ann, "joined")
    await say_all(world, ann, of_joined, "before the join")
    await world.join(ben, joined)
    await say_all(world, ann, of_joined, "after the join")
    more = await world.create_channel(kept, "more")
    await say_all(world, ann, more, "in the new channel")
    direct = await world.open_direct(ann, ben)
    await say_all(world, ann, direct, "directly")
    cee = world.register("cee")
    await world.join(cee, kept)
    async with open_client(two) as again:
        await again.resume(client, world.token(ben))
        assert [d["id"] for d in again.got("GUILD_DELETE")] == [str(left.id)]
        (created,) = again.got("GUILD_CREATE")
        assert (created["id"], created["channels"][0]["last_seq"]) == (str(joined.id), 2)
        assert {d["id"] for d in again.got("CHANNEL_CREATE")} == {str(more.id), str(direct.id)}
        assert [d["user"]["id"] for d in again.got("GUILD_MEMBER_ADD")] == [str(cee.id)]
        assert sorted(contents(again)) == ["directly", "in the new channel"]
        for channel in (of_kept, of_joined, more, direct):
            await say_all(world, ann, channel, f"live {channel.id}")
            await again.until_content(f"live {channel.id}")
        await say_all(world, ann, of_left, "not for ben")
        await say_all(world, ann, of_kept, "the end")
        await again.until_content("the end")
        assert "not for ben" not in contents(again)


@pytest.mark.parametrize("dies", [True, False])
async def test_nobody_is_shown_what_was_said_while_it_was_hidden(cluster: Cluster, dies: bool) -> None:
    """Channels that were hidden, shown, or both meanwhile are told anew with today's heads, and nothing from before."""
    world = cluster.world
    ann, ben = world.register("ann"), world.register("ben")
    group, steady = await world.create_group(ann)
    lost, gained, again_seen = [await world.create_channel(group, name) for name in ("lost", "gained", "again")]
    await world.hide(gained)
    await world.join(ben, group)
    one, two = await cluster.start("one"), await cluster.start("two")
    async with cut_client(one, world.token(ben)) as client:
        (created,) = client.got("GUILD_CREATE")
        assert {int(one["id"]) for one in created["channels"]} == {steady.id, lost.id, again_seen.id}
        await cluster.checkpoint("one")
        if dies:
            await cluster.kill("one")
    if not dies:
        await one.wait_detached(1)
    for channel in (lost, again_seen):
        await world.hide(channel)
    secret = await world.create_channel(group, "secret")
    await world.hide(secret)
    for channel in (lost, gained, again_seen, secret):
        await say_all(world, ann, channel, "not for ben")
    await world.hide(gained, hidden=False)
    await world.hide(again_seen, hidden=False)
    fresh = await world.create_channel(group, "fresh")
    for channel in (steady, fresh):
        await say_all(world, ann, channel, f"for all in {channel.name}")
    async with open_client(two) as again:
        await again.resume(client, world.token(ben))
        assert sorted(contents(again)) == ["for all in fresh", "for all in general"]
        gone = {int(d["id"]) for d in again.got("CHANNEL_DELETE")}
        made = {int(d["id"]): d["last_seq"] for d in again.got("CHANNEL_CREATE")}
        # `secret` was seen for a moment: a living node has told so, and in any case it is taken back.
        assert gone == {lost.id, again_seen.id, secret.id}
        assert made.pop(secret.id, 0) == 0
        assert made == {gained.id: 1, again_seen.id: 1, fresh.id: 0}
        for channel in (gained, again_seen, fresh):
            await say_all(world, ann, channel, f"live in {channel.name}")
            await again.until_content(f"live in {channel.name}")
        for channel in (lost, secret):
            await say_all(world, ann, channel, "not for ben either")
        await say_all(world, ann, steady, "the end")
        await again.until_content("the end")
        assert not [content for content in contents(again) if content.startswith("not")]


async def test_a_successor_that_dies_before_it_could_say_so_is_succeeded(cluster: Cluster) -> None:
    """From node to node to node; the second dies as soon as it has the session, with nothing told to the client."""
    world = cluster.world
    ann, ben, _, channel = await world.create_pair()
    one = await cluster.start("one")
    async with cut_client(one, world.token(ben)) as client:
        await say_all(world, ann, channel, "before")
        await client.until_content("before")
        await cluster.checkpoint("one")
    await one.wait_detached(1)
    await say_all(world, ann, channel, "missed")
    await cluster.start("two")
    two = cluster["two"]
    async with open_client(two) as lost:
        await lost.resume(client, world.token(ben))  # and nothing of it reaches the client
        await cluster.kill("two")
    await say_all(world, ann, channel, "missed, too")
    three = await cluster.start("three")
    async with open_client(three) as again:
        await again.resume(client, world.token(ben))
        assert contents(again) == ["missed", "missed, too"]
        again.socket.transport.abort()
    await cluster.kill("one")
    await cluster.checkpoint("three")
    await cluster.kill("three")
    await say_all(world, ann, channel, "and this")
    four = await cluster.start("four")
    async with open_client(four) as last:
        await last.resume(again, world.token(ben), positions=positions(client) | positions(again))
        assert contents(last) == ["and this"]


async def test_a_drained_node_gives_all_its_sessions_away(cluster: Cluster) -> None:
    """SIGTERM: RECONNECT, then 4000, never 1000; who comes back elsewhere has lost nothing and has nothing twice."""
    world = cluster.world
    ann, ben, _, channel = await world.create_pair()
    one, two = await cluster.start("one"), await cluster.start("two")
    async with open_client(one, world.token(ben)) as client:
        await say_all(world, ann, channel, "before")
        await client.until_content("before")
        draining = asyncio.create_task(one.gateway.drain())
        await client.until(7)
        assert await client.closed() == 4000
        await say_all(world, ann, channel, "meanwhile")
        async with open_client(two) as again:
            await again.resume(client, world.token(ben))
            assert contents(again) == ["meanwhile"]
            await draining
            await say_all(world, ann, channel, "live")
            await again.until_content("live")
            assert contents(again) == ["meanwhile", "live"]


async def test_a_removal_that_only_the_group_has_told_yet_is_told(cluster: Cluster) -> None:
    """The new node has taken the user out by the group's stream, ahead of the user's own: the client hears of it."""
    world = cluster.world
    _, ben, group, _ = await world.create_pair()
    one, two = await cluster.start("one"), await cluster.start("two")
    async with open_client(two, world.token(ben)) as other:
        async with cut_client(one, world.token(ben)) as client:
            await cluster.checkpoint("one")
            await cluster.kill("one")
        await world.leave(ben, group, tells=False)
        await other.until("GUILD_DELETE")
        async with open_client(two) as again:
            await again.resume(client, world.token(ben))
            assert [d["id"] for d in again.got("GUILD_DELETE")] == [str(group.id)]


async def test_a_removal_that_only_its_old_node_has_heard_of_is_told_once(cluster: Cluster) -> None:
    """The session moves before the user's own stream says it: it is not let in again where that is not known yet."""
    world = cluster.world
    _, ben, group, _ = await world.create_pair()
    one, two = await cluster.start("one"), await cluster.start("two")
    async with cut_client(one, world.token(ben)) as client:
        left = await world.leave(ben, group, tells=False)
        await client.until("GUILD_DELETE")
    await one.wait_detached(1)
    async with open_client(two) as again:
        resuming = asyncio.create_task(again.resume(client, world.token(ben)))
        await wait_until(lambda: bool(two.metrics.registry.get_sample_value("starling_gateway_hub_users")))
        await world.tell(ben, left)
        await resuming
        assert [frame["t"] for frame in again.dispatches] == ["RESUMED"]


@pytest.mark.parametrize("dies", [False, True])
async def test_a_join_that_only_the_group_has_told_yet_is_told_once(cluster: Cluster, dies: bool) -> None:
    """The session moves before the user's own stream says it: one GUILD_CREATE in all, and every message behind it."""
    world = cluster.world
    ann, ben = world.register("ann"), world.register("ben")
    group, channel = await world.create_group(ann)
    one, two = await cluster.start("one"), await cluster.start("two")
    async with open_client(one, world.token(ann)) as here, open_client(two, world.token(ann)) as there:
        async with cut_client(one, world.token(ben)) as client:
            joined = await world.join(ben, group, tells=False)
            await here.until("GUILD_MEMBER_ADD")
            await cluster.checkpoint("one")
        if dies:
            await cluster.kill("one")
        else:
            await one.wait_detached(1)
        async with open_client(two) as again:
            await again.resume(client, world.token(ben))
            await say_all(world, ann, channel, "between")
            await there.until_content("between")
            await world.tell(ben, joined)
            await say_all(world, ann, channel, "behind")
            await again.until_content("behind")
            (created,) = [*client.got("GUILD_CREATE"), *again.got("GUILD_CREATE")]
            seqs = [d["seq"] for d in again.got("MESSAGE_CREATE")]
            assert seqs == list(range(created["channels"][0]["last_seq"] + 1, 3))


async def test_who_left_and_came_back_in_the_last_moment_misses_nothing(cluster: Cluster) -> None:
    """Left, joined and told messages since the last checkpoint: the group is told anew from where nothing is missed."""
    world = cluster.world
    ann, ben, group, channel = await world.create_pair()
    one = await cluster.start("one", checkpoint_interval=timedelta(hours=1))
    two = await cluster.start("two")
    async with cut_client(one, world.token(ben)) as client:
        await cluster.checkpoint("one")
        await world.leave(ben, group)
        await world.join(ben, group)
        await say_all(world, ann, channel, "seen")
        await client.until_content("seen")
        await cluster.kill("one")
    await say_all(world, ann, channel, "missed")
    async with open_client(two) as again:
        await again.resume(client, world.token(ben))
        (created,) = again.got("GUILD_CREATE")
        seqs = [d["seq"] for d in again.got("MESSAGE_CREATE")]
        assert seqs == list(range(created["channels"][0]["last_seq"] + 1, 3))
        assert contents(again)[-1] == "missed"


async def test_who_did_not_get_all_that_a_session_begins_with_begins_anew(cluster: Cluster) -> None:
    """READY came, the groups behind it did not, and the node is dead: nobody can say what the client knows."""
    world = cluster.world
    ann = world.register("ann")
    await world.create_group(ann)
    one, two = await cluster.start("one"), await cluster.start("two")
    async with cut_client(one, world.token(ann)) as client:
        await cluster.checkpoint("one")
        await cluster.kill("one")
    (ready,) = (frame["s"] for frame in client.dispatches if frame["t"] == "READY")
    told = client.resume_payload(world.token(ann), seq=ready)
    async with open_client(two) as again:
        await again.send(6, told)
        assert (await again.until(9))["d"] is False


class BrokenRegistry(MemoryRegistry):
    """A registry that can be away, for good or for some of the next questions about one session."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.misses: list[bool] = []

    def _answer(self) -> None:
        if self.is_away or (self.misses and self.misses.pop(0)):
            raise RegistryUnavailable("away")

    async def read(self, session_id: str) -> SessionEntry | None:
        """Return where a session lives."""
        self._answer()
        return await super().read(session_id)

    async def claim(self, entry: SessionEntry, *, ttl_s: float) -> bool:
        """Store the entry, but miss the answer."""
        is_ours = await super().claim(entry, ttl_s=ttl_s)
        self._answer()
        return is_ours


async def test_a_registry_that_is_away_for_a_moment_costs_no_session(cluster: Cluster) -> None:
    """What reads and claims a session is asked again, also when it did as asked and nobody heard of it."""
    world = cluster.world
    cluster.registry = registry = BrokenRegistry()
    ann = world.register("ann")
    await world.create_group(ann)
    one, two = await cluster.start("one"), await cluster.start("two")
    async with cut_client(one, world.token(ann)) as client:
        await cluster.checkpoint("one")
    await one.wait_detached(1)
    async with open_client(two) as again:
        registry.misses = [True, False, True]
        await again.resume(client, world.token(ann))
        assert (registry.misses, one.sessions, two.sessions) == ([], 0, 1)


class DeafRegistry(MemoryRegistry):
    """A registry that the first node can't reach."""

    async def claim(self, entry: SessionEntry, *, ttl_s: float) -> bool:
        """Store the entry of another node."""
        if entry.node.startswith("one."):
            raise RegistryUnavailable("away")
        return await super().claim(entry, ttl_s=ttl_s)


async def test_a_session_that_the_registry_never_heard_of_is_asked_for_where_it_began(cluster: Cluster) -> None:
    """Its node lives and could not tell: the session goes on elsewhere, for its own user only."""
    world = cluster.world
    cluster.registry = DeafRegistry()
    ann, ben = world.register("ann"), world.register("ben")
    _, channel = await world.create_group(ann)
    one, two = await cluster.start("one"), await cluster.start("two")
    async with cut_client(one, world.token(ann)) as client:
        pass
    await one.wait_detached(1)
    await say_all(world, ann, channel, "missed")
    async with open_client(two) as stranger:
        await stranger.send(6, client.resume_payload(world.token(ben)))
        await stranger.until(9)
    assert (one.sessions, two.sessions) == (1, 0)
    async with open_client(two) as again:
        await again.resume(client, world.token(ann))
        assert (contents(again), one.sessions, two.sessions) == (["missed"], 0, 1)


class SlowRegistry(MemoryRegistry):
    """A registry that takes claims in while its gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.claims = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def claim(self, entry: SessionEntry, *, ttl_s: float) -> bool:
        """Store the entry, once the gate is open."""
        self.claims += 1
        await self.gate.wait()
        return await super().claim(entry, ttl_s=ttl_s)

    async def wait_claims(self, count: int) -> None:
        """Wait until so many claims have come."""
        async with asyncio.timeout(10):
            while self.claims < count:
                await asyncio.sleep(0.01)


async def test_a_session_whose_successor_died_on_the_way_goes_on_where_it_was(cluster: Cluster) -> None:
    """What was given away to a node that died before it claimed it is still there when the client comes back."""
    world = cluster.world
    cluster.registry = registry = SlowRegistry()
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    one, two = await cluster.start("one"), await cluster.start("two")
    async with cut_client(one, world.token(ann)) as client:
        await cluster.checkpoint("one")
    await one.wait_detached(1)
    await say_all(world, ann, channel, "missed 1")
    told = client.resume_payload(world.token(ann))
    registry.gate.clear()
    async with open_client(two) as again:
        await again.send(6, told)
        await registry.wait_claims(2)
        await cluster.kill("two")
    registry.gate.set()
    assert one.sessions == 0
    await say_all(world, ann, channel, "missed 2")
    async with open_client(one) as back:
        await back.resume(client, world.token(ann))
        await say_all(world, ann, channel, "live")
        await back.until_content("live")
        assert contents(back) == ["missed 1", "missed 2", "live"]


async def test_of_nodes_that_take_one_session_over_at_once_the_slower_asks_the_faster(cluster: Cluster) -> None:
    """A client that lost a node which was taking its session over goes on at the next, whichever claims it first."""
    world = cluster.world
    cluster.registry = registry = SlowRegistry()
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    one, two, three = [await cluster.start(name) for name in ("one", "two", "three")]
    async with cut_client(one, world.token(ann)) as client:
        await cluster.checkpoint("one")
    await one.wait_detached(1)
    await say_all(world, ann, channel, "missed")
    told = client.resume_payload(world.token(ann))
    registry.gate.clear()
    async with open_client(two) as first, open_client(three) as second:
        await first.send(6, told)
        await registry.wait_claims(2)
        first.socket.transport.abort()
        await second.send(6, told)
        await registry.wait_claims(3)
        registry.gate.set()
        await second.until("RESUMED")
        await say_all(world, ann, channel, "live")
        await second.until_content("live")
        assert contents(second) == ["missed", "live"]
        assert (two.sessions, three.sessions) == (0, 1)


async def test_a_node_that_was_cut_off_does_not_go_on_with_what_another_claimed_meanwhile(cluster: Cluster) -> None:
    """Others took it for dead: what the client has seen since was counted by them, so going on here would miss it.

    Also where the registry does not answer for a moment.
    """
    world = cluster.world
    cluster.registry = registry = BrokenRegistry()
    ann = world.register("ann")
    await world.create_group(ann)
    one = await cluster.start("one")
    async with cut_client(one, world.token(ann)) as client:
        await cluster.checkpoint("one")
    await one.wait_detached(1)
    entry = await registry.read(client.ready["session_id"])
    assert entry is not None
    assert await registry.claim(entry.moved_to("two.0123abcd", 1, 1), ttl_s=60)
    told = client.resume_payload(world.token(ann))
    async with open_client(one) as again:
        registry.misses = [True]
        await again.send(6, told)
        assert (await again.until(9))["d"] is False
    assert (registry.misses, one.sessions) == ([], 0)


async def test_a_node_takes_over_from_the_one_that_had_its_name(cluster: Cluster) -> None:
    """A node that was started anew asks nobody for its own old sessions, least of all itself: it keeps them."""
    world = cluster.world
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    one = await cluster.start("one")
    async with cut_client(one, world.token(ann)) as client:
        await cluster.checkpoint("one")
        await cluster.kill("one")
    await say_all(world, ann, channel, "missed")
    anew = await cluster.start("one")
    async with open_client(anew) as again:
        await again.resume(client, world.token(ann))
        await say_all(world, ann, channel, "live")
        await again.until_content("live")
        assert contents(again) == ["missed", "live"]
        given = anew.metrics.registry.get_sample_value("starling_gateway_resumes_total", {"outcome": "given"})
        assert (anew.sessions, given) == (1, None)


async def test_a_client_that_did_not_wait_keeps_its_session_where_it_went(cluster: Cluster) -> None:
    """A node that could not follow the user for long takes no session whose client has gone on elsewhere meanwhile."""
    world = cluster.world
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    one, two = await cluster.start("one"), await cluster.start("two")
    async with cut_client(one, world.token(ann)) as client:
        await cluster.known("one")
    await one.wait_detached(1)
    gate = world.gates[calls.ReadSessions] = asyncio.Event()
    async with open_client(two) as hasty:
        told = client.resume_payload(world.token(ann))
        await hasty.send(6, told)
        await wait_until(lambda: calls.ReadSessions((ann.id,)) in world.asked)
        hasty.socket.transport.abort()
    async with open_client(one) as again, open_client(two) as other:
        await again.resume(client, world.token(ann))
        await other.send(2, {"token": world.token(ann), "properties": {}})
        gate.set()
        await other.until("READY")
        for content in ("first", "second"):
            await say_all(world, ann, channel, content)
            await other.until_content(content)
            await again.until_content(content)
        assert (one.sessions, two.sessions) == (1, 1)


async def test_what_cant_be_placed_is_said_so(cluster: Cluster) -> None:
    """Without the registry a client tries again; without a trail it is INVALID_SESSION, and it begins anew."""
    world = cluster.world
    cluster.registry = registry = BrokenRegistry()
    ann = world.register("ann")
    await world.create_group(ann)
    one = await cluster.start("one", checkpoint_interval=timedelta(hours=1))
    two = await cluster.start("two")
    async with cut_client(one, world.token(ann)) as client:
        await cluster.known("one")
        await cluster.kill("one")  # before it told where its streams are
    told = client.resume_payload(world.token(ann))
    registry.is_away = True
    async with open_client(two) as early:
        await early.send(6, told)
        assert await early.closed() == 4000
    registry.is_away = False
    async with open_client(two) as again:
        await again.send(6, told)
        assert (await again.until(9))["d"] is False
        await again.identify(world.token(ann))
