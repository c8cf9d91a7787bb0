"""A model of a node among groups, history and clients, to hold the hub's laws under any interleaving.

The truth is plain lists of events. What is published goes through one queue, in order, if its key is bound; the queue
may be lost (with a gap), single messages may be lost silently. Jobs read the truth in one step and use it in a later
one. `ClientModel` checks every dispatch as a strict client would.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from services.gateway.core.hub import Hub
from services.gateway.core.outs import Dispatch, FollowGroup, Out, Repair
from services.gateway.core.positions import Moves, Placed
from services.gateway.core.snapshot import first_dispatches
from shared.core.calls import ChannelView, DirectView, GroupView, SessionView
from shared.core.events import AnyBody
from shared.core.group_events import (
    ChannelChanged,
    ChannelCreated,
    ChannelDeleted,
    GroupChanged,
    GroupCreated,
    GroupDeleted,
    MemberAdded,
    MemberBanned,
    MemberChanged,
    MemberRemoved,
    RoleChanged,
    RoleCreated,
    RoleDeleted,
)
from shared.core.message_events import ChannelOpened, MessageCreated, MessageDeleted, MessageEdited, MessageStub, Target
from shared.core.model import Channel, ChannelType, Group, Member, Overwrite, OverwriteType, Role, User
from shared.core.permissions import Permission, permissions_of
from shared.core.roles import all_roles, known_overwrites
from shared.core.stream import Event, Record, channel_stream, group_stream, owner_of, user_stream
from shared.core.user_events import GroupJoined, GroupLeft, MembershipChanged, UserRegistered
from shared.core.wire.channels import channel_of
from shared.core.wire.members import role_of

Job = Generator[None, None, None]


@dataclass(eq=False)
class ClientModel:
    """One session: what a strict client holds, from READY and dispatches alone."""

    user: User
    gone: set[tuple[int, int]]
    """(channel id, seq) of what was deleted, and need not be told any more."""
    groups: dict[int, dict[str, Any]] = field(default_factory=dict)
    heads: dict[int, int] = field(default_factory=dict)
    directs: set[int] = field(default_factory=set)
    seen: list[int] = field(default_factory=list)
    s: int = 0

    def take(self, t: str, d: dict[str, Any]) -> None:
        """Take a dispatch; every assertion is the gateway's promise."""
        match t:
            case "READY":
                for channel in d["private_channels"]:
                    self.directs.add(int(channel["id"]))
                    self.heads[int(channel["id"])] = channel["last_seq"]
            case "GUILD_CREATE":
                assert int(d["id"]) not in self.groups, "a group twice"
                assert str(self.user.id) in [member["user"]["id"] for member in json.loads(bytes(d["members"]))]
                self.groups[int(d["id"])] = {
                    "seq": d["last_seq"],
                    "at": d["last_seq"],
                    "about": (d["name"], d["owner_id"]),
                    "count": d["member_count"],
                    "channels": {int(channel["id"]): shown(channel) for channel in d["channels"]},
                    "roles": {int(role["id"]): role for role in d["roles"]},
                }
                for channel in d["channels"]:
                    self.heads[int(channel["id"])] = channel["last_seq"]
            case "GUILD_UPDATE":
                self._take_of_group(t, d, self.groups[int(d["id"])])
            case "GUILD_DELETE":
                for channel_id in self.groups.pop(int(d["id"]))["channels"]:
                    del self.heads[channel_id]
            case "CHANNEL_CREATE" if d["type"] == ChannelType.DIRECT:
                assert int(d["id"]) not in self.directs, "a direct channel twice"
                self.directs.add(int(d["id"]))
                self.heads[int(d["id"])] = d["last_seq"]
            case "MESSAGE_CREATE" | "MESSAGE_UPDATE" | "MESSAGE_DELETE":
                channel_id = int(d["channel_id"])
                assert d["seq"] > self.heads[channel_id], "a channel's stream has a repeat"
                skipped = range(self.heads[channel_id] + 1, d["seq"])
                assert all((channel_id, seq) in self.gone for seq in skipped), "a channel's stream has a hole"
                self.heads[channel_id] = d["seq"]
                if t == "MESSAGE_CREATE":
                    self.seen.append(int(d["id"]))
            case _:
                self._take_of_group(t, d, self.groups[int(d["guild_id"])])

    def _take_of_group(self, t: str, d: dict[str, Any], group: dict[str, Any]) -> None:
        """Take what a group's event is told as, or that sight came or went (without `seq`).

        Holes in a group's seqs are events about channels that this client does not see.
        """
        if "seq" in d:
            # A ban is told as two: a ban, and a removal.
            assert d["seq"] >= group["seq"] + (group.get("t") != "GUILD_BAN_ADD"), "a group's stream has a repeat"
            group["seq"], group["t"] = d["seq"], t
        match t:
            case "GUILD_UPDATE":
                group["about"] = (d["name"], d["owner_id"])
            case "CHANNEL_CREATE":
                assert int(d["id"]) not in group["channels"], "a channel twice"
                group["channels"][int(d["id"])] = shown(d)
                self.heads[int(d["id"])] = d["last_seq"]
            case "CHANNEL_UPDATE":
                assert int(d["id"]) in group["channels"], "a change of a channel that is not seen"
                group["channels"][int(d["id"])] = shown(d)
            case "CHANNEL_DELETE":
                del group["channels"][int(d["id"])]
                del self.heads[int(d["id"])]
            case "GUILD_ROLE_CREATE" | "GUILD_ROLE_UPDATE":
                assert (int(d["role"]["id"]) in group["roles"]) == (t == "GUILD_ROLE_UPDATE")
                group["roles"][int(d["role"]["id"])] = d["role"]
            case "GUILD_ROLE_DELETE":
                del group["roles"][int(d["role_id"])]
                for channel in group["channels"].values():
                    del_overwrites(channel, d["role_id"])
            case "GUILD_MEMBER_ADD":
                group["count"] += 1
            case "GUILD_MEMBER_REMOVE":
                group["count"] -= 1
            case "GUILD_MEMBER_UPDATE" | "GUILD_BAN_ADD":
                pass
            case _:
                raise AssertionError(f"a client does not know {t}")


def shown(channel: dict[str, Any]) -> dict[str, Any]:
    """Return a channel without its head, which messages move, and without an event's own number."""
    heads = ("last_seq", "last_message_id", "seq")
    return {key: value for key, value in channel.items() if key not in heads}


def del_overwrites(channel: dict[str, Any], role_id: str) -> None:
    """Do what clients do when a role is gone."""
    channel["permission_overwrites"] = [one for one in channel["permission_overwrites"] if one["id"] != role_id]


class TrackingModel:
    """The node's trail, told as a node tells it."""

    def __init__(self, model: NodeModel) -> None:
        self.note, self.end = model.moves.note, model.moves.end
        self.hold, self.release = model.moves.hold, model.moves.release
        self._model = model

    def begin(self, stream: str, seq: int) -> None:
        """Take in that a stream is followed."""
        self._model.moves.begin(stream, seq, self._model.s)


class NodeModel:
    """The truth, the queue, the hub, and the jobs that a shell does for it."""

    def __init__(self) -> None:
        self.s = 0
        self.moves = Moves("node.1", keep=1_000)
        self.hub: Hub[ClientModel] = Hub(TrackingModel(self))
        self.streams: dict[str, list[Event]] = defaultdict(list)
        self.users = [User(number, f"user{number}") for number in (1, 2, 3)]
        self.groups: dict[int, Group] = {}
        self.roles: dict[int, dict[int, Role]] = {}
        self.members: dict[int, dict[int, Member]] = {}
        self.channels: dict[int, Channel] = {}
        self.deleted: dict[int, Channel] = {}
        self.disbanding: dict[int, dict[int, Member]] = {}
        """Deleted groups, and those of their members whose own streams do not say so yet."""
        self.queue: list[Event | None] = []
        self.bound: set[str] = set()
        self.over_delivers = False
        """Whether events come in envelopes whose other events are for this node, so that all reach it."""
        self.jobs: dict[str, Job] = {}
        self.again: set[str] = set()
        self.clients: list[ClientModel] = []
        self.gone: set[tuple[int, int]] = set()
        self.opening: list[User] = []
        self.may_see: dict[int, set[int]] = {}
        """Who saw the channel when a message was sequenced, or came to see it since."""
        self.ids = 100
        self.now = 0.0
        for user in self.users:
            self.append(user_stream(user.id), UserRegistered(user))

    def new_id(self) -> int:
        """Return a new id."""
        self.ids += 1
        return self.ids

    # The truth.

    def append(self, stream: str, body: AnyBody) -> Event:
        """Store an event."""
        events, owner = self.streams[stream], owner_of(stream)
        record = Record(len(events) + 1, 0, body, id=self.new_id() if isinstance(body, MessageCreated) else 0)
        if stream[0] == "c":
            channel = self.channels[owner]
            event = Event(stream, record, channel.group_id, tuple(user.id for user in channel.recipients))
        else:
            event = Event(stream, record, owner if stream[0] == "g" else 0, (owner,) if stream[0] == "u" else ())
        events.append(event)
        return event

    def publish(self, event: Event) -> None:
        """Put an event into the node's queue if a key of it is bound, or came along with one that is."""
        keys = {group_stream(event.group_id)} if event.group_id else {user_stream(one) for one in event.to}
        if keys & self.bound or self.over_delivers:
            self.queue.append(event)

    def create_group(self, owner: User) -> None:
        """Make a group with a channel."""
        group_id = self.new_id()
        channel = Channel(group_id, ChannelType.TEXT, "general", group_id)
        member = Member(group_id, owner, 0)
        self.members[group_id] = {owner.id: member}
        self.channels[channel.id] = channel
        self.groups[group_id] = group = Group(group_id, "g", owner.id)
        self.roles[group_id] = {}
        event = self.append(group_stream(group_id), GroupCreated(group, (channel,), member))
        self.publish(event)
        self.publish(self.append(user_stream(owner.id), GroupJoined(event.record.seq, member)))

    def join(self, user: User, group_id: int, *, lost: bool = False) -> None:
        """Add a member; the user's own event may get lost, so that the join is not answered."""
        member = Member(group_id, user, 0)
        self.members[group_id][user.id] = member
        event = self.append(group_stream(group_id), MemberAdded(member))
        self.publish(event)
        own = self.append(user_stream(user.id), GroupJoined(event.record.seq, member))
        if not lost:
            self.publish(own)
        self.gain()

    def gain(self) -> None:
        """Take in that more may be seen now: also what was said before, if a node hears of it later."""
        deleted = (one for one in self.deleted.values() if one.group_id in self.members)
        for channel in (*self.channels.values(), *deleted):
            seeing = self.seeing(channel)
            for event in self.streams[channel_stream(channel.id)]:
                if event.record.id:
                    self.may_see[event.record.id] |= seeing

    def seeing(self, channel: Channel) -> set[int]:
        """Return who sees a channel."""
        if not channel.group_id:
            return {user.id for user in channel.recipients}
        group, roles = self.groups[channel.group_id], self.roles[channel.group_id]
        return {
            user_id
            for user_id, member in self.members[channel.group_id].items()
            if permissions_of(group, roles, member, 0, channel) & Permission.VIEW_CHANNEL
        }

    def change_group(self, group_id: int, body: AnyBody) -> None:
        """Store and publish an event of a group's stream, whose effect on the truth was made."""
        self.publish(self.append(group_stream(group_id), body))
        self.gain()

    def promote(self, user: User, group_id: int) -> None:
        """Give a member the group's first role, or take it; make the role, if there is none."""
        roles, before = self.roles[group_id], self.members[group_id].get(user.id)
        if not roles:
            role = Role(self.new_id(), group_id, "seers", 0, 1)
            roles[role.id] = role
            self.change_group(group_id, RoleCreated(role))
        elif before is not None:
            role_id = next(iter(roles))
            held = tuple({role_id, *before.roles} - ({role_id} & {*before.roles}))
            member = self.members[group_id][user.id] = Member(group_id, user, 0, roles=held)
            event = self.append(group_stream(group_id), MemberChanged(member, before))
            self.publish(event)
            changed = MembershipChanged(event.record.seq, member, before)
            self.publish(self.append(user_stream(user.id), changed))
            self.gain()

    def change_role(self, group_id: int, *, gone: bool) -> None:
        """Let the group's first role see everything, or nothing more; or delete it."""
        for before in list(self.roles[group_id].values())[:1]:
            if gone:
                del self.roles[group_id][before.id]
                self.change_group(group_id, RoleDeleted(before))
            else:
                permissions = before.permissions ^ Permission.ADMINISTRATOR
                role = self.roles[group_id][before.id] = replace(before, permissions=permissions)
                self.change_group(group_id, RoleChanged(role, before))

    def hide(self, channel: Channel, user: User | None) -> None:
        """Show a hidden channel to all; else hide it from all but a role, and from one user or nobody else."""
        if not channel.group_id:
            return
        overwrites: tuple[Overwrite, ...] = ()
        if not channel.overwrites:
            view = int(Permission.VIEW_CHANNEL)
            everyone = Overwrite(channel.group_id, OverwriteType.ROLE, deny=view)
            seers = (Overwrite(one, OverwriteType.ROLE, allow=view) for one in self.roles[channel.group_id])
            own = (Overwrite(user.id, OverwriteType.MEMBER, deny=view),) if user is not None else ()
            overwrites = (everyone, *seers, *own)
        changed = self.channels[channel.id] = replace(channel, overwrites=overwrites)
        self.change_group(channel.group_id, ChannelChanged(changed, channel))

    def delete_channel(self, channel: Channel) -> None:
        """Delete a channel of a group, but for its first."""
        if channel.group_id and channel.id != channel.group_id:
            self.deleted[channel.id] = self.channels.pop(channel.id)
            self.change_group(channel.group_id, ChannelDeleted(channel))

    def leave(self, user: User, group_id: int, *, is_banned: bool = False) -> None:
        """Remove a member; the answer comes after both events are published."""
        del self.members[group_id][user.id]
        body = MemberBanned(user, was_in=True) if is_banned else MemberRemoved(user)
        event = self.append(group_stream(group_id), body)
        self.publish(event)
        self.publish(self.append(user_stream(user.id), GroupLeft(group_id, event.record.seq)))

    def hand_over(self, group_id: int, user: User) -> None:
        """Give a group another name, and to another member."""
        before = self.groups[group_id]
        owner_id = user.id if user.id in self.members[group_id] else before.owner_id
        group = self.groups[group_id] = replace(before, name=before.name + "g", owner_id=owner_id)
        self.change_group(group_id, GroupChanged(group, before))

    def delete_group(self, group_id: int) -> None:
        """Delete a group; its members' own streams are told later."""
        for channel_id, channel in list(self.channels.items()):
            if channel.group_id == group_id:
                self.deleted[channel_id] = self.channels.pop(channel_id)
        self.disbanding[group_id] = self.members.pop(group_id)
        self.publish(self.append(group_stream(group_id), GroupDeleted(self.groups[group_id])))

    def disband(self) -> None:
        """Tell one more member of a deleted group, in its own stream."""
        for group_id, members in self.disbanding.items():
            if members:
                user_id, _ = members.popitem()
                left = GroupLeft(group_id, len(self.streams[group_stream(group_id)]))
                self.publish(self.append(user_stream(user_id), left))
                return

    def create_channel(self, group_id: int) -> None:
        """Add a channel."""
        channel = Channel(self.new_id(), ChannelType.TEXT, "more", group_id)
        self.channels[channel.id] = channel
        self.publish(self.append(group_stream(group_id), ChannelCreated(channel)))

    def open_direct(self, one: User, other: User) -> None:
        """Open a direct channel."""
        channel = Channel(self.new_id(), ChannelType.DIRECT, recipients=(one, other))
        self.channels[channel.id] = channel
        self.publish(self.append(channel_stream(channel.id), ChannelOpened(channel)))

    def say(self, channel: Channel, *, lost: bool) -> None:
        """Store a message, and publish it unless that gets lost."""
        event = self.append(channel_stream(channel.id), MessageCreated(self.users[0], "x"))
        self.may_see[event.record.id] = self.seeing(channel)
        if not lost:
            self.publish(event)

    def change(self, channel: Channel, pick: int, *, is_deletion: bool, lost: bool) -> None:
        """Edit or delete a message that is there, if there is one; a deleted one is told as nothing from now on."""
        events = self.streams[channel_stream(channel.id)]
        written = [event for event in events if isinstance(event.record.body, MessageCreated)]
        if not written:
            return
        old = written[pick % len(written)]
        body = old.record.body
        assert isinstance(body, MessageCreated)
        target = Target(old.record.id, old.record.seq, 0, body.author.id, 1, 0)
        if is_deletion:
            self.gone.add((channel.id, old.record.seq))
            stub = msgspec.structs.replace(old.record, body=MessageStub(body.author.id))
            events[old.record.seq - 1] = msgspec.structs.replace(old, record=stub)
        event = self.append(
            channel_stream(channel.id),
            MessageDeleted(target, body.author.id) if is_deletion else MessageEdited(target, 0, body),
        )
        if not lost:
            self.publish(event)

    # What groups and history would answer.

    def head(self, channel: Channel) -> tuple[Channel, int, int]:
        """Return a channel's view."""
        events = self.streams[channel_stream(channel.id)]
        return channel, len(events), max((event.record.id for event in events), default=0)

    def session_view(self, user: User) -> SessionView:
        """Return a user's body."""
        groups = (*self.members.values(), *self.disbanding.values())
        memberships = tuple(members[user.id] for members in groups if user.id in members)
        directs = tuple(DirectView(*self.head(one)) for one in self.channels.values() if user in one.recipients)
        return SessionView(user, len(self.streams[user_stream(user.id)]), memberships, directs)

    def group_view(self, group_id: int) -> GroupView | None:
        """Return a group's body, with only a sample of its members; None if it is deleted."""
        if group_id in self.disbanding:
            return None
        channels = tuple(ChannelView(*self.head(one)) for one in self.channels.values() if one.group_id == group_id)
        members = self.members[group_id]
        seq = len(self.streams[group_stream(group_id)])
        roles = tuple(self.roles[group_id].values())
        return GroupView(self.groups[group_id], seq, channels, tuple(members.values())[:1], len(members), roles)

    # The shell.

    def perform(self, outs: list[Out[ClientModel]]) -> None:
        """Do what the hub says."""
        for out in outs:
            match out:
                case Dispatch(t, d, clients):
                    self.s += 1
                    for client in clients:
                        client.s = self.s
                        if t == "MESSAGE_CREATE":
                            assert client.user.id in self.may_see[int(d["id"])], "seen after a removal"
                        client.take(t, d)
                case FollowGroup(group_id):
                    self.jobs.setdefault(group_stream(group_id), self.follow_group(group_id))
                case Repair(unit):
                    self.repair(unit)
        for client in self.clients:
            for group_id, group in client.groups.items():
                if (local := self.hub.roster.groups.get(group_id)) is not None:
                    group["at"] = local.seq  # what is not told by now is not for this client

    def repair(self, unit: str) -> None:
        """Begin a repair, after the job at work."""
        if unit in self.jobs:
            self.again.add(unit)
        else:
            self.jobs[unit] = self.repair_unit(unit)

    def deliver(self) -> None:
        """Take the next of the queue."""
        event = self.queue.pop(0)
        if event is not None:
            self.perform(self.hub.apply(event, self.now))
            return
        self.again.update(self.jobs)
        for unit in self.hub.roster.units():
            self.hub.hold(unit)
            self.repair(unit)

    def lose_queue(self) -> None:
        """Lose all that is in the queue; a gap tells it."""
        self.queue = [None]

    def step(self, unit: str) -> None:
        """Let a job go on."""
        try:
            next(self.jobs[unit])
        except StopIteration:
            del self.jobs[unit]
            is_asked = unit in self.again
            self.again.discard(unit)
            if self.hub.roster.position(unit) is None and not self.hub.is_held(unit):
                if unit.startswith("g:") and self.hub.roster.is_wanted(owner_of(unit)):
                    self.jobs[unit] = self.follow_group(owner_of(unit))
            elif is_asked:
                self.hub.hold(unit)
                self.repair(unit)

    def release(self, unit: str, *, is_read: bool = False) -> None:
        """Let a unit go on, unless something was lost since it was read."""
        if unit not in self.again:
            self.perform(self.hub.release(unit, self.now, is_read=is_read))

    def follow_user(self, user: User) -> Job:
        """Follow a user in steps."""
        unit = user_stream(user.id)
        self.hub.hold(unit)
        yield
        self.bound.add(unit)
        yield
        view = self.session_view(user)
        yield
        self.perform(self.hub.roster.put_user(view, self.now))
        self.release(unit)

    def follow_group(self, group_id: int) -> Job:
        """Follow a group in steps."""
        unit = group_stream(group_id)
        self.hub.hold(unit)
        yield
        self.bound.add(unit)
        yield
        view = self.group_view(group_id)
        yield
        if view is None:
            self.hub.roster.without_group(group_id, len(self.streams[unit]))
            self.hub.abandon(unit)
            self.bound.discard(unit)
            return
        self.perform(self.hub.roster.put_group(view, self.now))
        self.release(unit)

    def repair_unit(self, unit: str) -> Job:
        """Repair a unit in steps."""
        yield
        while unit.startswith("g:") and (group := self.hub.roster.groups.get(owner_of(unit))) is not None:
            if not any(self.hub.is_held(user_stream(user_id)) for user_id in group.users):
                break
            yield
        streams = [unit]
        if unit.startswith("g:"):
            streams += [channel_stream(one.id) for one in self.channels.values() if one.group_id == owner_of(unit)]
        found = {stream: list(self.streams[stream]) for stream in streams}
        directs = [DirectView(*self.head(one)) for one in self.channels.values() if not one.group_id]
        held = self.hub.held_events(unit)
        yield
        if unit in self.again:
            return
        for view in directs:
            if unit.startswith("u:") and owner_of(unit) in [user.id for user in view.channel.recipients]:
                self.perform(self.hub.roster.directs.put(view))
                self.perform(self.hub.roster.compare(channel_stream(view.channel.id), view.last_seq))
            if channel_stream(view.channel.id) == unit and held:
                self.perform(self.hub.roster.directs.put(DirectView(view.channel, held[0].record.seq - 1, 0)))
        for events in found.values():
            for event in events:
                self.perform(self.hub.fill(event, self.now))
        self.release(unit, is_read=True)

    def try_open(self, user: User) -> bool:
        """Go on opening a session; True once it is open."""
        if not self.hub.roster.is_whole(user.id):
            self.jobs.setdefault(user_stream(user.id), self.follow_user(user))
            return False
        if missing := self.hub.roster.missing_groups(user.id):
            for group_id in missing:
                self.jobs.setdefault(group_stream(group_id), self.follow_group(group_id))
            return False
        client = ClientModel(user, self.gone)
        self.clients.append(client)
        hub = self.hub
        hub.roster.attach(client, user.id)
        directs = hub.roster.directs.of(user.id)
        local = hub.roster.users[user.id]
        for t, d in first_dispatches(
            local, hub.roster.groups, hub.roster.channels, directs, session_id="s", resume_url="ws://x", shard=None
        ):
            self.s += 1
            client.s = self.s
            client.take(t, d)
        return True

    def close(self, client: ClientModel) -> None:
        """Close a session."""
        self.clients.remove(client)
        self.hub.roster.detach(client, client.user.id, self.now)

    def sweep(self) -> None:
        """Stop following what is unused."""
        self.bound -= set(self.hub.roster.sweep(self.now, 0.0))

    def settle(self) -> None:
        """Let everything arrive, and compare all heads, as the node does now and then."""
        self.queue.append(None)
        for _ in range(10_000):
            if self.queue:
                self.deliver()
            elif self.jobs:
                self.step(min(self.jobs, key=lambda unit: unit[0] == "g"))
            elif self.opening:
                self.opening = [user for user in self.opening if not self.try_open(user)]
            else:
                return
        raise AssertionError("it never comes to rest")

    def require_whole(self) -> None:
        """Every client holds exactly what is so (the snapshot law)."""
        for client in self.clients:
            truth = {group_id for group_id, members in self.members.items() if client.user.id in members}
            assert client.groups.keys() == truth
            for group_id in truth:
                group = self.groups[group_id]
                assert client.groups[group_id]["about"] == (group.name, str(group.owner_id))
                assert client.groups[group_id]["count"] == len(self.members[group_id])
                assert client.groups[group_id]["seq"] <= len(self.streams[group_stream(group_id)])
                roles = all_roles(group_id, self.roles[group_id].values())
                assert client.groups[group_id]["roles"] == {one: role_of(role) for one, role in roles.items()}
                assert client.groups[group_id]["channels"] == {
                    one.id: shown(channel_of(known_overwrites(one, roles)))
                    for one in self.channels.values()
                    if one.group_id == group_id and client.user.id in self.seeing(one)
                }
            visible = {
                one.id: len(self.streams[channel_stream(one.id)])
                for one in self.channels.values()
                if client.user.id in self.seeing(one) and (one.group_id in truth or not one.group_id)
            }
            assert client.heads == visible

    def require_placed(self) -> None:
        """If the node dies now, its trail places every client where it lacks nothing."""
        trail = self.moves.take_all(self.s)
        for client in self.clients:
            for told_s in (client.s, self.s):
                if (placed := trail.place(told_s)) is not None:
                    self._require_placed(placed, client)

    def _require_placed(self, placed: Placed, client: ClientModel) -> None:
        def seq_of(stream: str) -> int:
            followed = placed.position_of(stream)
            assert followed is not None, f"{stream} can't be placed"
            return followed.seq

        own = user_stream(client.user.id)
        told: set[int] = set()
        to_come: set[int] = set()
        stood = seq_of(own)
        for event in self.streams[own]:
            body = event.record.body
            if isinstance(body, GroupJoined | GroupLeft):
                group_id = body.group_id if isinstance(body, GroupLeft) else body.member.group_id
                if event.record.seq > stood:
                    to_come.add(group_id)
                elif isinstance(body, GroupJoined):
                    told.add(group_id)
                else:
                    told.discard(group_id)
        to_come |= self.disbanding.keys()  # whoever takes over finds that there is no such group
        assert told - to_come == client.groups.keys() - to_come, "a group that came or went is left out"
        for group_id in client.groups:
            if group_id not in to_come:
                assert seq_of(group_stream(group_id)) <= client.groups[group_id]["at"]
        for channel_id, head in client.heads.items():
            channel = self.channels.get(channel_id) or self.deleted[channel_id]
            if channel.group_id not in to_come:
                while (channel_id, head + 1) in self.gone:
                    head += 1
                assert seq_of(channel_stream(channel_id)) <= head, "an event is left out"
