"""Sessions without a WebSocket: server-sent events and long polls, on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from services.gateway.listening import POLL_FRAMES
from services.gateway.memory_registry import MemoryRegistry
from services.gateway.memory_trails import MemoryTrails
from shared.core.model import Channel
from shared.settings import LimitSettings
from tests.gateway.listeners import PollClient, events_url, open_listening, open_stream
from tests.gateway.raw import RawClient, open_raw
from tests.gateway.world import ServedNode, World, open_client, open_node, open_world, settings_of


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Yield a world with its services."""
    async with open_world() as world:
        yield world


@pytest.fixture
async def node(world: World) -> AsyncIterator[ServedNode]:
    """Yield a node of it."""
    async with open_node(world) as node:
        yield node


async def say_all(world: World, channel: Channel, *contents: str) -> None:
    """Store and publish messages."""
    author = next(iter(world.users.values()))
    for content in contents:
        await world.say(author, channel, content)


async def test_a_stream_is_told_what_a_websocket_is_told(world: World, node: ServedNode) -> None:
    """READY, groups, then each event: the very frames, each with session and `s` as its id."""
    ann, ben, _, channel = await world.create_pair()
    async with open_client(node, world.token(ann)) as witness, open_listening(node, world.token(ben)) as client:
        (ready,) = client.got("READY")
        assert ready["user"]["username"] == "ben"
        await say_all(world, channel, "hi\nthere", "ü")
        for content in ("hi\nthere", "ü"):
            frame = await witness.until_content(content)
            assert await client.until("MESSAGE_CREATE") == frame
            assert client.last_id == f"{ready['session_id']}:{frame['s']}"


async def test_a_cut_stream_goes_on_with_exactly_what_it_missed(world: World, node: ServedNode) -> None:
    """Last-Event-ID is a RESUME: what came meanwhile, in order, once, then RESUMED, then what is live."""
    ann, ben, _, channel = await world.create_pair()
    token = world.token(ben)
    async with open_client(node, world.token(ann)) as witness:
        async with open_listening(node, token) as client:
            await say_all(world, channel, "before")
            await client.until("MESSAGE_CREATE")
        await node.wait_detached(1)
        await say_all(world, channel, "one", "two")
        await witness.until_content("two")
        async with open_stream(node, token, client.last_id) as again:
            assert (await again.until("RESUMED"))["d"] == {"_trace": []}
            assert again.contents == ["one", "two"]
            await say_all(world, channel, "live")
            assert (await again.until("MESSAGE_CREATE"))["d"]["content"] == "live"
            assert node.sessions == 2


async def test_what_was_lost_on_the_way_comes_again_and_the_older_stream_ends(world: World, node: ServedNode) -> None:
    """The client's own place counts, told as an id or as a query; `positions` leaves out what it has."""
    ann, _, _, channel = await world.create_pair()
    token = world.token(ann)
    async with open_listening(node, token) as client:
        await say_all(world, channel, "one", "two", "three")
        await client.until("MESSAGE_CREATE")
        session_id, _, s = client.last_id.rpartition(":")
        async with open_stream(node, token, session_id=session_id, seq=s) as again:
            await again.until("RESUMED")
            assert again.contents == ["two", "three"]
        await client.ended()
        async with open_stream(node, token, session_id=session_id, seq=s, positions=f"{channel.id}:2") as again:
            await again.until("RESUMED")
            assert again.contents == ["three"]


async def test_a_poll_answers_as_soon_as_there_is_something(world: World, node: ServedNode) -> None:
    """The first answer is what a session begins with; each next one is all that came since, at once or later."""
    ann, ben, _, channel = await world.create_pair()
    client = PollClient(node, world.token(ben))
    assert [frame["t"] for frame in await client.poll()] == ["READY", "GUILD_CREATE"]
    assert client.session_id == client.got("READY")[0]["session_id"]
    assert node.attached == 0
    async with open_client(node, world.token(ann)) as witness:
        await say_all(world, channel, "one", "two")
        await witness.until_content("two")
        await client.poll(wait=0)
        assert client.contents == ["one", "two"]
        assert await client.poll(wait=0) == []
        async with asyncio.TaskGroup() as group:
            polling = group.create_task(client.poll(wait=20))
            while node.attached < 2:
                await asyncio.sleep(0.01)
            await say_all(world, channel, "three")
        assert [frame["d"]["content"] for frame in polling.result()] == ["three"]
        assert await client.poll(wait=0.05) == []
        assert [answer["has_more"] for answer in client.answers] == [False] * len(client.answers)


async def test_an_answer_that_was_lost_can_be_asked_for_again(world: World, node: ServedNode) -> None:
    """The same `seq` gets the same frames, also when the first who asked still waits."""
    ann, ben, _, channel = await world.create_pair()
    client = PollClient(node, world.token(ben))
    await client.poll()
    async with open_client(node, world.token(ann)) as witness, asyncio.TaskGroup() as group:
        waiting = group.create_task(client.ask(wait=20))
        while node.attached < 2:
            await asyncio.sleep(0.01)
        replacing = group.create_task(client.ask(wait=20))
        assert (await waiting).json()["events"] == []
        await say_all(world, channel, "one")
        await witness.until_content("one")
        first = (await replacing).json()
        again = (await client.ask(wait=0)).json()
    assert [frame["d"]["content"] for frame in first["events"]] == ["one"]
    assert again["events"] == first["events"]


async def test_a_long_backlog_comes_in_parts(world: World, node: ServedNode) -> None:
    """An answer is bounded; `has_more` says so, and the next poll gets what follows, at once."""
    _, ben, _, channel = await world.create_pair()
    client = PollClient(node, world.token(ben))
    await client.poll()
    told = [str(number) for number in range(POLL_FRAMES + 5)]
    await say_all(world, channel, *told)
    async with asyncio.timeout(20):
        while node.gateway.node.fanout.log.statistics()["entries"] < len(told):
            await asyncio.sleep(0.01)
    assert len(await client.poll()) == POLL_FRAMES
    assert client.answers[-1]["has_more"]
    assert len(await client.poll()) == 5
    assert not client.answers[-1]["has_more"]
    assert client.contents == told


@asynccontextmanager
async def open_two(world: World) -> AsyncIterator[tuple[ServedNode, ServedNode]]:
    """Open two nodes that can give each other sessions."""
    shared: dict[str, Any] = {"registry": MemoryRegistry(), "trails": MemoryTrails()}
    async with open_node(world, name="a", **shared) as one, open_node(world, name="b", **shared) as other:
        yield one, other


async def wait_registered(node: ServedNode) -> None:
    """Wait until other nodes can know of all sessions of this one."""
    async with asyncio.timeout(5):
        while node.metrics.registry.get_sample_value("starling_gateway_registry_waiting"):
            await asyncio.sleep(0.01)


async def test_a_stream_goes_on_at_another_node(world: World) -> None:
    """A request that reaches another node takes the session with it, and with it what was missed."""
    ann, ben, _, channel = await world.create_pair()
    token = world.token(ben)
    async with open_two(world) as (one, other), open_client(one, world.token(ann)) as witness:
        async with open_listening(one, token) as client:
            pass
        await one.wait_detached(1)
        await wait_registered(one)
        await say_all(world, channel, "one", "two")
        await witness.until_content("two")
        async with open_stream(other, token, client.last_id) as again:
            await again.until("RESUMED")
            assert again.contents == ["one", "two"]
            assert (one.sessions, other.sessions) == (1, 1)


async def test_polls_go_from_node_to_node(world: World) -> None:
    """Each poll may meet another node. What was missed elsewhere comes whole: all of it has the `s` that was told."""
    ann, ben, _, channel = await world.create_pair()
    told = [str(number) for number in range(POLL_FRAMES + 5)]
    async with open_two(world) as (one, other), open_client(one, world.token(ann)) as witness:
        client = PollClient(one, world.token(ben))
        await client.poll()
        await wait_registered(one)
        await say_all(world, channel, *told)
        await witness.until_content(told[-1])
        client.node = other
        lost = (await client.ask()).json()
        await client.poll()
        assert client.answers[-1]["events"] == lost["events"]
        assert client.contents == told
        assert await client.poll(wait=0) == []
        await wait_registered(other)
        await say_all(world, channel, "more")
        client.node = one
        await client.poll()
        assert client.contents == [*told, "more"]
        assert (one.sessions, other.sessions) == (2, 0)


async def test_a_quiet_stream_knows_a_young_place(world: World) -> None:
    """A sign of life moves the client's id, so that it can go on however much others were sent meanwhile."""
    ann, ben = world.register("ann"), world.register("ben")
    _, channel = await world.create_group(ann)
    settings = settings_of(replay_log_bytes=2_000, stream_heartbeat=timedelta(seconds=0.05))
    async with open_node(world, settings) as node, open_client(node, world.token(ann)) as witness:
        async with open_listening(node, world.token(ben)) as client:
            before = client.last_id
            await say_all(world, channel, *map(str, range(20)))
            frame = await witness.until_content("19")
            direct = asyncio.create_task(client.until("CHANNEL_CREATE"))
            while client.last_id == before or int(client.last_id.rpartition(":")[2]) < frame["s"]:
                await asyncio.sleep(0.01)
            told = client.last_id
            opened = await world.open_direct(ann, ben)
            await direct
        async with open_stream(node, world.token(ben), told) as again:
            await again.until("RESUMED")
            assert [d["id"] for d in again.got("CHANNEL_CREATE")] == [str(opened.id)]


@pytest.mark.parametrize("wrong", ["unknown session", "another user", "an s that was never sent", "nonsense"])
async def test_what_cant_be_gone_on_with_is_told_to_begin_anew(world: World, node: ServedNode, wrong: str) -> None:
    """INVALID_SESSION, with an id that makes clients forget theirs, then the end; a poll hears the same."""
    ann, ben = world.register("ann"), world.register("ben")
    token = world.token(ben if wrong == "another user" else ann)
    async with open_listening(node, world.token(ann)) as client:
        session_id = client.got("READY")[0]["session_id"]
        place = {"unknown session": "x.y:1", "an s that was never sent": f"{session_id}:100000", "nonsense": "a:b"}
        async with open_stream(node, token, place.get(wrong, client.last_id)) as again:
            again.last_id = "old"
            assert (await again.until(9))["d"] is False
            assert again.last_id == ""
            await again.ended()
        polling = PollClient(node, token)
        polling.session_id, _, s = place.get(wrong, client.last_id).rpartition(":")
        if wrong != "nonsense":
            polling.s = int(s)
            assert [frame["op"] for frame in await polling.poll()] == [9]
            assert {polling.answers[-1][key] for key in ("session_id", "s")} == {None}


async def test_a_node_that_drains_says_so_and_ends(world: World) -> None:
    """Streams get RECONNECT and end, polls are answered at once; who comes then hears 503."""
    ann, ben, _, _ = await world.create_pair()
    async with open_node(world) as node, open_listening(node, world.token(ann)) as client:
        polling = PollClient(node, world.token(ben))
        await polling.poll()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(polling.poll(wait=50))
            while node.attached < 2:
                await asyncio.sleep(0.01)
            group.create_task(node.gateway.drain())
            await client.until(7)
            await client.ended()
            assert [frame["op"] for frame in await waiting] == [7]
            assert (await polling.ask()).status_code == 503


async def test_a_slow_reader_ends_and_goes_on(world: World) -> None:
    """Who leaves too much unread is ended with all that was pushed before; nothing is missed behind it."""
    ann, ben, _, channel = await world.create_pair()
    settings = settings_of(send_buffer_bytes=50_000)
    async with open_node(world, settings) as node, open_client(node, world.token(ann)) as reader:
        sent = 0
        async with open_raw(node.port, receive_buffer=4096) as stuck:
            await stuck.send(request_of(world.token(ben)))
            await node.wait_sessions(2)
            async with asyncio.timeout(40):
                while node.attached == 2:
                    await world.say(ann, channel, str(sent) + "x" * 1_900)
                    sent += 1
                    await reader.until("MESSAGE_CREATE")
            text = await read_to_end(stuck)
        for _ in range(3):
            await world.say(ann, channel, str(sent))
            sent += 1
            await reader.until("MESSAGE_CREATE")
        last_id = text.rpartition(b"\nid: ")[2].partition(b"\n")[0].decode()
        first = text.count(b'"t":"MESSAGE_CREATE"')
        async with open_stream(node, world.token(ben), last_id) as again:
            await again.until("RESUMED")
            assert 0 < first < sent
            assert [content.rstrip("x") for content in again.contents] == [str(n) for n in range(first, sent)]


async def test_who_does_not_read_at_all_is_cut_off(world: World) -> None:
    """However much room there is: who takes nothing for too long is gone, and the session waits."""
    ann, ben, _, channel = await world.create_pair()
    settings = settings_of()
    http = settings.http.model_copy(update={"unread_timeout": timedelta(seconds=0.3)})
    async with (
        open_node(world, settings.model_copy(update={"http": http})) as node,
        open_client(node, world.token(ann)) as reader,
        open_raw(node.port, receive_buffer=4096) as stuck,
    ):
        await stuck.send(request_of(world.token(ben)))
        await node.wait_sessions(2)
        async with asyncio.timeout(40):
            while node.attached == 2:
                await world.say(ann, channel, "x" * 2_000)
                await reader.until("MESSAGE_CREATE")
        await node.wait_detached(1)


def request_of(token: str) -> bytes:
    """Return the bytes that ask for a stream."""
    return f"GET /api/v10/gateway/events HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode()


async def read_to_end(client: RawClient) -> bytes:
    """Return all that a server sends until the chunk that ends an answer."""
    loop = asyncio.get_running_loop()
    text = b""
    async with asyncio.timeout(20):
        while not text.endswith(b"0\r\n\r\n"):
            text += await loop.sock_recv(client.socket, 65536)
    return text


async def test_who_may_not_hears_why(world: World) -> None:
    """Tokens, budgets, origins and wrong queries: each answer in Discord's shape, before any stream."""
    ann = world.register("ann")
    limits = LimitSettings(identifies_per_minute=3, polls_per_minute=8, sessions_per_user=1)
    settings = settings_of(limits=limits, origins=("https://ours.test",))
    async with open_node(world, settings) as node, httpx.AsyncClient(timeout=20) as http:

        async def ask(token: str = "", origin: str = "", **query: str | float) -> tuple[int, int]:
            headers = {"Authorization": token or world.token(ann), **({"Origin": origin} if origin else {})}
            answer = await http.get(events_url(node), headers=headers, params={"wait": 0, **query})
            return answer.status_code, answer.json().get("code", 0)

        assert await ask(token="x.y.z") == (401, 0)
        assert await ask(origin="https://theirs.test") == (403, 50001)
        for wrong in ({"wait": 51}, {"wait": "nan"}, {"session_id": "a"}, {"seq": -1}, {"positions": "1"}):
            assert await ask(**wrong) == (400, 50035)
        async with open_listening(node, world.token(ann)):
            assert await ask() == (429, 0)  # one session at a time
        assert await ask(origin="https://ours.test") == (200, 0)
        assert await ask() == (429, 0)  # the fourth IDENTIFY
        answers = [await ask(session_id="a", seq=1) for _ in range(8)]
        assert answers[0] == (200, 0)
        assert answers[-1] == (429, 0)


async def test_streams_have_a_bound_of_their_own(world: World) -> None:
    """One stream too many is told 503; WebSockets and other requests are served all the same, and later streams too."""
    ann, ben = world.register("ann"), world.register("ben")
    limits = LimitSettings()
    async with open_node(world, settings_of(limits=limits, max_streams=1)) as node:
        async with open_listening(node, world.token(ann)), open_client(node, world.token(ben)) as client:
            assert client.ready
            assert (await PollClient(node, world.token(ben)).ask()).status_code == 503
        async with asyncio.timeout(10):
            while (await PollClient(node, world.token(ben)).ask()).status_code != 200:
                await asyncio.sleep(0.01)


async def test_streams_and_polls_are_in_no_requests_way(world: World) -> None:
    """They outlast the deadline of a request, and take none of the places of those at work."""
    ann, ben, _, channel = await world.create_pair()
    settings = settings_of()
    http = settings.http.model_copy(update={"request_timeout": timedelta(seconds=0.3), "max_requests": 1})
    async with open_node(world, settings.model_copy(update={"http": http})) as node:
        polling = PollClient(node, world.token(ben))
        await polling.poll()
        async with open_listening(node, world.token(ann)) as client:
            assert await polling.poll(wait=0.5) == []
            await say_all(world, channel, "late")
            assert (await client.until("MESSAGE_CREATE"))["d"]["content"] == "late"
            await polling.until_content("late")


async def test_a_revoked_token_ends_the_stream(world: World, node: ServedNode) -> None:
    """The stream ends with its session, and asking again is 401."""
    ann = world.register("ann")
    token = world.token(ann)
    async with open_listening(node, token) as client:
        await world.revoke(ann, token)
        await client.ended()
    await node.wait_sessions(0)
    polling = PollClient(node, token)
    assert (await polling.ask(wait=0)).status_code == 401
