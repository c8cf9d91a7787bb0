"""A small world for tests of the groups service: replicas on shared memory stores, a log shard, a listener.

`open_world` gives stores and a bus, `World.open_replica` a whole service on them, as many as a test wants. The
stand-in for history stores, projects and answers commands as its sequencer does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
from argon2 import PasswordHasher

from services.groups.app import assemble, router
from services.groups.application_command_store import MemoryApplicationCommands
from services.groups.attempts import Attempts
from services.groups.code_store import MemoryCodes
from services.groups.mail import Mailer
from services.groups.memory_store import MemoryGroups
from services.groups.passwords import open_passwords
from services.groups.service import Groups
from services.groups.store import GroupStore
from services.history.core.deciding import Verdict
from services.history.core.judging import CheckAccess
from services.history.core.marks import PutMarks, ReadDirects
from services.history.core.sequencer import ReadClock, Settled, sequence
from services.history.core.shard import Shard
from shared.audit import AuditStore
from shared.auth import Tokens
from shared.bus import BusUnavailable
from shared.command_log import open_command_log
from shared.core.audit import Entry
from shared.core.calls import SessionView
from shared.core.commands import AnyCommand, Events, Replies, decode_for_node, decode_for_shard, encode_envelope
from shared.core.ids import IdSource
from shared.core.model import Channel
from shared.core.permissions import DIRECT
from shared.core.stream import Event, Write
from shared.core.writing import Publish
from shared.kept_access import KeptAccess
from shared.limiter import LocalLimiter
from shared.memory_audit import MemoryAudit
from shared.memory_bus import MemoryBus
from shared.memory_cache import MemoryCache
from shared.memory_streams import MemoryStreams
from shared.streams import StoreUnavailable, StreamStore, drive
from shared.topology import Binding, Queue, Topology
from tests.apps import apps_on
from tests.groups.fuse import Fuse

PASSWORD = "a long enough password"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
Json = Any

_new_app = apps_on(router)


class FaultyBus(MemoryBus):
    """A memory bus whose next publishes of events fail, before or after they went out."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = 0
        self.delivers = False

    async def publish(self, exchange: Any, keys: Sequence[str], body: bytes, *, mandatory: bool = False) -> None:
        """Publish, or fail if told so."""
        if not (self.failing and exchange.name.endswith(".events")):
            await super().publish(exchange, keys, body, mandatory=mandatory)
            return
        self.failing -= 1
        if self.delivers:
            await super().publish(exchange, keys, body, mandatory=mandatory)
        raise BusUnavailable("told to fail")


class FaultyStreams(MemoryStreams):
    """A memory stream store that yields to rivals at each call and fails when told so."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.unanswered_commits = 0

    async def read_head(self, stream: str) -> Any:
        """Read, after rivals had their turn."""
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("told to fail")
        return await super().read_head(stream)

    async def read_heads(self, streams: Sequence[str]) -> dict[str, Any]:
        """Read, after rivals had their turn."""
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("told to fail")
        return await super().read_heads(streams)

    async def read_bucket(self, stream: str, first_seq: int) -> Any:
        """Read, after rivals had their turn."""
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("told to fail")
        return await super().read_bucket(stream, first_seq)

    async def commit(self, writes: Sequence[Write]) -> list[bool]:
        """Commit, after rivals had their turn; keep the answer back if told so."""
        await asyncio.sleep(0)
        stored = await super().commit(writes)
        if self.unanswered_commits:
            self.unanswered_commits -= 1
            return [False for _ in writes]
        return stored


@dataclass
class Replica:
    """One process of the groups service, and a client of it."""

    groups: Groups
    http: httpx.AsyncClient
    tokens: Tokens
    app: Any

    async def call(
        self, method: str, path: str, token: str = "", body: Json = None, *, address: str = ""
    ) -> httpx.Response:
        """Call a route under `/api/v10` as the user of a token. `address`: from where, else from this machine."""
        if address:
            transport = httpx.ASGITransport(self.app, client=(address, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://starling") as http:
                return await http.request(method, f"/api/v10{path}", headers={"Authorization": token}, json=body)
        headers = {"Authorization": token} if token else {}
        if body is None:
            return await self.http.request(method, f"/api/v10{path}", headers=headers)
        return await self.http.request(method, f"/api/v10{path}", headers=headers, json=body)

    async def register(self, username: str) -> tuple[str, int]:
        """Register a user; return token and id."""
        answer = await self.call("POST", "/auth/register", body={"username": username, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        return answer.json()["token"], int(answer.json()["user"]["id"])

    async def read_session(self, user_id: int) -> SessionView:
        """Return what the user's sessions begin with."""
        (encoded,) = (await self.groups.snapshots.read_sessions((user_id,))).values()
        return msgspec.msgpack.decode(encoded, type=SessionView)

    async def create_group(self, token: str, name: str, *, public: bool = True) -> tuple[int, int]:
        """Create a group; return its id and its channel's."""
        answer = await self.call("POST", "/guilds", token, {"name": name, "public": public})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"]), int(answer.json()["channels"][0]["id"])


@dataclass
class World:
    """Stores, bus, clock, and everything that was published."""

    streams: StreamStore
    store: GroupStore
    bus: FaultyBus
    topology: Topology
    now: int = 1_760_000_000_000
    heard: list[Event] = field(default_factory=list)
    workers: int = 0
    cache: MemoryCache = field(default_factory=MemoryCache)
    codes: MemoryCodes = field(default_factory=MemoryCodes)
    offered: MemoryApplicationCommands = field(default_factory=MemoryApplicationCommands)
    audit: AuditStore = field(default_factory=MemoryAudit)

    def clock(self) -> int:
        """Return the world's time."""
        return self.now

    @asynccontextmanager
    async def open_replica(
        self,
        *,
        per_minute: int = 0,
        fuse: Fuse | None = None,
        hasher: PasswordHasher = CHEAP,
        mailer: Mailer | None = None,
        verified: bool = False,
        official_group: int = 0,
        max_members: int = 1_000,
    ) -> AsyncIterator[Replica]:
        """Open one more process of the groups service. `per_minute` 0: no budgets. `fuse` guards all it uses."""
        guard = fuse.guard if fuse is not None else lambda target: target
        self.workers += 1
        tokens = Tokens("a secret of the tests, long enough")
        attempts = Attempts()
        if per_minute:
            addresses, accounts = LocalLimiter(per_minute, self.clock), LocalLimiter(per_minute, self.clock)
            attempts = Attempts(addresses, accounts)
        with open_passwords(hasher) as passwords:
            async with open_command_log(self.bus, self.topology, f"groups{self.workers}") as commands:
                groups = assemble(
                    store=guard(self.store),
                    audit=guard(self.audit),
                    streams=guard(self.streams),
                    bus=guard(self.bus),
                    topology=self.topology,
                    commands=commands,
                    passwords=passwords,
                    tokens=tokens,
                    ids=IdSource(self.workers),
                    cache=self.cache,
                    kept=KeptAccess(guard(self.streams), 1 << 20),
                    now=self.clock,
                    attempts=attempts,
                    codes=guard(self.codes),
                    application_commands=guard(self.offered),
                    mailer=mailer,
                    email_required=verified,
                    official_group=official_group,
                    max_members=max_members,
                )
                app = _new_app(groups=groups, door=groups.door)
                transport = httpx.ASGITransport(app)
                async with httpx.AsyncClient(transport=transport, base_url="http://starling") as http:
                    running = [asyncio.create_task(groups.notices.run())]
                    if groups.outbox is not None:
                        running.append(asyncio.create_task(groups.outbox.run()))
                    try:
                        yield Replica(groups, http, tokens, app)
                    finally:
                        for task in running:
                            task.cancel()

    def seqs_heard(self, stream: str) -> list[int]:
        """Return the seqs of a stream in the order in which a node first hears them."""
        return list(dict.fromkeys(event.record.seq for event in self.heard if event.stream == stream))

    def bodies_heard(self, stream: str) -> list[Any]:
        """Return what a node takes from a stream, repeats dropped."""
        bodies = {event.record.seq: event.record.body for event in self.heard if event.stream == stream}
        return [bodies[seq] for seq in sorted(bodies)]

    async def settle_history(self, command: AnyCommand) -> Settled:
        """Store and publish a command as history's worker does."""

        async def perform(effect: Any) -> Any:
            if isinstance(effect, CheckAccess):
                return [Verdict(DIRECT) for _ in effect.pairs]
            if isinstance(effect, ReadClock):
                return self.now
            if isinstance(effect, PutMarks):
                for mark in effect.marks:
                    if isinstance(mark.what, Entry):
                        await self.audit.put((mark.what,))
                    else:
                        assert isinstance(mark.what, Channel)
                        await self.store.put_channel(mark.what, mark.seq)
                return None
            if isinstance(effect, ReadDirects):
                found = await self.store.read_channels(effect.channel_ids)
                return [found.get(channel_id) for channel_id in effect.channel_ids]
            assert isinstance(effect, Publish)
            for event in effect.events:
                keys = self.topology.keys_of(event.group_id, event.to)
                await self.bus.publish(self.topology.events, keys, encode_envelope(Events((event,))))
            return None

        return await drive(sequence(Shard(), (command,), self.now, IdSource(1000)), self.streams, perform)

    async def run_shard(self, shard: int) -> None:
        """Be history for one shard of the log: what groups asks for."""
        async with self.bus.subscribe(self.topology.log_queue(shard), self.topology.log_bindings(shard)) as log:
            while True:
                batch = await log.take(10)
                for delivery in batch.deliveries:
                    for command in decode_for_shard(delivery.body).items:
                        settled = await self.settle_history(command)
                        envelope = encode_envelope(Replies(tuple(settled.replies.values())))
                        key = self.topology.node_key(command.reply_to)
                        await self.bus.publish(self.topology.events, (key,), envelope)
                await log.ack(batch.deliveries)

    async def listen(self, ready: asyncio.Event, keys: Sequence[str]) -> None:
        """Be a node that is bound to these keys, and note what comes."""
        bindings = [Binding(self.topology.events, key) for key in keys]
        async with self.bus.subscribe(Queue("listener", exclusive=True), bindings) as subscription:
            self._subscription = subscription
            ready.set()
            while True:
                batch = await subscription.take(100)
                for delivery in batch.deliveries:
                    envelope = decode_for_node(delivery.body)
                    if isinstance(envelope, Events):
                        self.heard += envelope.items
                await subscription.ack(batch.deliveries)

    async def follow(self, *keys: str) -> None:
        """Bind the listener to more keys."""
        await self._subscription.bind([Binding(self.topology.events, key) for key in keys])


@asynccontextmanager
async def open_world(streams: StreamStore | None = None, store: GroupStore | None = None) -> AsyncIterator[World]:
    """Open a world, in memory unless told otherwise."""
    world = World(streams or FaultyStreams(), store or MemoryGroups(), FaultyBus(), Topology(prefix="test", shards=2))
    ready = asyncio.Event()
    tasks = [asyncio.create_task(world.run_shard(shard)) for shard in range(world.topology.shards)]
    tasks.append(asyncio.create_task(world.listen(ready, ())))
    try:
        await ready.wait()
        yield world
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
