"""A small world for tests of the gateway: stand-ins for groups and history on a memory bus, nodes, clients.

`World` keeps streams as plain lists, publishes every event as the real services do, answers their calls from the
lists, and can lose a publish, hold an answer or fail it. `open_node` serves a real node on a socket.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from fastapi import APIRouter
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from services.gateway.app import Gateway, assemble, router
from services.gateway.memory_registry import MemoryRegistry
from services.gateway.memory_trails import MemoryTrails
from services.gateway.presence_leases import MemoryPresenceLeases
from services.gateway.registry import SessionRegistry
from services.gateway.trails import Trails
from shared.auth import Tokens
from shared.bus import Bus
from shared.clock import now_ms
from shared.core import calls
from shared.core.commands import (
    Commands,
    Events,
    OpenDirect,
    Replies,
    Reply,
    SendMessage,
    decode_for_shard,
    encode_envelope,
)
from shared.core.errors import Unavailable
from shared.core.events import AnyBody
from shared.core.group_events import (
    ChannelChanged,
    ChannelCreated,
    GroupCreated,
    MemberAdded,
    MemberChanged,
    MemberRemoved,
    RoleChanged,
)
from shared.core.ids import IdSource
from shared.core.message_events import (
    ChannelOpened,
    MessageCreated,
    MessageDeleted,
    MessageEdited,
    MessagesDeleted,
    MessageStub,
    Target,
)
from shared.core.model import Channel, ChannelType, Group, LastMessage, Member, Overwrite, OverwriteType, Role, User
from shared.core.permissions import DIRECT, Permission, everyone_of, permissions_of
from shared.core.revocation import NOTHING_REVOKED, Bearer, Revocations
from shared.core.sending import created_by
from shared.core.stream import Event, Record, channel_stream, group_stream, owner_of, user_stream
from shared.core.user_events import (
    DirectChanged,
    DirectHidden,
    DirectShown,
    GroupJoined,
    GroupLeft,
    TokensRevoked,
    UserChanged,
    UserRegistered,
)
from shared.door import Door
from shared.http import create_app
from shared.lifecycle import Supervisor, bind_socket, open_server
from shared.memory_bus import MemoryBus
from shared.metrics import Metrics
from shared.rpc import serve_calls
from shared.settings import GatewaySettings, HttpSettings, LimitSettings, Settings
from shared.topology import Topology

SECRET = "a secret of tests that is long enough"
AT = 1_700_000_000_000


class World:
    """Users, groups and channels as streams of events, and the services that serve them."""

    def __init__(self, bus: Bus | None = None, prefix: str = "starling", *, user_slots: int = 0) -> None:
        self.bus = bus or MemoryBus()
        self.topology = Topology(prefix, shards=2, user_slots=user_slots)
        self.tokens = Tokens(SECRET)
        self.leases = MemoryPresenceLeases(time.monotonic)
        self.ids = IdSource(1)
        self.streams: dict[str, list[Event]] = defaultdict(list)
        self.imported: dict[str, int] = {}
        """How many events of a stream were imported."""
        self.users: dict[int, User] = {}
        self.groups: dict[int, Group] = {}
        self.channels: dict[int, Channel] = {}
        self.members: dict[int, dict[int, Member]] = defaultdict(dict)
        self.roles: dict[int, tuple[Role, ...]] = defaultdict(tuple)
        self.own: dict[int, dict[int, Member]] = defaultdict(dict)
        """By user and group what users' own streams say, which may be behind what groups' streams say."""
        self.revocations: dict[int, Revocations] = {}
        self.hidden: dict[int, dict[int, LastMessage]] = {}
        """Direct channels that users closed."""
        self.markers: dict[int, tuple[calls.Marker, ...]] = {}
        self.commands: list[SendMessage] = []
        self.losing = 0
        """So many next publishes of events are lost."""
        self.gates: dict[type[Any], asyncio.Event] = {}
        """A call of this kind is answered, from what was so when it came, only once its event is set."""
        self.failing: dict[type[Any], int] = {}
        """So many next calls of this kind are answered `Unavailable`."""
        self.asked: list[Any] = []
        self.gates_of_log: asyncio.Event | None = None

    # What happens. Each appends to streams and publishes.

    def register(self, name: str, *, bot: bool = False) -> User:
        """Make an account; nobody follows it yet."""
        user = User(self.ids.next_id(now_ms()), name, bot=bot)
        self.users[user.id] = user
        self._append(user_stream(user.id), UserRegistered(user))
        return user

    async def revocations_of(self, user_id: int) -> Revocations:
        """Return which tokens of a user are void."""
        return self.revocations.get(user_id, NOTHING_REVOKED)

    def token(self, user: User) -> str:
        """Return a token of a user."""
        return self.tokens.mint(user.id, now_ms())

    async def create_group(self, owner: User, name: str = "tea") -> tuple[Group, Channel]:
        """Make a group with one channel and its owner in it."""
        group, channel = self.add_group(owner, name)
        (created,) = self.streams[group_stream(group.id)]
        await self.publish(created)
        await self.tell(owner, GroupJoined(created.record.seq, self.members[group.id][owner.id]))
        return group, channel

    async def create_pair(self) -> tuple[User, User, Group, Channel]:
        """Register ann and ben; make a group of ann's that ben is in, too, and return its channel behind it."""
        ann, ben = self.register("ann"), self.register("ben")
        group, channel = await self.create_group(ann)
        await self.join(ben, group)
        return ann, ben, group, channel

    def add_group(self, owner: User, name: str) -> tuple[Group, Channel]:
        """Make a group that nobody is told about."""
        group = Group(self.ids.next_id(now_ms()), name, owner.id)
        channel = Channel(group.id, ChannelType.TEXT, "general", group.id)
        member = Member(group.id, owner, AT)
        self.groups[group.id] = group
        self.channels[channel.id] = channel
        self.members[group.id][owner.id] = self.own[owner.id][group.id] = member
        self._append(group_stream(group.id), GroupCreated(group, (channel,), member))
        return group, channel

    async def create_channel(self, group: Group, name: str) -> Channel:
        """Make one more channel."""
        channel = Channel(self.ids.next_id(now_ms()), ChannelType.TEXT, name, group.id, len(self.channels))
        self.channels[channel.id] = channel
        await self.publish(self._append(group_stream(group.id), ChannelCreated(channel)))
        return channel

    async def hide(self, channel: Channel, *, hidden: bool = True) -> None:
        """Hide a channel from everyone but the owner and administrators, or show it again."""
        before = self.channels[channel.id]
        everyone = Overwrite(channel.group_id, OverwriteType.ROLE, deny=int(Permission.VIEW_CHANNEL))
        changed = msgspec.structs.replace(before, overwrites=(everyone,) if hidden else ())
        self.channels[channel.id] = changed
        await self.publish(self._append(group_stream(channel.group_id), ChannelChanged(changed, before)))

    async def let_everyone(self, group: Group, permissions: int) -> None:
        """Say what each member may do."""
        before, changed = everyone_of(group.id), Role(group.id, group.id, "@everyone", permissions)
        self.roles[group.id] = (changed,)
        await self.publish(self._append(group_stream(group.id), RoleChanged(changed, before)))

    async def join(self, user: User, group: Group, *, tells: bool = True, at: int = AT) -> GroupJoined:
        """Make a user a member; `tells` False: the user's own stream does not say it yet. Returns what it says."""
        member = Member(group.id, user, at)
        self.members[group.id][user.id] = member
        added = self._append(group_stream(group.id), MemberAdded(member))
        await self.publish(added)
        joined = GroupJoined(added.record.seq, member)
        if tells:
            await self.tell(user, joined)
        return joined

    async def leave(self, user: User, group: Group, *, tells: bool = True) -> GroupLeft:
        """Take a member away; `tells` False: the user's own stream does not say it yet. Returns what it says."""
        del self.members[group.id][user.id]
        removed = self._append(group_stream(group.id), MemberRemoved(user))
        await self.publish(removed)
        left = GroupLeft(group.id, removed.record.seq)
        if tells:
            await self.tell(user, left)
        return left

    async def revoke(self, user: User, token: str = "", *, before: int = 0) -> None:
        """Revoke one token of a user, or all that were issued before a time."""
        bearer = self.tokens.verify(token) if token else Bearer(user.id, 0, "")
        revoked = TokensRevoked(before, bearer.issued, bearer.fingerprint)
        self.revocations[user.id] = self.revocations.get(user.id, NOTHING_REVOKED).after(revoked)
        await self.tell(user, revoked)

    async def rename(self, user: User, name: str) -> User:
        """Give a user another name, in the user's own stream and in those of its groups."""
        renamed = User(user.id, name)
        self.users[user.id] = renamed
        await self.tell(user, UserChanged(renamed))
        for group_id, members in self.members.items():
            if user.id in members:
                members[user.id] = Member(group_id, renamed, AT)
                await self.publish(self._append(group_stream(group_id), MemberChanged(members[user.id])))
        return renamed

    async def open_direct(self, one: User, other: User) -> Channel:
        """Open a direct channel."""
        channel = Channel(self.ids.next_id(now_ms()), ChannelType.DIRECT, recipients=(one, other))
        self.channels[channel.id] = channel
        await self.publish(self._append(channel_stream(channel.id), ChannelOpened(channel)))
        return channel

    async def close_direct(self, channel: Channel, *, closed: bool) -> None:
        """Let nobody write in a direct channel, or both again."""
        for user in channel.recipients:
            await self.tell(user, DirectChanged(channel.id, closed))

    async def hide_direct(self, user: User, channel: Channel) -> None:
        """Close a direct channel for one of its users."""
        last = max((event.record for event in self.streams[channel_stream(channel.id)]), key=lambda one: one.id)
        upto = LastMessage(last.id, last.ordinal)
        self.hidden.setdefault(user.id, {})[channel.id] = upto
        await self.tell(user, DirectHidden(channel.id, upto))

    async def show_direct(self, user: User, channel: Channel) -> None:
        """Open a direct channel for one of its users again."""
        del self.hidden[user.id][channel.id]
        await self.tell(user, DirectShown(channel.id))

    async def say(self, author: User, channel: Channel, content: str) -> Event:
        """Store and publish a message, as a send by REST does."""
        event = self._append(channel_stream(channel.id), MessageCreated(author, content))
        await self.publish(event)
        return event

    async def happen(self, stream: str, body: AnyBody) -> Event:
        """Let something happen in a stream."""
        event = self._append(stream, body)
        await self.publish(event)
        return event

    async def edit(self, event: Event, content: str) -> None:
        """Change a message; from now on it is told in its new content, as history does."""
        body = event.record.body
        if not isinstance(body, MessageCreated):
            raise TypeError(event)
        edited = msgspec.structs.replace(body, content=content, edited_at=now_ms())
        self._put(event, edited)
        change = MessageEdited(self._target_of(event, body), event.record.at, edited)
        await self.publish(self._append(event.stream, change))

    async def delete(self, *events: Event) -> None:
        """Delete a message, or several at once; from now on their creation is told as nothing, as history does."""
        targets = []
        for event in events:
            body = event.record.body
            if not isinstance(body, MessageCreated):
                raise TypeError(event)
            targets.append(self._target_of(event, body))
            self._put(event, MessageStub(body.author.id))
        by = targets[0].author_id
        change = MessageDeleted(targets[0], by) if len(targets) == 1 else MessagesDeleted(tuple(targets), by)
        await self.publish(self._append(events[0].stream, change))

    def _put(self, event: Event, body: AnyBody) -> None:
        stored = msgspec.structs.replace(event, record=msgspec.structs.replace(event.record, body=body))
        self.streams[event.stream][event.record.seq - 1] = stored

    def _target_of(self, event: Event, body: MessageCreated) -> Target:
        record = event.record
        return Target(record.id, record.seq, record.ordinal, body.author.id, first_seq=1, index=record.seq - 1)

    def imports(self, author: User, channel: Channel, count: int) -> None:
        """Store old messages, which are published to nobody."""
        for number in range(count):
            self._append(channel_stream(channel.id), MessageCreated(author, f"old {number}"))
        self.imported[channel_stream(channel.id)] = count

    async def publish(self, *events: Event) -> None:
        """Publish events, unless they are to be lost."""
        if self.losing:
            self.losing -= 1
            return
        keys = self.topology.keys_of(events[0].group_id, events[0].to)
        await self.bus.publish(self.topology.events, keys, encode_envelope(Events(events)))

    async def tell(self, user: User, body: AnyBody) -> None:
        """Append to a user's own stream and publish it."""
        if isinstance(body, GroupJoined):
            self.own[user.id][body.member.group_id] = body.member
        elif isinstance(body, GroupLeft):
            self.own[user.id].pop(body.group_id, None)
        await self.publish(self._append(user_stream(user.id), body))

    def _append(self, stream: str, body: AnyBody, nonce: str = "", command_id: int = 0) -> Event:
        events = self.streams[stream]
        message_id = self.ids.next_id(now_ms()) if isinstance(body, MessageCreated) else 0
        ordinal = 1 + sum(bool(event.record.id) for event in events) if message_id else 0
        record = Record(len(events) + 1, now_ms(), body, command_id, nonce, message_id, ordinal)
        owner = owner_of(stream)
        match stream[0]:
            case "g":
                event = Event(stream, record, group_id=owner)
            case "u":
                event = Event(stream, record, to=(owner,))
            case _:
                channel = self.channels[owner]
                event = Event(stream, record, channel.group_id, tuple(user.id for user in channel.recipients))
        events.append(event)
        return event

    # What groups and history answer.

    async def serve(self, supervisor: Supervisor) -> None:
        """Start the stand-ins; what is sent to the log from here on has somebody who takes it."""
        groups: dict[type[Any], Any] = {
            calls.ReadSessions: self._answers(self.read_sessions),
            calls.ReadGroups: self._answers(self.read_groups),
            calls.ReadMembers: self._answers(self.read_members),
            calls.ReadAccess: self._answers(self.read_access),
            calls.ReadMentionable: self._answers(self.read_mentionable),
            calls.ReadChanges: self._answers(lambda call: self.read_events(call.stream, call.after_seq, call.limit)),
        }
        history: dict[type[Any], Any] = {
            calls.ReadChannelEvents: self._answers(
                lambda call: self.read_events(channel_stream(call.channel_id), call.after_seq, call.limit)
            ),
            calls.ReadHeads: self._answers(lambda call: {one: len(self.streams[one]) for one in call.streams}),
            calls.ReadMarkers: self._answers(
                lambda call: calls.Markers({one: self.markers[one] for one in call.user_ids if one in self.markers})
            ),
        }
        supervisor.start("groups", serve_calls(self.bus, self.topology, "groups", groups))
        supervisor.start("history", serve_calls(self.bus, self.topology, "history", history))
        open_shards = asyncio.Semaphore(0)
        for shard in range(self.topology.shards):
            supervisor.start("shard", self._sequence(shard, open_shards))
        async with asyncio.timeout(30):
            for _ in range(self.topology.shards):
                await open_shards.acquire()

    def _answers(self, read: Callable[[Any], Any]) -> Callable[[Any], Awaitable[Any]]:
        async def handler(call: Any) -> Any:
            kind = type(call)
            self.asked.append(call)
            if self.failing.get(kind, 0):
                self.failing[kind] -= 1
                raise Unavailable
            answer = read(call)
            if (gate := self.gates.get(kind)) is not None:
                await gate.wait()
            return answer

        return handler

    def _head(self, channel: Channel) -> tuple[Channel, int, int]:
        events = self.streams[channel_stream(channel.id)]
        return channel, len(events), max((event.record.id for event in events), default=0)

    def read_sessions(self, call: calls.ReadSessions) -> calls.Sessions:
        """Answer `ReadSessions`, the first half of more than one."""
        told = call.user_ids[: len(call.user_ids) // 2 or 1]
        views = [self._session_of(self.users[user_id]) for user_id in told if user_id in self.users]
        return calls.Sessions(tuple(views), call.user_ids[len(told) :])

    def _session_of(self, user: User) -> calls.SessionView:
        memberships = tuple(
            self.members[group_id].get(user.id, member) for group_id, member in self.own[user.id].items()
        )
        directs = tuple(
            calls.DirectView(*self._head(channel)) for channel in self.channels.values() if user in channel.recipients
        )
        revoked = self.revocations.get(user.id, NOTHING_REVOKED)
        hidden = dict(self.hidden.get(user.id, {}))
        return calls.SessionView(user, len(self.streams[user_stream(user.id)]), memberships, directs, revoked, hidden)

    def read_members(self, call: calls.ReadMembers) -> calls.MemberPage:
        """Answer `ReadMembers`, at most 400 at a time."""
        members = sorted(self.members[call.group_id].values(), key=lambda member: member.user.id)
        if call.user_ids:
            return calls.MemberPage(tuple(one for one in members if one.user.id in call.user_ids))
        if call.prefix:
            beginning = call.prefix.casefold()
            named = [one for one in members if one.user.username.startswith(beginning)]
            return calls.MemberPage(tuple(named[: call.limit]))
        page = [one for one in members if one.user.id > call.after][: min(call.limit, 400)]
        return calls.MemberPage(tuple(page), page[-1].user.id if len(page) == min(call.limit, 400) else 0)

    def read_groups(self, call: calls.ReadGroups) -> calls.Groups:
        """Answer `ReadGroups`."""
        views = tuple(
            calls.GroupView(
                self.groups[group_id],
                len(self.streams[group_stream(group_id)]),
                tuple(
                    calls.ChannelView(*self._head(channel))
                    for channel in self.channels.values()
                    if channel.group_id == group_id
                ),
                tuple(self.members[group_id].values())[:100],
                len(self.members[group_id]),
                self.roles[group_id],
            )
            for group_id in call.group_ids
            if group_id in self.groups
        )
        return calls.Groups(views)

    def read_access(self, call: calls.ReadAccess) -> calls.Access:
        """Answer `ReadAccess`."""
        channel, user = self.channels.get(call.channel_id), self.users.get(call.user_id)
        if channel is None or user is None:
            return calls.Access(None, user, 0, 0)
        if not channel.group_id:
            is_in = user in channel.recipients
            return calls.Access(channel if is_in else None, user, 0, DIRECT if is_in else 0)
        member = self.members[channel.group_id].get(user.id)
        seq = len(self.streams[group_stream(channel.group_id)])
        group = self.groups[channel.group_id]
        permissions = permissions_of(group, {}, member, now_ms(), channel) if member is not None else 0
        return calls.Access(channel, user, seq, permissions, member)

    def read_mentionable(self, call: calls.ReadMentionable) -> calls.Mentionable:
        """Answer `ReadMentionable`."""
        members = self.members[call.group_id]
        return calls.Mentionable(tuple(members[one].user for one in call.user_ids if one in members))

    def read_events(self, stream: str, after_seq: int, limit: int) -> calls.EventPage:
        """Answer `ReadChanges` and `ReadChannelEvents`."""
        imported = self.imported.get(stream, 0)
        after = imported if after_seq < imported else 0
        events = self.streams[stream][max(after_seq, after) :]
        return calls.EventPage(tuple(events[:limit]), has_more=len(events) > limit, after=after)

    async def _sequence(self, shard: int, opened: asyncio.Semaphore) -> None:
        bindings = self.topology.log_bindings(shard)
        async with self.bus.subscribe(self.topology.log_queue(shard), bindings) as subscription:
            opened.release()
            while True:
                batch = await subscription.take(64)
                for delivery in batch.deliveries:
                    envelope = decode_for_shard(delivery.body)
                    if self.gates_of_log is not None:
                        await self.gates_of_log.wait()
                    await self._store(envelope)
                await subscription.ack(batch.deliveries)

    async def _store(self, envelope: Commands) -> None:
        for command in envelope.items:
            reply = Reply(command.command_id)
            if isinstance(command, SendMessage):
                reply = await self._store_message(command)
            key = self.topology.node_key(command.reply_to)
            await self.bus.publish(self.topology.events, (key,), encode_envelope(Replies((reply,))))

    async def _store_message(self, command: SendMessage | OpenDirect) -> Reply:
        if not isinstance(command, SendMessage):
            raise TypeError("the world opens direct channels by itself")
        self.commands.append(command)
        stream = channel_stream(command.channel_id)
        for event in self.streams[stream]:
            body = event.record.body
            is_same = isinstance(body, MessageCreated) and body.author.id == command.author.id
            if is_same and command.nonce and event.record.nonce == command.nonce:
                return Reply(command.command_id, seq=event.record.seq, id=event.record.id)
        if command.refusal:
            return Reply(command.command_id, error=command.refusal, message="no")
        event = self._append(stream, created_by(command), command.nonce, command.command_id)
        await self.publish(event)
        return Reply(command.command_id, seq=event.record.seq, id=event.record.id)


def settings_of(*, limits: LimitSettings | None = None, **gateway: Any) -> Settings:
    """Return settings for a node on a free port of this machine, that tells no presence."""
    return Settings(
        http=HttpSettings(port=0),
        limits=limits or LimitSettings(enabled=False),
        gateway=GatewaySettings(**({"presence_members": 0} | gateway)),
    )


@asynccontextmanager
async def open_world(bus: Bus | None = None, prefix: str = "starling", *, user_slots: int = 0) -> AsyncIterator[World]:
    """Open a world with its services running."""
    world = World(bus, prefix, user_slots=user_slots)
    async with Supervisor("world") as supervisor:
        await world.serve(supervisor)
        yield world


class ServedNode:
    """A node behind a real socket."""

    def __init__(self, gateway: Gateway, port: int, metrics: Metrics) -> None:
        self.gateway = gateway
        self.port = port
        self.url = f"ws://127.0.0.1:{port}/gateway?v=10&encoding=json"
        self.metrics = metrics

    @property
    def sessions(self) -> int:
        """How many sessions take part."""
        return int(self.metrics.registry.get_sample_value("starling_gateway_hub_sessions") or 0)

    @property
    def attached(self) -> int:
        """How many sessions have a connection."""
        return int(self.metrics.registry.get_sample_value("starling_gateway_sessions_attached") or 0)

    async def wait_detached(self, count: int) -> None:
        """Wait until so many sessions wait for their clients."""
        async with asyncio.timeout(10):
            while self.metrics.registry.get_sample_value("starling_gateway_sessions_detached") != count:
                await asyncio.sleep(0.01)

    async def wait_sessions(self, count: int) -> None:
        """Wait until so many sessions take part."""
        async with asyncio.timeout(10):
            while self.sessions != count:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def open_node(
    world: World,
    settings: Settings | None = None,
    *,
    name: str = "node",
    registry: SessionRegistry | None = None,
    trails: Trails | None = None,
    routers: Sequence[APIRouter] = (),
) -> AsyncIterator[ServedNode]:
    """Open a node of the world behind uvicorn, with further routes."""
    settings = settings or settings_of()
    metrics = Metrics()
    bound = bind_socket(settings.http)
    port: int = bound.getsockname()[1]
    settings = settings.model_copy(update={"http": settings.http.model_copy(update={"port": port})})
    async with Supervisor(name) as supervisor:
        gateway = assemble(
            settings,
            name=name,
            bus=world.bus,
            topology=world.topology,
            tokens=world.tokens,
            registry=registry or MemoryRegistry(),
            trails=trails or MemoryTrails(),
            leases=world.leases,
            has_peers=registry is not None,
            metrics=metrics,
            supervisor=supervisor,
            now=now_ms,
            clock=asyncio.get_running_loop().time,
        )
        gateway.start(supervisor)
        app = create_app(
            settings.http,
            metrics=metrics,
            routers=(router, *routers),
            state={"gateway": gateway, "door": Door(world.tokens, world.revocations_of)},
            probes=gateway.readiness(),
        )
        async with open_server(app, settings.http, bound, ws=gateway.connection_factory):
            yield ServedNode(gateway, port, metrics)
            await gateway.drain()


class Client:
    """A WebSocket client that keeps what it got."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.dispatches: list[dict[str, Any]] = []
        self.ready: dict[str, Any] = {}
        self._nonces = itertools.count(1)

    async def send(self, op: int, d: Any = None) -> None:
        """Send a frame."""
        await self.socket.send(json.dumps({"op": op, "d": d}))

    async def receive(self) -> dict[str, Any]:
        """Return the next frame."""
        async with asyncio.timeout(10):
            frame: dict[str, Any] = json.loads(await self.socket.recv())
        if frame["op"] == 0:
            self.dispatches.append(frame)
        return frame

    async def until(self, wanted: int | str) -> dict[str, Any]:
        """Return the payload of the next frame with this opcode, or of the next dispatch of this name."""
        while True:
            frame = await self.receive()
            if wanted in (frame["op"], frame["t"]):
                return frame  # its `d` is the payload

    async def identify(self, token: str, **fields: Any) -> dict[str, Any]:
        """Say IDENTIFY and return READY's payload, once all groups in it came too."""
        await self.send(2, {"token": token, "properties": {}, **fields})
        self.ready = (await self.until("READY"))["d"]
        for _ in self.ready["guilds"]:
            await self.until("GUILD_CREATE")
        return self.ready

    @property
    def last_s(self) -> int:
        """The last `s` that came."""
        return max(int(frame["s"]) for frame in self.dispatches)

    def resume_payload(self, token: str, *, seq: int | None = None) -> dict[str, Any]:
        """Return what a RESUME of this client's session says, from its last `s` on."""
        return {"token": token, "session_id": self.ready["session_id"], "seq": self.last_s if seq is None else seq}

    async def resume(self, of: Client, token: str, *, seq: int | None = None, **fields: Any) -> dict[str, Any]:
        """Say RESUME for the session of another client, from its last `s` on; return RESUMED."""
        self.ready = of.ready
        await self.send(6, of.resume_payload(token, seq=seq) | fields)
        return await self.until("RESUMED")

    async def until_content(self, content: str) -> dict[str, Any]:
        """Return the dispatch of the message that says this."""
        while True:
            frame = await self.until("MESSAGE_CREATE")
            if frame["d"]["content"] == content:
                return frame

    async def post(self, channel: Channel, content: str, **fields: Any) -> str:
        """Say MESSAGE_SEND with a new nonce and return it."""
        nonce = f"n{next(self._nonces)}"
        await self.send(100, {"channel_id": str(channel.id), "content": content, "nonce": nonce, **fields})
        return nonce

    async def closed(self) -> int:
        """Return the code that the server closes with, whatever comes before."""
        async with asyncio.timeout(10):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd is not None else 1006

    def got(self, name: str) -> list[dict[str, Any]]:
        """Return the payloads of all dispatches of a name so far."""
        return [frame["d"] for frame in self.dispatches if frame["t"] == name]


@asynccontextmanager
async def open_client(node: ServedNode, token: str = "", **options: Any) -> AsyncIterator[Client]:
    """Connect and read HELLO; with a token, identify too."""
    async with connect(node.url, compression=None, **options) as socket:
        client = Client(socket)
        hello = await client.receive()
        assert hello["op"] == 10
        if token:
            await client.identify(token)
        yield client
