"""A small world for tests of the history service: one shard's worker, routes, and a stand-in for groups.

The stand-in answers `ReadAccess` from `World.members`: everybody in it may see and write the one channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from services.history.access import AccessReader
from services.history.app import router
from services.history.core.pulse import Pulse
from services.history.core.shard import Doubt
from services.history.handlers import handlers_of
from services.history.invalidations import tell_shards
from services.history.letters import bury_letters, open_letters
from services.history.memory_markers import MemoryMarkers
from services.history.memory_marks import MemoryMarks
from services.history.pages import Pages
from services.history.replying import send_replies
from services.history.service import History
from services.history.signalling import tell_ack
from services.history.telling import Telling
from services.history.worker import PATIENCE_S, ShardWorker
from shared.auth import Tokens
from shared.bus import BusUnavailable
from shared.command_log import CommandLog, open_command_log
from shared.core.calls import (
    Access,
    Mentionable,
    ReadAccess,
    ReadMentionable,
    ReadRevocations,
    ReadWebhook,
    WebhookView,
)
from shared.core.commands import Events, decode_for_node
from shared.core.errors import Unavailable
from shared.core.ids import IdSource
from shared.core.invalidation import Invalidation, encode_invalidation
from shared.core.letters import DeadLetter
from shared.core.limits import Budgets
from shared.core.model import Channel, ChannelType, Member, User, Webhook
from shared.core.permissions import DEFAULT
from shared.core.revocation import NOTHING_REVOKED, Revocations
from shared.core.stream import Event, Write
from shared.core.webhooks import PERMISSIONS as WEBHOOK_PERMISSIONS
from shared.core.webhooks import author_of
from shared.door import Door
from shared.kept_access import KeptAccess
from shared.memory_bus import MemoryBus
from shared.memory_streams import MemoryStreams
from shared.publishing import publish_events
from shared.rpc import Rpc, serve_calls
from shared.streams import StoreUnavailable
from shared.topology import Binding, Topology
from tests.apps import apps_on

NOW = 1_790_000_000_000
ADA, BEN, EVE = (User(number, name) for number, name in ((101, "ada"), (102, "ben"), (103, "eve")))
GROUP = 900
CHANNEL = Channel(901, ChannelType.TEXT, "general", GROUP)
VAULT = Channel(911, ChannelType.TEXT, "vault", 910)
"""Of another group, in which only Eve is."""
HOOK, OTHER_HOOK = (Webhook(number, GROUP, CHANNEL.id, "deploys", ADA) for number in (701, 702))
ROLES, OPEN_ROLES = frozenset({31, 32}), frozenset({32})
TOPOLOGY = Topology("test", shards=1)

_new_app = apps_on(router)


class FaultyStreams(MemoryStreams):
    """A memory store that is away for some calls, and may store a commit without saying so."""

    def __init__(self) -> None:
        super().__init__()
        self.away = 0
        self.unanswered = 0
        self.broken = False
        self.breaks_on = -1
        """The command id that a defect of ours is met with."""

    async def read_head(self, stream: str) -> Any:
        """Read, or fail."""
        if self.broken:
            raise ValueError("a defect of ours")
        if self.away:
            self.away -= 1
            raise StoreUnavailable("told to fail")
        return await super().read_head(stream)

    async def commit(self, writes: Sequence[Write]) -> list[bool]:
        """Commit, and perhaps say that it is not known."""
        if any(record.command_id == self.breaks_on for write in writes for record in write.records):
            raise ValueError("a defect of ours")
        stored = await super().commit(writes)
        if self.unanswered:
            self.unanswered -= 1
            return [False] * len(writes)
        return stored


@dataclass
class Lease:
    """A lease that always holds."""

    source: IdSource


@dataclass
class World:
    """What tests reach."""

    bus: MemoryBus
    streams: FaultyStreams
    marks: MemoryMarks
    markers: MemoryMarkers
    worker: ShardWorker
    pulse: Pulse
    commands: CommandLog
    client: httpx.AsyncClient
    tokens: Tokens
    members: dict[int, User]
    bury: Callable[[Sequence[DeadLetter]], Awaitable[None]]
    buried: list[str]
    now: int = NOW
    group_seq: int = 5
    groups_away: bool = False
    permissions: dict[int, int] = field(default_factory=dict)
    """Of members, where they are not those of everybody."""
    joined: dict[int, int] = field(default_factory=dict)
    """When members came (Unix ms), where that is not `NOW`."""
    accesses: list[ReadAccess] = field(default_factory=list)
    questions: list[ReadMentionable] = field(default_factory=list)
    access_errors: dict[int, list[Exception]] = field(default_factory=dict)
    revocations: dict[int, Revocations] = field(default_factory=dict)
    webhooks: dict[int, Webhook] = field(default_factory=lambda: {HOOK.id: HOOK, OTHER_HOOK.id: OTHER_HOOK})
    deleted_webhooks: set[int] = field(default_factory=set)
    """Since what is told of a webhook was read: the shard is told so when it asks again."""
    webhooks_read: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def token(self, user: User) -> dict[str, str]:
        """Return the header of this user's requests."""
        return {"Authorization": self.tokens.mint(user.id, NOW)}

    async def post(self, user: User, **body: Any) -> httpx.Response:
        """Send a message over REST."""
        return await self.client.post(f"/api/v10/channels/{CHANNEL.id}/messages", json=body, headers=self.token(user))

    def hook(self, webhook: Webhook = HOOK) -> str:
        """Return the path of a webhook, its token at the end."""
        return f"/api/v10/webhooks/{webhook.id}/{self.tokens.webhook_token(webhook.id)}"

    async def write(self, *, wait: bool = True, webhook: Webhook = HOOK, **body: Any) -> httpx.Response:
        """Write a message by a webhook."""
        return await self.client.post(self.hook(webhook), params={"wait": wait}, json=body)

    async def get(self, path: str, user: User, **query: Any) -> httpx.Response:
        """Read below the channel."""
        return await self.client.get(f"/api/v10/channels/{CHANNEL.id}/{path}", params=query, headers=self.token(user))

    @contextmanager
    def bus_refusing_letters(self) -> Iterator[list[int]]:
        """Let no letter be published meanwhile; yields one entry for each that was refused."""
        refused: list[int] = []

        async def bury(letters: Sequence[DeadLetter]) -> None:
            refused.append(len(letters))
            raise BusUnavailable("told to fail")

        before, self.bury = self.bury, bury
        try:
            yield refused
        finally:
            self.bury = before

    async def letters(self) -> list[DeadLetter]:
        """Return the dead letters that wait."""
        async with open_letters(self.bus, TOPOLOGY) as letters:
            return [one.letter for one in letters.held.values()]

    async def invalidate(self, group_id: int = 0, seq: int = 0) -> None:
        """Let the shard hear that a group has moved; without a group, a sign of life."""
        heard = self.worker.shard.heard_at = -1
        await self.bus.publish(TOPOLOGY.invalidate, ("",), encode_invalidation(Invalidation(group_id, seq)))
        async with asyncio.timeout(5):
            while self.worker.shard.heard_at == heard:
                await asyncio.sleep(0)


@asynccontextmanager
async def open_world(
    *,
    budgets: Budgets | None = None,
    webhook_budgets: Budgets | None = None,
    send_timeout_s: float = 5.0,
    patience_s: float = PATIENCE_S,
    bus: MemoryBus | None = None,
) -> AsyncIterator[World]:
    """Open a history service in memory with a listener on the group's events."""
    bus, streams = bus or MemoryBus(), FaultyStreams()
    rpc = Rpc(bus, TOPOLOGY)
    kept = KeptAccess(streams, 1 << 20)
    access = AccessReader(rpc, kept)
    buried: list[str] = []
    bury = partial(bury_letters, bus, TOPOLOGY, count=buried.append)
    marks, markers = MemoryMarks(), MemoryMarkers()
    pages, telling = Pages(streams), Telling(streams, marks)
    worker = ShardWorker(
        0,
        bus=bus,
        topology=TOPOLOGY,
        streams=streams,
        marks=marks,
        access=access,
        lease=Lease(IdSource(1)),
        now=lambda: world.now,
        publish=partial(publish_events, bus, TOPOLOGY),
        reply=partial(send_replies, bus, TOPOLOGY),
        observe=lambda commands, settled: None,
        bury=lambda letters: world.bury(letters),
        patience_s=patience_s,
    )
    async with (
        open_command_log(bus, TOPOLOGY, "history") as commands,
        bus.subscribe(TOPOLOGY.node_queue("node"), (Binding(TOPOLOGY.events, f"g.{GROUP}"),)) as listener,
        asyncio.TaskGroup() as tasks,
    ):
        tokens = Tokens("s" * 32)
        door = Door(tokens, lambda user_id: rpc.call(ReadRevocations(user_id)))
        history = History(
            pages,
            telling,
            marks,
            markers,
            commands,
            rpc,
            access,
            lambda: NOW,
            budgets,
            2000,
            send_timeout_s,
            tokens,
            webhook_budgets,
            partial(tell_ack, bus, TOPOLOGY),
        )
        transport = httpx.ASGITransport(app=_new_app(history=history, door=door))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            pulse = Pulse()
            members = {user.id: user for user in (ADA, BEN)}
            world = World(bus, streams, marks, markers, worker, pulse, commands, client, tokens, members, bury, buried)

            async def read_access(call: ReadAccess) -> Access:
                world.accesses.append(call)
                if call.channel_id == VAULT.id:
                    is_eve = call.user_id == EVE.id
                    member = Member(VAULT.group_id, EVE, NOW) if is_eve else None
                    return Access(VAULT, EVE if is_eve else ADA, world.group_seq, DEFAULT if is_eve else 0, member)
                if call.channel_id != CHANNEL.id:
                    return Access(None, ADA, 0, 0)
                if (webhook := world.webhooks.get(call.user_id)) is not None:
                    if webhook.id in world.deleted_webhooks:
                        return Access(None, None, 0, 0)
                    return access_of(webhook)
                if failing := world.access_errors.get(call.user_id):
                    raise failing.pop(0) if len(failing) > 1 else failing[0]
                is_member = call.user_id in world.members
                permissions = world.permissions.get(call.user_id, DEFAULT) if is_member else 0
                user = world.members.get(call.user_id, EVE)
                member = Member(GROUP, user, world.joined.get(user.id, NOW)) if is_member else None
                return Access(CHANNEL, user, world.group_seq, permissions, member)

            def access_of(webhook: Webhook) -> Access:
                return Access(CHANNEL, author_of(webhook), world.group_seq, WEBHOOK_PERMISSIONS)

            async def read_webhook(call: ReadWebhook) -> WebhookView:
                world.webhooks_read.append(call.webhook_id)
                if (webhook := world.webhooks.get(call.webhook_id)) is None:
                    return WebhookView()
                return WebhookView(webhook, access_of(webhook))

            async def read_mentionable(call: ReadMentionable) -> Mentionable:
                world.questions.append(call)
                users = tuple(world.members[one] for one in call.user_ids if one in world.members)
                return Mentionable(users, *(tuple(set(call.role_ids) & roles) for roles in (ROLES, OPEN_ROLES)))

            async def read_revocations(call: ReadRevocations) -> Revocations:
                if world.groups_away:
                    raise Unavailable
                return world.revocations.get(call.user_id, NOTHING_REVOKED)

            async def listen() -> None:
                while True:
                    batch = await listener.take(100)
                    for delivery in batch.deliveries:
                        envelope = decode_for_node(delivery.body)
                        if isinstance(envelope, Events):
                            world.events += envelope.items
                    await listener.ack(batch.deliveries)

            running = [
                tasks.create_task(work)
                for work in (
                    worker.run(),
                    serve_calls(
                        bus,
                        TOPOLOGY,
                        "groups",
                        {
                            ReadAccess: read_access,
                            ReadWebhook: read_webhook,
                            ReadMentionable: read_mentionable,
                            ReadRevocations: read_revocations,
                        },
                    ),
                    serve_calls(bus, TOPOLOGY, "history", handlers_of(pages, telling, markers)),
                    tell_shards(
                        bus,
                        TOPOLOGY,
                        "history",
                        (worker.shard,),
                        pulse,
                        now=lambda: world.now,
                        clock_ms=lambda: world.now,
                        moved=kept.drop_told,
                    ),
                    listen(),
                )
            ]
            try:
                await asyncio.sleep(0)  # now all listen
                await world.invalidate()
                worker.shard.doubt = Doubt()  # as a minute after the start
                yield world
            finally:
                for task in running:
                    task.cancel()
