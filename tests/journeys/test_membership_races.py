"""Many change one group at once, through two replicas and two gateways: one state comes of it, and all have heard it.

Two processes with all services on RabbitMQ, Redis and MongoDB wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from tests.journeys.people import Device, Door, Json, Person, open_devices, open_people
from tests.journeys.test_two_people import open_services

pytestmark = pytest.mark.servers
CHANGES = 200
MOVERS = 16
LEAVERS = 8
"""Users who are removed once and do not come back, so that what they hear can be judged by the removal's answer."""
AT_ONCE = 40
SEED = 20_261_123
MEMBER_FIELDS = ("roles", "nick")

Change = Callable[[], Awaitable[None]]


class Room:
    """A group in which everything happens at once. `bases`: addresses of the replicas."""

    def __init__(self, bases: list[str], owner: Person, group: Json, roles: list[str]) -> None:
        self.bases = bases
        self.owner = owner
        self.group = group
        self.id: str = group["id"]
        self.channel: str = group["channels"][0]["id"]
        self.roles = roles
        self.begun = 0
        """Messages that were begun to be said; the n-th says n."""
        self.removed: dict[str, int] = {}
        """Of who was removed for good: how many messages had been begun when that was answered."""

    async def ask(self, base: str, person: Person, method: str, path: str, body: Json | None = None) -> int:
        """Make a request until that is no retryable error; return the status: others may have been first."""
        while True:
            answer = await person.http.request(
                method, f"{base}/api/v10{path}", headers={"Authorization": person.token}, json=body
            )
            if answer.status_code != 503:
                assert answer.status_code < 500, answer.text
                return answer.status_code

    def change_of(self, draw: Random, movers: list[Person]) -> Change:
        """Return something that one does: join, leave, be kicked, get a role or lose it, through either replica."""
        base, person = draw.choice(self.bases), draw.choice(movers)
        member = f"/guilds/{self.id}/members/{person.id}"
        role = f"{member}/roles/{draw.choice(self.roles)}"
        ways: tuple[tuple[Person, str, str, Json | None], ...] = (
            (person, "POST", "/guilds/join", {"name": self.group["name"]}),
            (person, "POST", "/guilds/join", {"name": self.group["name"]}),
            (person, "DELETE", f"/users/@me/guilds/{self.id}", None),
            (self.owner, "DELETE", member, None),
            (self.owner, "PUT", role, None),
            (self.owner, "DELETE", role, None),
        )
        who, method, path, body = draw.choice(ways)

        async def change() -> None:
            await self.ask(base, who, method, path, body)

        return change

    def removal_of(self, base: str, person: Person, *, is_kick: bool) -> Change:
        """Return the removal of somebody who does not come back."""
        who = self.owner if is_kick else person
        path = f"/guilds/{self.id}/members/{person.id}" if is_kick else f"/users/@me/guilds/{self.id}"

        async def remove() -> None:
            assert await self.ask(base, who, "DELETE", path) == 204
            self.removed[person.id] = self.begun

        return remove

    async def talk(self, device: Device, until: asyncio.Event) -> None:
        """Say one thing after the other."""
        while not until.is_set():
            self.begun += 1
            assert (await device.say(self.channel, str(self.begun)))["op"] == 101

    async def members(self, base: str) -> dict[str, Json]:
        """Return the members as a replica lists them."""
        listed = await self.owner.request("GET", base, f"/guilds/{self.id}/members?limit=1000")
        return {member["user"]["id"]: shown(member) for member in listed}


def shown(member: Json) -> Json:
    """Return what events tell of a member beside who it is."""
    return {field: sorted(member[field]) if field == "roles" else member[field] for field in MEMBER_FIELDS}


def replayed(device: Device, group: str) -> tuple[dict[str, Json], list[int]]:
    """Return the members as a device has them: of its first snapshot, and changed by each event; and these events."""
    members: dict[str, Json] = {}
    seqs: list[int] = []
    for t, d in of_group(device, group):
        user = d["user"]["id"] if "user" in d else ""
        match t:
            case "GUILD_CREATE":
                members = {one["user"]["id"]: shown(one) for one in d["members"]}
            case "GUILD_MEMBER_ADD":
                assert user not in members, "added twice"
                members[user] = shown(d)
            case "GUILD_MEMBER_UPDATE":
                assert user in members, "changed without being there"
                members[user] = shown(d)
            case "GUILD_MEMBER_REMOVE":
                del members[user]
        if t != "GUILD_CREATE":
            seqs.append(d["seq"])
    return members, seqs


def of_group(device: Device, group: str) -> Iterator[tuple[str, Json]]:
    """Yield what a device was told of a group and its members."""
    for frame in device.dispatches:
        is_told = frame["t"].startswith("GUILD_MEMBER_") or frame["t"] in ("GUILD_CREATE", "GUILD_DELETE")
        if is_told and group in (frame["d"].get("guild_id"), frame["d"].get("id")):
            yield frame["t"], frame["d"]


async def race(room: Room, movers: list[Person], leavers: list[Person]) -> None:
    """Let everybody do everything at once, and hold what came of it to the promises."""
    draw = Random(SEED)  # noqa: S311 (a seed to find a race again)
    changes = [room.change_of(draw, movers) for _ in range(CHANGES - len(leavers))]
    for place, person in enumerate(leavers):
        remove = room.removal_of(room.bases[place % 2], person, is_kick=place % 4 < 2)
        changes.insert(draw.randrange(len(changes)), remove)
    at_once = asyncio.Semaphore(AT_ONCE)

    async def in_turn(change: Change) -> None:
        async with at_once:
            await change()

    people = [room.owner, room.owner, *movers, *leavers]
    async with open_devices(*((person, place % 2) for place, person in enumerate(people))) as devices:
        witnesses, others = devices[:2], dict(zip([one.id for one in people[2:]], devices[2:], strict=True))
        done = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(room.talk(witnesses[0], done))
            await asyncio.gather(*map(in_turn, changes))
            done.set()
        room.begun += 1
        last = (await witnesses[0].say(room.channel, str(room.begun)))["d"]["id"]
        members = await require_one_state(room, witnesses)
        await asyncio.gather(
            *(require_heard(room, user, one, last, is_member=user in members) for user, one in others.items())
        )
        await delete(room, witnesses, [others[user] for user in members if user in others])


async def require_one_state(room: Room, witnesses: list[Device]) -> dict[str, Json]:
    """Hold both replicas, and old and new sessions on both gateways, to the same members; return them."""
    one, other = [await room.members(base) for base in room.bases]
    assert one == other
    async with open_devices((room.owner, 0), (room.owner, 1)) as newcomers:
        for device in newcomers:
            created: Json = await device.wait_for("GUILD_CREATE", id=room.id)
            assert created["member_count"] == len(one)
            assert replayed(device, room.id)[0] == one
        told = [await told_up_to(witness, room.id, created["last_seq"]) for witness in witnesses]
    for members, seqs in told:
        assert members == one, "the old snapshot and its events are not the new one"
        assert seqs == sorted(set(seqs)), "an event came twice, or out of its order"
    assert told[0][1] == told[1][1], "two gateways told different events"
    return one


async def told_up_to(device: Device, group: str, seq: int) -> tuple[dict[str, Json], list[int]]:
    """Return what a device made of the events, once it has heard this one."""
    await device.wait_until(lambda: seq in [d.get("seq") for t, d in of_group(device, group) if t != "GUILD_CREATE"])
    return replayed(device, group)


async def require_heard(room: Room, user: str, device: Device, last: str, *, is_member: bool) -> None:
    """Hold a device to what its user may know: a member hears the last message, who was removed nothing after that."""
    if is_member:
        await device.wait_for("MESSAGE_CREATE", id=last)
    direct = await room.owner.request("POST", room.bases[0], "/users/@me/channels", json={"recipient_id": user})
    mark = (await room.owner.post(direct["id"], "what comes behind all that"))["id"]
    await device.wait_for("MESSAGE_CREATE", id=mark)
    heard = [int(message["content"]) for message in device.messages(room.channel)]
    assert heard == sorted(set(heard)), "a message came twice, or out of its order"
    assert (room.begun in heard) == is_member
    if user in room.removed:
        assert not [one for one in heard if one > room.removed[user]], "heard what was said after the removal"
    assert is_in(device, room.id) == is_member


def is_in(device: Device, group: str) -> bool:
    """Return whether a device was told that it is in a group."""
    return [t for t, _ in of_group(device, group) if t in ("GUILD_CREATE", "GUILD_DELETE")][-1:] == ["GUILD_CREATE"]


async def delete(room: Room, witnesses: list[Device], members: list[Device]) -> None:
    """Delete the group while somebody talks: all are told, nothing comes behind that, and every door is closed."""
    talking = asyncio.gather(*(witnesses[0].say(room.channel, "0") for _ in range(10)))
    assert await room.ask(room.bases[1], room.owner, "DELETE", f"/guilds/{room.id}") == 204
    for device in witnesses:
        refused = await device.say(room.channel, "after")
        assert (refused["op"], refused["d"]["code"]) == (102, 10003)
    for base in room.bases:
        for path in (f"/channels/{room.channel}/messages", f"/guilds/{room.id}"):
            assert await room.ask(base, room.owner, "GET", path) == 404
    await talking
    await asyncio.gather(*(require_end(room, device) for device in [*witnesses, *members]))


async def require_end(room: Room, device: Device) -> None:
    """Hold a member's device to have been told of the group's end last."""
    await device.wait_until(lambda: not is_in(device, room.id))
    frames = [(frame["t"], frame["d"]) for frame in device.dispatches]
    told = [t for t, d in frames if d.get("channel_id") == room.channel or d.get("id") == room.id]
    assert told[-1] == "GUILD_DELETE", "something came from a deleted group"


async def test_two_hundred_changes_at_once(rabbitmq_url: str, redis_url: str, mongo_url: str) -> None:
    """Joins, leaves, kicks and roles, while somebody talks: one state on both replicas, told by both gateways alike."""
    name = f"race{uuid4().hex[:8]}"
    environment = {
        "STARLING_BUS__URL": rabbitmq_url,
        "STARLING_BUS__PREFIX": name,
        "STARLING_CACHE__URL": redis_url,
        "STARLING_MONGO__URL": mongo_url,
        "STARLING_MONGO__DATABASE": name,
        "STARLING_LIMITS__ENABLED": "false",
    }
    async with open_services(environment, "all", "all") as bases:
        door = Door(bases[0], bases[0], tuple(bases))
        names = [f"user{number}" for number in range(MOVERS + LEAVERS)]
        async with open_people(door, "ada", *names) as (ada, *others):
            group: Any = await ada.create_group(f"Garden {name}")
            paths = f"/guilds/{group['id']}/roles"
            roles = [(await ada.request("POST", bases[0], paths, json={"name": "x"}))["id"] for _ in range(3)]
            for person in [*others[:LEAVERS], *others[LEAVERS::2]]:
                await person.join(f"Garden {name}")
            await race(Room(bases, ada, group, roles), others[LEAVERS:], others[:LEAVERS])
