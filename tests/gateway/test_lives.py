"""Random lives of a few nodes and clients: nodes die and drain, connections break, and nobody misses anything.

Each client is strict, as a good client library is: of every channel it sees each event once, in order, from the head
that it was told; in the end it knows exactly what is so. To clients that tell positions nothing may come twice; others
may be told again what they have, behind which they lack nothing either.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from shared.core.model import Channel, Group, User
from shared.core.stream import channel_stream
from tests.gateway.nodes import Cluster
from tests.gateway.world import World, open_world

PROGRAMS: Final = 8
STEPS: Final = 60


class Device:
    """A strict client that resumes, at whatever node lives."""

    def __init__(self, life: Life, user: User, *, tells_positions: bool) -> None:
        self.life = life
        self.user = user
        self.tells_positions = tells_positions
        self.session_id = ""
        self.s = 0
        self.groups: dict[str, set[str]] = {}
        self.heads: dict[str, int] = {}
        self.seen: list[str] = []
        self.resumed = 0
        self.began_anew = 0
        self.socket: ClientConnection | None = None

    async def run(self) -> None:
        """Talk, and come back whatever happens, for ever."""
        while True:
            node = self.life.random.choice(self.life.cluster.names) if self.life.cluster.names else None
            if node is not None:
                with contextlib.suppress(ConnectionClosed, InvalidHandshake, OSError, TimeoutError):
                    await self._talk(self.life.cluster[node].url)
            self.socket = None
            await asyncio.sleep(0.02)

    async def _talk(self, url: str) -> None:
        async with connect(url, compression=None, open_timeout=2, close_timeout=2) as socket:
            self.socket = socket
            while (frame := await self._receive(socket)) is not None:
                match frame["op"]:
                    case 10:
                        await socket.send(self.life.encode(self._first_frame()))
                    case 9:
                        self._forget()
                        await socket.send(self.life.encode(self._first_frame()))
                    case 7:
                        return
                    case 0:
                        self._take(frame["t"], frame["d"], frame["s"])

    async def _receive(self, socket: ClientConnection) -> dict[str, Any] | None:
        """Return the next frame; None if there is nobody at the other end."""
        for _ in range(2):
            try:
                async with asyncio.timeout(2):
                    return self.life.decode(await socket.recv())
            except TimeoutError:
                await socket.send(self.life.encode({"op": 1, "d": self.s}))
        return None

    def _first_frame(self) -> dict[str, Any]:
        token = self.life.world.token(self.user)
        if not self.session_id:
            return {"op": 2, "d": {"token": token, "properties": {}}}
        told = {"token": token, "session_id": self.session_id, "seq": self.s}
        return {"op": 6, "d": told | ({"positions": self.heads} if self.tells_positions else {})}

    def _forget(self) -> None:
        self.began_anew += 1
        self.session_id = ""
        self.groups, self.heads = {}, {}

    def _take(self, t: str, d: dict[str, Any], s: int) -> None:
        assert s >= self.s or t == "READY", "s went back"
        self.s = s
        match t:
            case "READY":
                self.session_id = d["session_id"]
                for channel in d["private_channels"]:
                    self.heads[channel["id"]] = channel["last_seq"]
            case "RESUMED":
                self.resumed += 1
            case "GUILD_CREATE":
                channels = {channel["id"]: channel["last_seq"] for channel in d["channels"]}
                for channel_id, head in channels.items():
                    known = self.heads.get(channel_id, head) if d["id"] in self.groups else head
                    assert head <= known, "told again with a head that hides events"
                    self.heads[channel_id] = max(head, known)
                self.groups[d["id"]] = self.groups.get(d["id"], set()) | set(channels)
            case "GUILD_DELETE":
                for channel_id in self.groups.pop(d["id"], ()):
                    del self.heads[channel_id]
            case "CHANNEL_CREATE":
                if "guild_id" in d:
                    self.groups[d["guild_id"]].add(d["id"])
                self.heads.setdefault(d["id"], d["last_seq"])
            case "MESSAGE_CREATE":
                before = self.heads[d["channel_id"]]
                if not self.tells_positions and d["seq"] <= before:
                    return
                assert d["seq"] == before + 1, f"{self.user.username} has {before} and was sent {d['seq']}"
                self.heads[d["channel_id"]] = d["seq"]
                self.seen.append(d["content"])

    def truth(self) -> dict[str, int]:
        """Return what the device must know in the end: channel → last seq."""
        world = self.life.world
        return {
            str(channel.id): len(world.streams[channel_stream(channel.id)])
            for channel in world.channels.values()
            if (
                self.user.id in world.members[channel.group_id] if channel.group_id else self.user in channel.recipients
            )
        }


class Life:
    """One random program."""

    def __init__(self, seed: int, world: World, stack: AsyncExitStack, *, tells_positions: bool) -> None:
        self.random = random.Random(seed)  # noqa: S311 (a program that can be played again)
        self.world = world
        self.cluster = Cluster(world, stack)
        self.users = [world.register(name) for name in ("ann", "ben", "cee")]
        self.devices = [Device(self, user, tells_positions=tells_positions) for user in self.users]
        self.groups: list[Group] = []
        self.nodes = 0
        self.said = 0

    @staticmethod
    def decode(message: str | bytes) -> dict[str, Any]:
        """Decode a frame."""
        frame: dict[str, Any] = json.loads(message)
        return frame

    @staticmethod
    def encode(frame: dict[str, Any]) -> str:
        """Encode a frame."""
        return json.dumps(frame)

    async def start(self) -> None:
        """Start one more node."""
        self.nodes += 1
        await self.cluster.start(f"node{self.nodes}")

    async def say(self) -> None:
        """Say something, somewhere."""
        channel = self.random.choice(list(self.world.channels.values()))
        for _ in range(self.random.randint(1, 4)):
            self.said += 1
            await self.world.say(self.users[0], channel, str(self.said))

    async def change(self) -> None:
        """Let somebody join, leave, make a channel or open a direct one."""
        group = self.random.choice(self.groups)
        user = self.random.choice(self.users[1:])
        match self.random.randint(0, 5):
            case 0:
                await self.world.create_channel(group, f"more{self.nodes}")
            case 1:
                one, other = self.random.sample(self.users, 2)
                if not self._have_direct(one, other):
                    await self.world.open_direct(one, other)
            case _ if user.id in self.world.members[group.id]:
                await self.world.leave(user, group)
            case _:
                await self.world.join(user, group)

    def _have_direct(self, one: User, other: User) -> bool:
        return any(one in channel.recipients and other in channel.recipients for channel in self._directs())

    def _directs(self) -> list[Channel]:
        return [channel for channel in self.world.channels.values() if not channel.group_id]

    async def cut(self) -> None:
        """Break a device's connection, whatever it has not read yet."""
        device = self.random.choice(self.devices)
        if device.socket is not None:
            device.socket.transport.abort()

    async def kill(self) -> None:
        """Kill a node; another one lives, or comes."""
        if len(self.cluster.names) == 1:
            await self.start()
        await self.cluster.kill(self.random.choice(self.cluster.names))

    async def drain(self) -> None:
        """Let a node end, when the others can take what it had."""
        await self.start()
        await self.cluster.drain(self.random.choice(self.cluster.names[:-1]))

    async def step(self) -> None:
        """Let something happen, and time pass or not."""
        what = self.random.choices(
            (self.say, self.change, self.cut, self.kill, self.drain, self.start), (40, 15, 15, 4, 2, 2)
        )[0]
        await what()
        if self.random.random() < 0.5:
            await asyncio.sleep(self.random.choice((0.0, 0.005, 0.05)))

    async def run(self) -> None:
        """Live, come to rest, and look."""
        await self.start()
        for name in ("tea", "cake"):
            group, _ = await self.world.create_group(self.users[0], name)
            self.groups.append(group)
        tasks = [asyncio.create_task(device.run()) for device in self.devices]
        try:
            for _ in range(STEPS):
                await self.step()
                for task in tasks:
                    if task.done():
                        await task
            await self._rest(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _rest(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait until every device knows exactly what is so."""
        try:
            async with asyncio.timeout(20):
                while any(device.heads != device.truth() for device in self.devices):
                    for task in tasks:
                        if task.done():
                            await task
                    await asyncio.sleep(0.01)
        except TimeoutError:
            for device in self.devices:
                assert device.heads == device.truth(), device.user.username


@pytest.mark.parametrize("tells_positions", [True, False])
@pytest.mark.parametrize("seed", range(PROGRAMS))
async def test_nobody_misses_anything_whatever_dies(seed: int, tells_positions: bool) -> None:
    """Whatever node dies or drains and whatever connection breaks, devices that resume have everything, in order.

    Those that tell positions have it once.
    """
    async with open_world() as world, AsyncExitStack() as stack:
        life = Life(seed, world, stack, tells_positions=tells_positions)
        await life.run()
        assert sum(device.resumed for device in life.devices) > 0
