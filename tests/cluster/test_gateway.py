"""The gateway behind a real socket: sessions, sends, strangers, slow readers."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from shared.amqp import open_amqp_bus
from shared.core import calls
from shared.settings import LimitSettings
from tests.gateway.world import Client, ServedNode, World, open_client, open_node, open_world, settings_of
from tests.servers import forget_topology


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Open a world."""
    async with open_world() as opened:
        yield opened


@pytest.fixture
async def node(world: World) -> AsyncIterator[ServedNode]:
    """Open a node without limits."""
    async with open_node(world) as opened:
        yield opened


async def test_a_session_begins_with_hello_ready_and_its_groups(world: World, node: ServedNode) -> None:
    """HELLO tells the interval; READY names groups as unavailable, each then comes as GUILD_CREATE with heads."""
    ann = world.register("ann")
    group, channel = await world.create_group(ann)
    await world.say(ann, channel, "before")
    async with connect(node.url, compression=None) as socket:
        client = Client(socket)
        assert (await client.receive())["d"] == {"heartbeat_interval": 41250}
        await client.send(1)
        assert (await client.receive())["op"] == 11
        ready = await client.identify(world.token(ann))
    assert ready["guilds"] == [{"id": str(group.id), "unavailable": True}]
    assert ready["resume_gateway_url"] == f"ws://127.0.0.1:{node.port}/gateway"
    (created,) = client.got("GUILD_CREATE")
    assert created["channels"][0]["last_seq"] == 1
    assert [member["user"]["id"] for member in created["members"]] == [str(ann.id)]


@pytest.mark.parametrize("prefix", ["", "Bot ", "Bearer "])
async def test_a_token_may_stand_behind_its_kind(world: World, node: ServedNode, prefix: str) -> None:
    """Libraries send tokens bare or with a prefix; both open a session."""
    ann = world.register("ann")
    async with open_client(node, prefix + world.token(ann)) as client:
        assert client.ready["user"]["id"] == str(ann.id)


async def test_a_bad_token_is_told_as_such(world: World, node: ServedNode) -> None:
    """4004, for a forged token and for one of an account that does not exist."""
    nobody = world.tokens.mint(99, 1)
    for token in ("x.y.z", nobody, ""):
        async with open_client(node) as client:
            await client.send(2, {"token": token})
            assert await client.closed() == 4004
    async with open_client(node) as client:
        await client.send(6, {"token": "x.y.z", "session_id": "s", "seq": 1})
        assert await client.closed() == 4004


async def test_resume_is_answered_honestly(world: World, node: ServedNode) -> None:
    """A session that is gone can't be resumed: INVALID_SESSION, and the client identifies on the same socket."""
    ann = world.register("ann")
    async with open_client(node) as client:
        await client.send(6, {"token": world.token(ann), "session_id": "gone", "seq": 3})
        assert (await client.receive())["d"] is False
        await client.identify(world.token(ann))


async def test_two_people_and_two_devices_see_the_same(world: World, node: ServedNode) -> None:
    """A message reaches every session of every member once, the sender's other device too, and is acknowledged."""
    ann, ben = world.register("ann"), world.register("ben")
    group, channel = await world.create_group(ann)
    await world.join(ben, group)
    async with (
        open_client(node, world.token(ann)) as phone,
        open_client(node, world.token(ann)) as laptop,
        open_client(node, world.token(ben)) as other,
    ):
        await phone.post(channel, "hello")
        ack = (await phone.until(101))["d"]
        seen = [(await one.until("MESSAGE_CREATE")) for one in (laptop, other)]
    assert ack == {"nonce": "n1", "id": seen[0]["d"]["id"], "seq": 1}
    assert seen[0]["d"] == seen[1]["d"]
    assert seen[0]["s"] == seen[1]["s"]
    assert seen[0]["d"]["content"] == "hello"
    assert seen[0]["d"]["nonce"] == "n1"


async def test_a_direct_channel_opens_and_talks_live(world: World, node: ServedNode) -> None:
    """CHANNEL_CREATE to both, each seeing the other; then messages; and the next READY lists it with its head."""
    ann, ben = world.register("ann"), world.register("ben")
    async with open_client(node, world.token(ann)) as one, open_client(node, world.token(ben)) as other:
        channel = await world.open_direct(ann, ben)
        created = (await one.until("CHANNEL_CREATE"))["d"]
        assert [user["username"] for user in created["recipients"]] == ["ben"]
        assert created["last_seq"] == created["seq"] == 1
        await one.post(channel, "psst")
        assert (await other.until("MESSAGE_CREATE"))["d"]["channel_type"] == 1
    async with open_client(node, world.token(ben)) as later:
        (direct,) = later.ready["private_channels"]
        assert (direct["id"], direct["last_seq"]) == (str(channel.id), 2)


async def test_sends_in_flight_keep_their_order(world: World, node: ServedNode) -> None:
    """Many sends without waiting are stored in the order of their frames, also behind an unknown channel."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    async with open_client(node, world.token(ann)) as client:
        gate = world.gates[calls.ReadAccess] = asyncio.Event()
        world.channels[77] = channel.__class__(77, channel.type, "hidden", channel.group_id)
        await client.send(100, {"channel_id": 77, "content": "first", "nonce": 1})
        for number in range(40):
            await client.post(channel, str(number))
        gate.set()
        acks = [(await client.until(101))["d"] for _ in range(41)]
    contents = [command.content for command in world.commands if command.channel_id == channel.id]
    assert contents == [str(number) for number in range(40)]
    assert {"nonce": 1, "seq": 1}.items() <= next(ack for ack in acks if ack["nonce"] == 1).items()


async def test_a_repeated_nonce_is_one_message(world: World, node: ServedNode) -> None:
    """Promise 3: the same nonce gives the same id and seq, and nobody sees it twice."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    async with open_client(node, world.token(ann)) as client:
        frame = {"channel_id": channel.id, "content": "once", "nonce": "same"}
        await client.send(100, frame)
        await client.send(100, frame)
        acks = [(await client.until(101))["d"] for _ in range(2)]
        await client.post(channel, "end")
        await client.until(101)
    assert acks[0] == acks[1]
    assert [message["content"] for message in client.got("MESSAGE_CREATE")] == ["once", "end"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"content": ""}, 50006),
        ({"content": " \n"}, 50006),
        ({"content": "x" * 2001}, 50035),
        ({"content": "a\0b"}, 50035),
        ({"content": 5}, 50035),
        ({"nonce": "x" * 26}, 50035),
        ({"nonce": {}}, 50035),
        ({"channel_id": "abc"}, 50035),
        ({"channel_id": "999"}, 10003),
        ({"message_reference": {"message_id": "x"}}, 50035),
    ],
)
async def test_what_is_malformed_is_refused_at_once(
    world: World, node: ServedNode, fields: dict[str, object], code: int
) -> None:
    """SEND_REJECT with Discord's code and without `retry_after`; nothing reaches the log, the session lives on."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    async with open_client(node, world.token(ann)) as client:
        await client.send(100, {"channel_id": str(channel.id), "content": "x", "nonce": "n"} | fields)
        rejected = (await client.until(102))["d"]
        await client.send(1)
        await client.until(11)
    assert rejected["code"] == code
    assert "retry_after" not in rejected
    assert world.commands == []


async def test_the_longest_content_is_counted_in_code_points(world: World, node: ServedNode) -> None:
    """2,000 characters outside the basic plane pass, escaped or not: the frame may be 12 times as large."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    async with open_client(node, world.token(ann)) as client:
        await client.post(channel, "\U0001f375" * 2000)  # json.dumps writes each as two escapes
        assert (await client.until(101))["d"]["seq"] == 1


async def test_a_refusal_by_permission_goes_through_the_shard(world: World, node: ServedNode) -> None:
    """Rule 10: who may not write any more still gets the ack of what was stored before; anything else is refused."""
    ann, ben = world.register("ann"), world.register("ben")
    group, channel = await world.create_group(ann)
    await world.join(ben, group)
    async with open_client(node, world.token(ben)) as client:
        await client.send(100, {"channel_id": channel.id, "content": "in time", "nonce": "a"})
        stored = (await client.until(101))["d"]
        await world.leave(ben, group)
        await client.until("GUILD_DELETE")
        await client.send(100, {"channel_id": channel.id, "content": "in time", "nonce": "a"})
        assert (await client.until(101))["d"] == stored
        await client.send(100, {"channel_id": channel.id, "content": "too late", "nonce": "b"})
        assert (await client.until(102))["d"]["code"] == 50001
    assert [command.refusal for command in world.commands] == ["", "MissingAccess", "MissingAccess"]


async def test_a_log_that_does_not_answer_is_told_as_retryable(world: World) -> None:
    """At the deadline the sender hears `retry_after`: the same nonce makes trying again safe."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    world.gates_of_log = asyncio.Event()
    settings = settings_of(send_timeout=timedelta(seconds=0.05))
    async with open_node(world, settings) as node, open_client(node, world.token(ann)) as client:
        await client.post(channel, "hello")
        rejected = (await client.until(102))["d"]
        assert rejected["retry_after"] > 0
        world.gates_of_log.set()
        await client.send(100, {"channel_id": channel.id, "content": "hello", "nonce": "n1"})
        assert (await client.until(101))["d"]["seq"] == 1


async def test_sends_over_budget_are_told_when_to_come_again(world: World) -> None:
    """The burst passes, the rest is refused with `retry_after`, and other frames are not counted for it."""
    ann = world.register("ann")
    _, channel = await world.create_group(ann)
    async with (
        open_node(world, settings_of(limits=LimitSettings())) as node,
        open_client(node, world.token(ann)) as client,
    ):
        for number in range(12):
            await client.post(channel, str(number))
        rejects = [(await client.until(102))["d"] for _ in range(2)]
        assert all(0 < reject["retry_after"] <= 0.4 for reject in rejects)
        assert all(reject["code"] == 0 for reject in rejects)


async def test_too_many_frames_end_the_connection(world: World) -> None:
    """120 frames in a minute, then 4008."""
    async with open_node(world, settings_of(limits=LimitSettings())) as node, open_client(node) as client:
        for _ in range(121):
            await client.send(1)
        assert await client.closed() == 4008


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"{", 4002),
        (b"[]", 4002),
        (b'{"op":"1"}', 4002),
        (b'{"op":2,"d":{"token":5}}', 4002),
        (b'{"op":2}', 4002),
        (b'{"op":1,"d":"\\ud800"}', 4002),
        (b'{"op":1,"d":' + b"[" * 2000 + b"}", 4002),
        (b'{"op":1,"d":"' + b"x" * 4096 + b'"}', 4002),
        (b'{"op":100,"d":{"content":"' + b"x" * 1_000_000 + b'"}}', 4002),
        (b'{"op":1,"d":"\xff"}', 1007),
        (b'{"op":77}', 4001),
        (b'{"op":100,"d":{}}', 4003),
        (b'{"op":8,"d":{"guild_id":"1"}}', 4003),
        (b'{"op":2,"d":{"token":"t","shard":[2,2]}}', 4010),
    ],
)
async def test_what_no_client_sends_gets_its_code(world: World, node: ServedNode, data: bytes, code: int) -> None:
    """Malformed, oversize, not UTF-8, unknown, too early: each has its close code, read by the client."""
    async with open_client(node) as client:
        await client.socket.send(data, text=True)
        assert await client.closed() == code


async def test_identifying_twice_is_an_error(world: World, node: ServedNode) -> None:
    """4005."""
    ann = world.register("ann")
    async with open_client(node, world.token(ann)) as client:
        await client.send(2, {"token": world.token(ann)})
        assert await client.closed() == 4005


async def test_binary_and_fragmented_frames_are_frames(world: World, node: ServedNode) -> None:
    """Some (hikari) send binary JSON; a message may come in fragments; pings are answered."""
    async with open_client(node) as client:
        await client.socket.send(b'{"op":1,"d":null,"unknown":[]}')
        assert (await client.receive())["op"] == 11
        await client.socket.send(['{"op"', ":1", "}"])
        assert (await client.receive())["op"] == 11
        await (await client.socket.ping())
        await client.socket.send(["{"] + [" "] * 100 + ["}"])
        assert await client.closed() == 4002


async def test_garbage_below_the_protocol_is_closed(world: World, node: ServedNode) -> None:
    """An unmasked frame or a wrong opcode ends the connection by RFC 6455, and nobody else's."""
    async with open_client(node) as client, open_client(node) as other:
        client.socket.transport.write(Frame(Opcode.TEXT, b"{}").serialize(mask=False))
        assert await client.closed() == 1002
        await other.send(1)
        assert (await other.receive())["op"] == 11


@pytest.mark.parametrize(("path", "status"), [("/elsewhere", 404), ("/gateway?encoding=etf", 400), ("/gateway/x", 404)])
async def test_only_the_gateway_upgrades(node: ServedNode, path: str, status: int) -> None:
    """Other paths and encodings are refused before the upgrade."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"ws://127.0.0.1:{node.port}{path}"):
            pass
    assert refused.value.response.status_code == status


async def test_versions_and_slashes(node: ServedNode) -> None:
    """The path may end in a slash; an unknown version is closed with 4012; an unknown `compress` gets plain text."""
    base = f"ws://127.0.0.1:{node.port}/gateway"
    async with connect(f"{base}/?v=9&compress=lzma-stream", compression=None) as socket:
        assert json.loads(await socket.recv())["op"] == 10
    async with connect(f"{base}?v=3", compression=None) as socket:
        assert await Client(socket).closed() == 4012


async def test_origins_are_kept_out_unless_listed(world: World) -> None:
    """A page of another site can't connect in a visitor's name."""
    async with open_node(world, settings_of(origins=("https://chat.example",))) as node:
        async with connect(node.url, origin="https://chat.example"):  # type: ignore[arg-type]
            pass
        with pytest.raises(InvalidStatus) as refused:
            async with connect(node.url, origin="https://evil.example"):  # type: ignore[arg-type]
                pass
        assert refused.value.response.status_code == 403


async def test_connections_are_bounded(world: World) -> None:
    """One more than allowed is answered 503; a place that became free is given again."""
    settings = settings_of(limits=LimitSettings(), max_connections=1)
    async with open_node(world, settings) as node:
        async with open_client(node):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(node.url):
                    pass
            assert refused.value.response.status_code == 503
        async with asyncio.timeout(5):
            while node.gateway.node.statistics()["connections"]:
                await asyncio.sleep(0.01)
        async with open_client(node):
            pass


async def test_who_does_not_identify_or_falls_silent_is_closed(world: World) -> None:
    """4000 without IDENTIFY or RESUME in time; after two silent intervals the session is closed, resumable."""
    ann = world.register("ann")
    settings = settings_of(identify_timeout=timedelta(seconds=0.1), heartbeat_interval=timedelta(seconds=0.2))
    async with open_node(world, settings) as node:
        async with open_client(node) as client:
            assert await client.closed() == 4000
        async with open_client(node, world.token(ann)) as client:
            assert await client.closed() == 4000


async def test_a_slow_reader_is_closed_and_delays_nobody(world: World) -> None:
    """A client that does not read costs its own connection, at the bound, while others get everything at once."""
    ann, ben = world.register("ann"), world.register("ben")
    group, channel = await world.create_group(ann)
    await world.join(ben, group)
    async with open_node(world, settings_of(send_buffer_bytes=200_000)) as node:
        with sockets.create_connection(("127.0.0.1", node.port)) as stuck:
            stuck.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(
                stuck,
                b"GET /gateway HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            )
            await loop.sock_recv(stuck, 4096)  # what comes before the upgrade was answered would be lost
            identify = json.dumps({"op": 2, "d": {"token": world.token(ben)}}).encode()
            await loop.sock_sendall(stuck, Frame(Opcode.TEXT, identify).serialize(mask=True))
            async with open_client(node, world.token(ann)) as reader:
                await node.wait_sessions(2)
                async with asyncio.timeout(20):
                    sent = 0
                    while node.attached == 2:
                        await world.say(ann, channel, "x" * 2000)
                        sent += 1
                        await reader.until("MESSAGE_CREATE")
                assert sent > 100
                assert len(reader.got("MESSAGE_CREATE")) == sent


async def test_a_node_that_ends_sends_its_clients_elsewhere(world: World, node: ServedNode) -> None:
    """RECONNECT, then a close code that is not 1000, so that no library drops its session; nobody new is taken."""
    ann = world.register("ann")
    async with open_client(node, world.token(ann)) as client:
        drain = asyncio.create_task(node.gateway.drain())
        assert (await client.receive())["op"] == 7
        assert await client.closed() == 4000
        await drain
        with pytest.raises(InvalidStatus):
            async with connect(node.url):
                pass


async def test_the_way_to_the_gateway(world: World, node: ServedNode) -> None:
    """Discord's two routes: the first needs no token, the second does; the URLs work as they are."""
    ann = world.register("ann")
    base = f"http://127.0.0.1:{node.port}"
    async with httpx.AsyncClient(base_url=base) as http:
        url = (await http.get("/api/v10/gateway")).json()["url"]
        assert (await http.get("/api/v10/gateway/bot")).status_code == 401
        bot = await http.get("/api/v10/gateway/bot", headers={"Authorization": f"Bot {world.token(ann)}"})
        assert (await http.get("/readyz")).status_code == 200
        metrics = (await http.get("/metrics")).text
    assert url == bot.json()["url"] == f"ws://127.0.0.1:{node.port}/gateway"
    assert bot.json()["session_start_limit"]["max_concurrency"] == 16, "no budgets here"
    assert bot.json()["session_start_limit"].keys() == {"total", "remaining", "reset_after", "max_concurrency"}
    assert bot.headers["content-type"] == "application/json"
    assert "starling_gateway_node_connections" in metrics


@pytest.mark.servers
async def test_two_nodes_talk_over_rabbitmq(rabbitmq_url: str) -> None:
    """On a real broker: people on different nodes see the same, a join binds, a send is acknowledged across."""
    prefix = f"gateway-{uuid4().hex[:8]}"
    async with (
        open_amqp_bus(rabbitmq_url, name=prefix) as bus,
        open_world(bus, prefix) as world,
        open_node(world, name=f"{prefix}-one") as one,
        open_node(world, name=f"{prefix}-two") as two,
    ):
        ann, ben = world.register("ann"), world.register("ben")
        group, channel = await world.create_group(ann)
        async with open_client(one, world.token(ann)) as here, open_client(two, world.token(ben)) as there:
            await world.join(ben, group)
            await there.until("GUILD_CREATE")
            await here.until("GUILD_MEMBER_ADD")
            for number in range(20):
                await here.post(channel, f"group {number}")
            direct = await world.open_direct(ann, ben)
            await there.until("CHANNEL_CREATE")
            await there.post(direct, "psst")
            await there.until(101)
            while len(here.got("MESSAGE_CREATE")) < 21:
                await here.receive()
            while len(there.got("MESSAGE_CREATE")) < 21:
                await there.receive()
    await forget_topology(rabbitmq_url, world.topology, ("groups", "history"))
    for client in (here, there):
        seqs = [message["seq"] for message in client.got("MESSAGE_CREATE") if message["channel_id"] == str(channel.id)]
        assert seqs == list(range(1, 21))
    assert sorted(here.got("MESSAGE_CREATE"), key=str) == sorted(there.got("MESSAGE_CREATE"), key=str)
