"""People who talk: a user with REST and devices on the gateway, as a client program would do it.

`Door` says where the services are: one address for `make run`, one per service where no front door stands before
them. Everything has a deadline.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

DEADLINE_S = 15.0
Json = dict[str, Any]


@dataclass(frozen=True)
class Door:
    """Base addresses (http://host:port) of the services that a client reaches."""

    groups: str
    history: str
    gateways: tuple[str, ...]


class Device:
    """One connection of a user: everything that was dispatched to it, in order."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._may_close = False
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.dispatches: list[Json] = []
        self._answers: dict[str, Json] = {}
        self._news = asyncio.Condition()
        self.ready: Json = {}

    async def receive(self) -> None:
        """Take in frames until the connection ends, which must have been said to be right."""
        try:
            async for text in self._connection:
                frame = json.loads(text)
                async with self._news:
                    if frame["op"] == 0:
                        self.dispatches.append(frame)
                    elif frame["op"] in {101, 102}:
                        self._answers[frame["d"]["nonce"]] = frame
                    self._news.notify_all()
        except ConnectionClosedError as error:
            if not self._may_close:
                raise
            self.closed.set_result(error.rcvd.code if error.rcvd is not None else 1006)

    def may_close(self) -> asyncio.Future[int]:
        """Take in that the server may close; return what will be the code that it closes with."""
        self._may_close = True
        return self.closed

    def cut(self) -> None:
        """Lose the connection without a word."""
        self._may_close = True
        self._connection.transport.abort()

    @property
    def resume(self) -> Json:
        """What goes on with this session, but for the token."""
        seen = max(frame["s"] for frame in self.dispatches)
        return {"session_id": self.ready["session_id"], "seq": seen}

    async def wait_for(self, t: str, **fields: str) -> Json:
        """Return `d` of the first dispatch of this name with these fields."""
        async with asyncio.timeout(DEADLINE_S), self._news:
            while True:
                for frame in self.dispatches:
                    if frame["t"] == t and all(frame["d"].get(key) == value for key, value in fields.items()):
                        found: Json = frame["d"]
                        return found
                await self._news.wait()

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until this is so of what came."""
        async with asyncio.timeout(DEADLINE_S), self._news:
            while not holds():
                await self._news.wait()

    async def wait_for_messages(self, channel_id: str, count: int) -> list[Json]:
        """Return the messages of a channel as they came, when there are so many."""
        async with asyncio.timeout(DEADLINE_S), self._news:
            while len(found := self.messages(channel_id)) < count:
                await self._news.wait()
            return found

    def messages(self, channel_id: str) -> list[Json]:
        """Return the messages of a channel that came so far."""
        return [
            frame["d"]
            for frame in self.dispatches
            if frame["t"] == "MESSAGE_CREATE" and frame["d"]["channel_id"] == channel_id
        ]

    async def say(self, channel_id: str, content: str, nonce: str = "") -> Json:
        """Send by op 100 and return the answer: SEND_ACK or SEND_REJECT."""
        nonce = nonce or uuid4().hex[:20]
        self._answers.pop(nonce, None)
        await self._connection.send(
            json.dumps({"op": 100, "d": {"channel_id": channel_id, "content": content, "nonce": nonce}})
        )
        async with asyncio.timeout(DEADLINE_S), self._news:
            while nonce not in self._answers:
                await self._news.wait()
            return self._answers[nonce]


@dataclass
class Person:
    """A user with a token; `devices` are opened by `open_device`."""

    door: Door
    http: httpx.AsyncClient
    id: str
    token: str
    devices: list[Device] = field(default_factory=list)

    async def request(self, method: str, base: str, path: str, **options: Any) -> Any:
        """Make a request below /api/v10 and return the JSON of a good answer."""
        answer = await self.http.request(
            method, f"{base}/api/v10{path}", headers={"Authorization": self.token}, **options
        )
        assert answer.is_success, (path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    async def create_group(self, name: str) -> Json:
        """Create a public group; it comes with one channel."""
        created: Json = await self.request("POST", self.door.groups, "/guilds", json={"name": name, "public": True})
        return created

    async def join(self, name: str) -> Json:
        """Join a public group by its name."""
        joined: Json = await self.request("POST", self.door.groups, "/guilds/join", json={"name": name})
        return joined

    async def open_direct(self, other: Person) -> Json:
        """Open the direct channel with another user."""
        opened: Json = await self.request(
            "POST", self.door.groups, "/users/@me/channels", json={"recipient_id": other.id}
        )
        return opened

    async def post(self, channel_id: str, content: str) -> Json:
        """Send over REST."""
        path = f"/channels/{channel_id}/messages"
        sent: Json = await self.request("POST", self.door.history, path, json={"content": content})
        return sent

    async def page(self, channel_id: str, **query: Any) -> list[Json]:
        """Read a page of messages, newest first."""
        path = f"/channels/{channel_id}/messages"
        page: list[Json] = await self.request("GET", self.door.history, path, params=query)
        return page

    async def read_all(self, channel_id: str) -> list[Json]:
        """Read a channel page by page, and return it oldest first."""
        found: list[Json] = []
        while page := await self.page(channel_id, after=found[-1]["id"] if found else 0, limit=7):
            found += page[::-1]
        return found

    async def events(self, channel_id: str, after_seq: int = 0) -> list[Json]:
        """Read everything that happened in a channel after a seq."""
        found: list[Json] = []
        while True:
            query = {"after_seq": found[-1]["seq"] if found else after_seq, "limit": 10}
            page = await self.request("GET", self.door.history, f"/channels/{channel_id}/events", params=query)
            found += page["events"]
            if not page["has_more"]:
                return found


@asynccontextmanager
async def open_people(door: Door, *names: str) -> AsyncIterator[list[Person]]:
    """Register users under these names and something unique."""
    async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
        people = []
        for name in names:
            body = {"username": f"{name}{uuid4().hex[:8]}", "password": "correct horse battery"}
            answer = await client.post(f"{door.groups}/api/v10/auth/register", json=body)
            assert answer.status_code == 201, answer.text
            people.append(Person(door, client, answer.json()["user"]["id"], answer.json()["token"]))
        yield people


@asynccontextmanager
async def open_resumed(gateway: str, token: str, of: Device) -> AsyncIterator[Device]:
    """Go on with a device's session on a gateway; what was missed is there when this yields."""
    url = gateway.replace("http", "ws", 1)
    async with connect(f"{url}/gateway?v=10&encoding=json") as connection, asyncio.TaskGroup() as tasks:
        device = Device(connection)
        receiving = tasks.create_task(device.receive())
        await connection.send(json.dumps({"op": 6, "d": {"token": token, **of.resume}}))
        await device.wait_for("RESUMED")
        try:
            yield device
        finally:
            receiving.cancel()


async def first_words(gateway: str, op: int, d: Json) -> int:
    """Say something as the first frame to a gateway; return the code that it closes with."""
    url = gateway.replace("http", "ws", 1)
    async with connect(f"{url}/gateway?v=10&encoding=json") as connection, asyncio.timeout(DEADLINE_S):
        await connection.send(json.dumps({"op": op, "d": d}))
        await connection.wait_closed()
        return connection.close_code or 0


@asynccontextmanager
async def open_devices(*places: tuple[Person, int]) -> AsyncIterator[list[Device]]:
    """Connect a device for each (person, number of the gateway) and wait until it is ready."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        devices = []
        receiving = []
        for person, gateway in places:
            url = person.door.gateways[gateway].replace("http", "ws", 1)
            connection = await stack.enter_async_context(connect(f"{url}/gateway?v=10&encoding=json"))
            device = Device(connection)
            receiving.append(tasks.create_task(device.receive()))
            identify = {"token": person.token, "properties": {}}  # no intents: all
            await connection.send(json.dumps({"op": 2, "d": identify}))
            device.ready = await device.wait_for("READY")
            for guild in device.ready["guilds"]:
                await device.wait_for("GUILD_CREATE", id=guild["id"])
            devices.append(device)
        try:
            yield devices
        finally:
            for task in receiving:
                task.cancel()
