"""Two people talk: from a client's frame to the other client and back as a page, as users do it.

Once through `make run`'s one process, restart included, and once through services that are each a process of
their own on real RabbitMQ, Redis and MongoDB wire.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from deploy.local.process import free_port
from tests.journeys.people import DEADLINE_S, Device, Door, Person, open_devices, open_people
from tests.local.test_run import ROOT, running

pytestmark = pytest.mark.servers


async def talk(ada: Person, ben: Person, devices: list[Device]) -> dict[str, list[str]]:
    """Talk in a group and in a DM; return what was said by channel. `devices`: Ada's two, then Ben's."""
    ada_phone, ada_desk, ben_phone = devices
    name = f"Garden {uuid4().hex[:8]}"
    group = await ada.create_group(name)
    for device in (ada_phone, ada_desk):
        await device.wait_for("GUILD_CREATE", id=group["id"])
    assert (await ben.join(name.upper()))["id"] == group["id"]
    await ben_phone.wait_for("GUILD_CREATE", id=group["id"])
    await ada_desk.wait_for("GUILD_MEMBER_ADD", guild_id=group["id"])

    channel = group["channels"][0]["id"]
    said: list[str] = []
    for number in range(6):
        for speaker, device in (("ada", ada_phone), ("ben", ben_phone)):
            said.append(f"{speaker} says {number}")
            ack = await device.say(channel, said[-1])
            assert (ack["op"], ack["d"]["seq"]) == (101, len(said))
    said.append("and over REST")
    assert (await ada.post(channel, said[-1]))["seq"] == len(said)
    repeated = [await ben_phone.say(channel, "only once", nonce="same") for _ in range(3)]
    said.append("only once")
    assert len({ack["d"]["id"] for ack in repeated}) == 1
    for device in devices:
        heard = await device.wait_for_messages(channel, len(said))
        assert [message["content"] for message in heard] == said
        assert [message["seq"] for message in heard] == list(range(1, len(said) + 1))

    direct = await ada.open_direct(ben)
    assert (await ben.open_direct(ada))["id"] == direct["id"]
    for device in devices:
        await device.wait_for("CHANNEL_CREATE", id=direct["id"])
    whispered = ["psst", "yes?"]
    await ada_desk.say(direct["id"], whispered[0])
    await ben_phone.say(direct["id"], whispered[1])
    for device in devices:
        heard = await device.wait_for_messages(direct["id"], 2)
        assert [message["content"] for message in heard] == whispered
    return {channel: said, direct["id"]: whispered}


async def change_minds(ada: Person, ben: Person, devices: list[Device], said: dict[str, list[str]]) -> None:
    """Edit and delete in the first channel, which Ada owns; every device hears of it, and `said` is what is left."""
    channel, contents = next(iter(said.items()))
    path = f"/channels/{channel}/messages"
    messages = await ada.read_all(channel)
    mine = [message for message in messages if message["author"]["id"] == ben.id]
    edited = await ben.request("PATCH", ben.door.history, f"{path}/{mine[0]['id']}", json={"content": "ben thinks"})
    await ben.request("DELETE", ben.door.history, f"{path}/{mine[1]['id']}")
    gone = [messages[0]["id"], messages[-1]["id"]]
    await ada.request("POST", ada.door.history, f"{path}/bulk-delete", json={"messages": gone})
    for device in devices:
        update = await device.wait_for("MESSAGE_UPDATE", id=edited["id"])
        assert (update["content"], update["edited_timestamp"]) == ("ben thinks", edited["edited_timestamp"])
        deletion = await device.wait_for("MESSAGE_DELETE", id=mine[1]["id"])
        bulk = await device.wait_for("MESSAGE_DELETE_BULK", channel_id=channel)
        assert sorted(bulk["ids"]) == sorted(gone)
        assert [deletion["seq"], bulk["seq"]] == [update["seq"] + 1, update["seq"] + 2]
    left = [message for message in messages if message["id"] not in {*gone, mine[1]["id"]}]
    contents[:] = ["ben thinks" if message["id"] == edited["id"] else message["content"] for message in left]


async def reply_react_and_pin(ada: Person, ben: Person, devices: list[Device], said: dict[str, list[str]]) -> None:
    """Ben replies to Ada and mentions her, she reacts and pins, and takes that back: every device hears of it."""
    channel, contents = next(iter(said.items()))
    path = f"/channels/{channel}/messages"
    asked = next(message for message in await ben.read_all(channel) if message["author"]["id"] == ada.id)
    body = {"content": f"<@{ada.id}> yes", "message_reference": {"message_id": asked["id"]}}
    reply = await ben.request("POST", ben.door.history, path, json=body)
    assert [user["id"] for user in reply["mentions"]] == [ada.id]
    assert reply["referenced_message"]["content"] == asked["content"]
    thumb = f"{path}/{reply['id']}/reactions/{quote('👍')}"
    await ada.request("PUT", ada.door.history, f"{thumb}/@me")
    await ada.request("PUT", ada.door.history, f"/channels/{channel}/pins/{reply['id']}")
    (pinned,) = await ben.request("GET", ben.door.history, f"/channels/{channel}/pins")
    assert [(one["count"], one["me"]) for one in pinned["reactions"]] == [(1, False)]
    assert [user["id"] for user in await ben.request("GET", ben.door.history, thumb)] == [ada.id]
    await ada.request("DELETE", ada.door.history, f"{thumb}/@me")
    for device in devices:
        assert (await device.wait_for("MESSAGE_CREATE", id=reply["id"]))["referenced_message"]["id"] == asked["id"]
        added = await device.wait_for("MESSAGE_REACTION_ADD", message_id=reply["id"])
        assert (added["user_id"], added["emoji"]["name"], added["seq"]) == (ada.id, "👍", reply["seq"] + 1)
        assert added["member"]["user"]["id"] == ada.id
        hint = await device.wait_for("CHANNEL_PINS_UPDATE", channel_id=channel)
        assert hint["last_pin_timestamp"]
        removed = await device.wait_for("MESSAGE_REACTION_REMOVE", message_id=reply["id"])
        assert removed["seq"] == reply["seq"] + 4
    contents += [reply["content"], ""]  # the last tells of the pin


async def check_history(person: Person, said: dict[str, list[str]]) -> None:
    """Pages and events tell exactly what was said."""
    for channel, contents in said.items():
        messages = await person.read_all(channel)
        assert [message["content"] for message in messages] == contents
        ids = [int(message["id"]) for message in messages]
        assert ids == sorted(ids)
        latest = await person.page(channel, limit=3)
        assert [message["content"] for message in latest] == contents[::-1][:3]
        events = await person.events(channel)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert [event["d"] for event in events if event["t"] == "MESSAGE_CREATE"] == messages


async def test_two_people_talk_through_make_run(tmp_path: Path) -> None:
    """In a group and in a DM, one of them on two devices; after a restart all of it is there and goes on."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    door = Door(url, url, (url,))
    async with AsyncExitStack() as stack:
        with running(port, tmp_path) as run:
            await asyncio.to_thread(run.read_until, "starling is ready")
            ada, ben = await stack.enter_async_context(open_people(door, "ada", "ben"))
            async with open_devices((ada, 0), (ada, 0), (ben, 0)) as devices:
                said = await talk(ada, ben, devices)
                await check_history(ben, said)
            code, errors = await asyncio.to_thread(run.end)
            assert (code, errors) == (0, "")
        with running(port, tmp_path) as run:
            await asyncio.to_thread(run.read_until, "starling is ready")
            await check_history(ada, said)
            channel = next(iter(said))
            async with open_devices((ada, 0), (ben, 0)) as (ada_phone, ben_phone):
                ack = await ada_phone.say(channel, "good morning")
                assert ack["d"]["seq"] == len(said[channel]) + 1
                (heard,) = await ben_phone.wait_for_messages(channel, 1)
                assert heard["content"] == "good morning"
                said[channel].append("good morning")
                await change_minds(ada, ben, [ada_phone, ben_phone], said)
                await reply_react_and_pin(ada, ben, [ada_phone, ben_phone], said)
            await check_history(ben, said)


async def test_what_was_acknowledged_survives_kill_9_of_everything(tmp_path: Path) -> None:
    """Acknowledged means stored: database and services are killed right after the last ack, and all of it is there."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        with running(port, tmp_path) as run:
            await asyncio.to_thread(run.read_until, "starling is ready")
            (ada,) = await stack.enter_async_context(open_people(Door(url, url, (url,)), "ada"))
            channel = (await ada.create_group(f"Garden {uuid4().hex[:8]}"))["channels"][0]["id"]
            async with open_devices((ada, 0)) as (phone,):
                acks = await asyncio.gather(*(phone.say(channel, f"message {number}") for number in range(20)))
                for child in run.children():
                    os.kill(child, signal.SIGKILL)
            stored = {ack["d"]["id"]: ack["d"]["seq"] for ack in acks}
            await asyncio.to_thread(run.process.communicate)
        with running(port, tmp_path) as run:
            await asyncio.to_thread(run.read_until, "starling is ready")
            assert {message["id"]: message["seq"] for message in await ada.read_all(channel)} == stored
            assert sorted(stored.values()) == list(range(1, 21))


async def end(process: asyncio.subprocess.Process) -> None:
    """End a service as an operator does, and hold it to exit code 0."""
    process.terminate()
    async with asyncio.timeout(2 * DEADLINE_S):
        assert await process.wait() == 0


@asynccontextmanager
async def open_services(environment: dict[str, str], *names: str) -> AsyncIterator[list[str]]:
    """Run each named service as a process of its own; yield their addresses when all are ready."""
    async with AsyncExitStack() as stack:
        urls = []
        for name in names:
            port = free_port()
            urls.append(f"http://127.0.0.1:{port}")
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "services",
                name,
                cwd=ROOT,
                env={**os.environ, **environment, "STARLING_HTTP__PORT": str(port)},
                stdout=subprocess.DEVNULL,
            )
            stack.push_async_callback(end, process)
        async with httpx.AsyncClient(timeout=DEADLINE_S) as client, asyncio.timeout(2 * DEADLINE_S):
            for url in urls:
                while not await is_ready(client, url):
                    await asyncio.sleep(0.1)
        yield urls


async def is_ready(client: httpx.AsyncClient, url: str) -> bool:
    """Return whether a process says that it may take traffic."""
    try:
        return (await client.get(f"{url}/readyz")).is_success
    except httpx.TransportError:
        return False


async def test_two_people_talk_over_rabbitmq(rabbitmq_url: str, redis_url: str, mongo_url: str) -> None:
    """The same talk with every service a process of its own and the two people on different gateway nodes."""
    name = f"journey{uuid4().hex[:8]}"
    environment = {
        "STARLING_BUS__URL": rabbitmq_url,
        "STARLING_BUS__PREFIX": name,
        "STARLING_CACHE__URL": redis_url,
        "STARLING_MONGO__URL": mongo_url,
        "STARLING_MONGO__DATABASE": name,
    }
    async with open_services(environment, "groups", "history", "gateway", "gateway") as (groups, history, *gateways):
        door = Door(groups, history, tuple(gateways))
        async with (
            open_people(door, "ada", "ben") as (ada, ben),
            open_devices((ada, 0), (ada, 1), (ben, 1)) as devices,
        ):
            said = await talk(ada, ben, devices)
            await check_history(ben, said)
            await change_minds(ada, ben, devices, said)
            await check_history(ada, said)
            await reply_react_and_pin(ada, ben, devices, said)
            await check_history(ada, said)
