"""Who is out is out everywhere: logout, change of password and the end of a membership, on real services.

Two processes with all services and one more of history, on RabbitMQ, Redis and MongoDB wire.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from tests.journeys.people import (
    DEADLINE_S,
    Device,
    Door,
    Person,
    first_words,
    open_devices,
    open_people,
    open_resumed,
)
from tests.journeys.test_two_people import open_services

pytestmark = pytest.mark.servers
PASSWORD = "correct horse battery"


async def log_in(person: Person, groups: str) -> Person:
    """Return the same person with another token, issued by this replica."""
    name = (await person.request("GET", groups, "/users/@me"))["username"]
    answer = await person.http.post(f"{groups}/api/v10/auth/login", json={"login": name, "password": PASSWORD})
    assert answer.is_success, answer.text
    return replace(person, token=answer.json()["token"])


async def status_of(person: Person, base: str, path: str) -> int:
    """Return how a service answers to this token."""
    headers = {"Authorization": person.token}
    return (await person.http.get(f"{base}/api/v10{path}", headers=headers)).status_code


async def wait_out(person: Person, *doors: tuple[str, str]) -> None:
    """Wait until all these doors are closed to a token."""
    async with asyncio.timeout(DEADLINE_S):
        while any([await status_of(person, base, path) != 401 for base, path in doors]):
            await asyncio.sleep(0.05)


async def closed(*futures: asyncio.Future[int]) -> list[int]:
    """Return the codes that connections were closed with."""
    async with asyncio.timeout(DEADLINE_S):
        return await asyncio.gather(*futures)


async def no_session(door: Door, person: Person, device: Device) -> None:
    """Hold every gateway to refusing a token: for a new session, and for the old one."""
    for gateway in door.gateways:
        assert await first_words(gateway, 2, {"token": person.token, "properties": {}}) == 4004
        assert await first_words(gateway, 6, {"token": person.token, **device.resume}) == 4004


async def log_out(door: Door, other_groups: str, ada: Person, channel: str) -> None:
    """Ada logs one token out, with devices on both nodes, one of them away; her other token goes on."""
    phone, desk = await log_in(ada, door.groups), await log_in(ada, other_groups)
    async with open_devices((phone, 0), (phone, 1), (phone, 1), (desk, 1)) as (here, there, away, staying):
        away.cut()
        codes = [device.may_close() for device in (here, there)]
        await phone.request("POST", other_groups, "/auth/logout")
        assert await closed(*codes) == [4004, 4004]
        await no_session(door, phone, away)
        assert await status_of(phone, other_groups, "/users/@me") == 401
        await wait_out(phone, (door.groups, "/users/@me"), (door.history, f"/channels/{channel}/messages"))
        assert (await staying.say(channel, "still here"))["op"] == 101
        assert await status_of(desk, door.groups, "/users/@me") == 200


async def change_password(door: Door, other_groups: str, ada: Person, channel: str) -> None:
    """Ada changes her password: every device of hers is closed, and only the new token opens anything."""
    desk = await log_in(ada, other_groups)
    async with open_devices((ada, 0), (desk, 1)) as devices:
        codes = [device.may_close() for device in devices]
        body = {"password": PASSWORD, "new_password": "another battery staple"}
        changed: dict[str, Any] = await ada.request("PATCH", door.groups, "/users/@me", json=body)
        assert await closed(*codes) == [4004, 4004]
        for person, device in zip((ada, desk), devices, strict=True):
            await no_session(door, person, device)
            await wait_out(person, (other_groups, "/users/@me"), (door.history, f"/channels/{channel}/messages"))
    anew = replace(ada, token=changed["token"])
    async with open_devices((anew, 0), (anew, 1)) as (here, there):
        assert (await here.say(channel, "a new begin"))["op"] == 101
        await there.wait_for("MESSAGE_CREATE", channel_id=channel, content="a new begin")


async def leave(door: Door, ada: Person, ben: Person, group: dict[str, Any]) -> None:
    """Ben leaves while Ada talks: no device of his gets what was sequenced after the answer, resumed or not."""
    channel = group["channels"][0]["id"]
    async with open_devices((ada, 0), (ada, 1), (ben, 0), (ben, 1)) as (ada_here, ada_there, here, away):
        away.cut()
        assert (await ada_here.say(channel, "before"))["op"] == 101
        await here.wait_for("MESSAGE_CREATE", channel_id=channel, content="before")
        talking = asyncio.ensure_future(asyncio.gather(*(ada_there.say(channel, f"during {n}") for n in range(20))))
        await ben.request("DELETE", door.groups, f"/users/@me/guilds/{group['id']}")
        after = [await ada_there.say(channel, f"after {number}") for number in range(5)]
        told = [ack["d"]["seq"] for ack in [*await talking, *after]]
        for witness in (ada_here, ada_there):
            await witness.wait_for("MESSAGE_CREATE", channel_id=channel, content="after 4")
        async with open_resumed(door.gateways[0], ben.token, away) as back:
            for device in (here, back):
                assert await device.wait_for("GUILD_DELETE", id=group["id"])
                direct = await ben.open_direct(ada)
                said = (await device.say(direct["id"], "what comes behind all that"))["d"]["id"]
                await device.wait_for("MESSAGE_CREATE", id=said)
                heard = device.messages(channel)
                assert not [one for one in heard if one["content"].startswith("after")]
                assert [one["seq"] for one in heard] == sorted({one["seq"] for one in heard})
                assert heard[0]["content"] == "before"
                assert {one["seq"] for one in heard[1:]} <= set(told)


async def test_who_is_out_is_out_on_every_node(rabbitmq_url: str, redis_url: str, mongo_url: str) -> None:
    """Sessions close, tokens are refused at every door, removed members hear nothing more; the others go on."""
    name = f"kick{uuid4().hex[:8]}"
    environment = {
        "STARLING_BUS__URL": rabbitmq_url,
        "STARLING_BUS__PREFIX": name,
        "STARLING_CACHE__URL": redis_url,
        "STARLING_MONGO__URL": mongo_url,
        "STARLING_MONGO__DATABASE": name,
        "STARLING_LIMITS__ENABLED": "false",
    }
    async with open_services(environment, "all", "all", "history") as (groups, other_groups, history):
        door = Door(groups, history, (groups, other_groups))
        async with open_people(door, "ada", "ben") as (ada, ben):
            group = await ada.create_group(f"Garden {name}")
            await ben.join(f"Garden {name}")
            channel = group["channels"][0]["id"]
            await leave(door, ada, ben, group)
            await log_out(door, other_groups, ada, channel)
            await change_password(door, other_groups, ada, channel)
