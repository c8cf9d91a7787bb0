"""Group DMs: who is in them, who may change that, and what each of their users is told, and nobody else."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import msgspec
import pytest

from services.gateway.core.hub import Hub
from services.gateway.core.outs import Dispatch, Out, Repair
from services.gateway.core.snapshot import first_dispatches
from services.groups.bodies import ChannelBody
from services.groups.group_directs import MAX_GROUP_DIRECTS
from services.groups.jobs import LEASE_MS, UNSURE_MS
from shared.core.calls import SessionView
from shared.core.commands import COMMAND_LIFETIME_MS, AnyCommand, SendMessage
from shared.core.model import MAX_RECIPIENTS, User
from shared.core.stream import Event, channel_stream, user_stream
from shared.core.user_events import DirectJoined, DirectLeft
from shared.core.wire.values import encode
from tests.groups.fuse import Crash, Fuse, Moment
from tests.groups.test_rest import error_of
from tests.groups.world import Replica, World, open_world

NAMES = ("ann", "bob", "cid", "dan")
MOST_STEPS = 80
_COMMANDS = itertools.count(1)


class Talk:
    """A group DM of ann, bob and cid, whom dan may join; each has a node of its own, which hears all."""

    def __init__(self, world: World, replica: Replica, users: dict[str, tuple[str, int]], channel: int) -> None:
        self.world = world
        self.replica = replica
        self.tokens = {name: token for name, (token, _) in users.items()}
        self.ids = {name: user_id for name, (_, user_id) in users.items()}
        self.channel = channel
        self.began: dict[str, int] = {}
        """How far the streams were when it was opened: what came before nobody has heard."""

    @property
    def streams(self) -> list[str]:
        """The streams of the channel and of the users."""
        return [channel_stream(self.channel), *map(user_stream, self.ids.values())]

    async def call(self, who: str, method: str, path: str = "", body: Any = None) -> Any:
        """Call a route of the channel."""
        return await self.replica.call(method, f"/channels/{self.channel}{path}", self.tokens[who], body)

    async def add(self, who: str, whom: str) -> Any:
        """Let one user add another."""
        return await self.call(who, "PUT", f"/recipients/{self.ids[whom]}")

    async def remove(self, who: str, whom: str) -> Any:
        """Let one user remove another."""
        return await self.call(who, "DELETE", f"/recipients/{self.ids[whom]}")

    async def say(self, who: str, content: str) -> Any:
        """Write a message, as the shard takes it; return the refusal's name, if it is refused."""
        user = User(self.ids[who], who)
        until = self.world.now + COMMAND_LIFETIME_MS
        number = next(_COMMANDS)
        command = SendMessage(number, self.channel, "nobody", until, user, content, to=tuple(self.ids.values()))
        return (await self.settle(command)).error

    async def settle(self, command: AnyCommand) -> Any:
        """Let the shard take a command."""
        return (await self.world.settle_history(command)).replies[0]

    async def quiet(self) -> None:
        """Wait until the listener has heard all that happened in the channel and to its users."""
        for stream in self.streams:
            head = await self.world.streams.read_head(stream)
            if head.seq <= self.began[stream]:
                continue
            async with asyncio.timeout(5):
                while head.seq not in self.world.seqs_heard(stream):
                    await asyncio.sleep(0)

    async def names(self, who: str = "ann") -> list[str]:
        """Return the others in the channel, as one of its users reads it."""
        told = (await self.call(who, "GET")).json()
        ChannelBody.model_validate(told, extra="forbid")
        return [user["username"] for user in told["recipients"]]


async def open_talk(world: World, replica: Replica) -> Talk:
    """Open a talk that ann owns."""
    users = {name: await replica.register(name) for name in NAMES}
    await world.follow(*(f"u.{user_id}" for _, user_id in users.values()))
    recipients = [str(users[name][1]) for name in ("bob", "cid")]
    answer = await replica.call("POST", "/users/@me/channels", users["ann"][0], {"recipients": recipients})
    assert answer.status_code == 200, answer.text
    talk = Talk(world, replica, users, int(answer.json()["id"]))
    for stream in talk.streams:
        talk.began[stream] = (await world.streams.read_head(stream)).seq
    return talk


@pytest.fixture
async def talk(world: World, groups: Replica) -> Talk:
    """Return a talk on one replica."""
    return await open_talk(world, groups)


class Node:
    """What one user's session is told: a hub that follows the user from a snapshot on, and reads what it must."""

    def __init__(self, replica: Replica, view: SessionView) -> None:
        self.replica = replica
        self.user_id = view.user.id
        self.hub: Hub[str] = Hub()
        self.hub.roster.put_user(view, 0.0)
        self.hub.roster.attach("session", self.user_id)
        self.told: list[tuple[str, Any]] = []

    async def hear(self, events: list[Event]) -> None:
        """Take the events that went to the user's key."""
        for event in events:
            if self.user_id in event.to:
                await self.perform(self.hub.apply(event, 0.0))

    async def perform(self, outs: list[Out[str]]) -> None:
        """Note dispatches, and look up a channel that turned up, as `services.gateway.following` does."""
        for out in outs:
            match out:
                case Dispatch(t, d):
                    self.told.append((t, json.loads(encode(d))))
                case Repair(unit):
                    for direct in (await session_of(self.replica, self.user_id)).directs:
                        await self.perform(self.hub.roster.directs.put(direct))
                    await self.perform(self.hub.release(unit, 0.0, is_read=True))

    def talks(self) -> list[Any]:
        """Return the direct channels of a session that begins now."""
        user, roster = self.hub.roster.users[self.user_id], self.hub.roster
        ids = roster.directs.of(self.user_id)
        told = first_dispatches(user, {}, roster.channels, ids, session_id="", resume_url="", shard=None)
        (ready,) = (json.loads(encode(d)) for t, d in told if t == "READY")
        return sorted(ready["private_channels"], key=lambda one: int(one["id"]))


async def session_of(replica: Replica, user_id: int) -> SessionView:
    """Return what a session of a user begins with now."""
    (raw,) = (await replica.groups.snapshots.read_sessions((user_id,))).values()
    return msgspec.msgpack.decode(raw, type=SessionView)


async def node_of(talk: Talk, who: str) -> Node:
    """Return a node on which a user comes now."""
    return Node(talk.replica, await session_of(talk.replica, talk.ids[who]))


KINDS = ("nobody", "stranger", "blocked", "recipient", "owner")
OK, UNAUTHORIZED, NO_CHANNEL, NO_PERMISSION, NO_RECIPIENT = 0, 401, 10003, 50013, 50033
IN_IT = (UNAUTHORIZED, NO_CHANNEL, NO_CHANNEL, OK, OK)
ROUTES: dict[str, tuple[str, str, Any, tuple[int, ...]]] = {
    "get": ("GET", "", None, IN_IT),
    "rename": ("PATCH", "", {"name": "x"}, IN_IT),
    "leave": ("DELETE", "", None, IN_IT),
    "add": ("PUT", "/recipients/{new}", None, IN_IT),
    "add who blocks the recipient": ("PUT", "/recipients/{blocked}", None, (*IN_IT[:3], NO_RECIPIENT, OK)),
    "remove": ("DELETE", "/recipients/{other}", None, (*IN_IT[:3], NO_PERMISSION, OK)),
    "remove who is not in it": ("DELETE", "/recipients/{new}", None, (*IN_IT[:3], NO_RECIPIENT, NO_RECIPIENT)),
    "set an overwrite": ("PUT", "/permissions/{new}", {"type": 1, "allow": "1"}, (UNAUTHORIZED, *[NO_CHANNEL] * 4)),
    "invite": ("POST", "/invites", {}, (UNAUTHORIZED, *[NO_CHANNEL] * 4)),
}


@pytest.mark.parametrize("name", ROUTES)
async def test_each_caller_may_what_it_may(world: World, groups: Replica, name: str) -> None:
    """Each kind of caller gets what the table says; who is refused has changed nothing."""
    users = {kind: await groups.register(kind) for kind in (*KINDS[1:], "other", "new")}
    blocking = f"/users/@me/relationships/{users['recipient'][1]}"
    await groups.call("PUT", blocking, users["blocked"][0], {"type": 2})
    method, path, body, expected = ROUTES[name]
    told = []
    for kind in KINDS:
        recipients = [str(users[one][1]) for one in ("recipient", "other")]
        made = await groups.call("POST", "/users/@me/channels", users["owner"][0], {"recipients": recipients})
        channel = made.json()["id"]
        below = path.format_map({one: user_id for one, (_, user_id) in users.items()})
        token = users[kind][0] if kind in users else ""
        answer = await groups.call(method, f"/channels/{channel}{below}", token, body)
        after = (await world.streams.read_head(channel_stream(int(channel)))).seq
        is_done = answer.status_code < 300
        assert (after > 1) == (is_done and method != "GET"), "a refused call has changed something"
        told.append(OK if is_done else answer.json()["code"] or answer.status_code)
    assert dict(zip(KINDS, told, strict=True)) == dict(zip(KINDS, expected, strict=True))


async def test_all_who_are_named_are_in_it(talk: Talk) -> None:
    """The caller owns it; each sees the others and has it in the list; a second one is another channel."""
    told = (await talk.call("bob", "GET")).json()
    assert (told["type"], told["name"], told["owner_id"]) == (3, None, str(talk.ids["ann"]))
    assert await talk.names("bob") == ["ann", "cid"]
    for who in ("ann", "bob", "cid"):
        listed = (await talk.replica.call("GET", "/users/@me/channels", talk.tokens[who])).json()
        assert [one["id"] for one in listed] == [str(talk.channel)]
    assert (await talk.call("dan", "GET")).status_code == 404
    again = await talk.replica.call(
        "POST", "/users/@me/channels", talk.tokens["ann"], {"recipients": [str(talk.ids["bob"]), str(talk.ids["cid"])]}
    )
    assert again.json()["id"] != str(talk.channel)


async def test_who_may_add_whom(talk: Talk) -> None:
    """Anybody in it adds who is no bot, and whom no block stands before; a repeat changes nothing."""
    assert (await talk.add("dan", "dan")).status_code == 404
    assert error_of(await talk.call("ann", "PUT", "/recipients/7")) == (404, 10013)
    dan_blocks = f"/users/@me/relationships/{talk.ids['bob']}"
    await talk.replica.call("PUT", dan_blocks, talk.tokens["dan"], {"type": 2})
    assert error_of(await talk.add("bob", "dan")) == (400, 50033)
    for _ in range(2):
        assert (await talk.add("cid", "dan")).status_code == 204
    assert await talk.names() == ["bob", "cid", "dan"]
    made = await talk.replica.call("POST", "/applications", talk.tokens["ann"], {"name": "helper"})
    bot = made.json()["bot"]
    assert error_of(await talk.call("ann", "PUT", f"/recipients/{bot['id']}")) == (400, 50033)
    body = {"recipients": [str(talk.ids["ann"]), str(talk.ids["bob"])]}
    assert error_of(await talk.replica.call("POST", "/users/@me/channels", f"Bot {bot['token']}", body)) == (403, 20001)


async def test_only_the_owner_removes_others(talk: Talk) -> None:
    """Anybody leaves; when the owner does, who was there longest owns it."""
    assert error_of(await talk.remove("bob", "cid")) == (403, 50013)
    assert error_of(await talk.remove("ann", "dan")) == (400, 50033)
    assert (await talk.remove("ann", "cid")).status_code == 204
    assert (await talk.call("cid", "GET")).status_code == 404
    left = await talk.call("ann", "DELETE")
    assert (left.status_code, left.json()["id"]) == (200, str(talk.channel))
    assert (await talk.call("bob", "GET")).json()["owner_id"] == str(talk.ids["bob"])
    assert (await talk.add("bob", "ann")).status_code == 204
    assert error_of(await talk.remove("ann", "bob")) == (403, 50013)


async def test_it_holds_so_many(talk: Talk) -> None:
    """Ten users are in one at most, and a user in fifty."""
    others = [str((await talk.replica.register(f"user{number}"))[1]) for number in range(MAX_RECIPIENTS)]
    for other in others[: MAX_RECIPIENTS - 3]:
        assert (await talk.call("ann", "PUT", f"/recipients/{other}")).status_code == 204
    assert error_of(await talk.call("ann", "PUT", f"/recipients/{others[-1]}")) == (400, 30004)
    path, token = "/users/@me/channels", talk.tokens["ann"]
    assert error_of(await talk.replica.call("POST", path, token, {"recipients": others})) == (400, 30004)
    two = {"recipients": [str(talk.ids["bob"]), str(talk.ids["cid"])]}
    for _ in range(MAX_GROUP_DIRECTS - 1):
        assert (await talk.replica.call("POST", path, token, two)).status_code == 200
    assert (await talk.replica.call("POST", path, token, two)).status_code == 400
    assert error_of(await talk.replica.call("POST", path, talk.tokens["dan"], two)) == (400, 50033)


async def test_its_name_is_told(talk: Talk) -> None:
    """Anybody in it names it, or takes the name away; the same name again is nothing new."""
    ben = await node_of(talk, "bob")
    for name in ("Lunch", "Lunch", None):
        answer = await talk.call("cid", "PATCH", body={"name": name})
        assert (answer.status_code, answer.json()["name"]) == (200, name)
    assert (await talk.call("dan", "PATCH", body={"name": "Mine"})).status_code == 404
    assert (await talk.call("ann", "PATCH", body={"name": "x" * 101})).status_code == 400
    await talk.quiet()
    await ben.hear(talk.world.heard)
    assert [(t, d.get("name", d.get("content"))) for t, d in ben.told] == [
        ("CHANNEL_UPDATE", "Lunch"),
        ("MESSAGE_CREATE", "Lunch"),
        ("CHANNEL_UPDATE", None),
        ("MESSAGE_CREATE", ""),
    ]
    assert {d["type"] for t, d in ben.told if t == "MESSAGE_CREATE"} == {4}
    assert {d["channel_type"] for t, d in ben.told if t == "MESSAGE_CREATE"} == {3}


async def test_who_comes_hears_from_then_on_and_who_goes_no_more(talk: Talk) -> None:
    """The newcomer gets the channel, then what is said; who is out hears no more, and may write no more."""
    nodes = {who: await node_of(talk, who) for who in NAMES}
    assert await talk.say("bob", "before") == ""
    await talk.add("ann", "dan")
    assert await talk.say("dan", "hello") == ""
    await talk.remove("ann", "dan")
    assert await talk.say("bob", "after") == ""
    assert await talk.say("dan", "still here") == "UnknownChannel"
    await talk.quiet()
    for node in nodes.values():
        await node.hear(talk.world.heard)
    dan = [(t, d.get("content")) for t, d in nodes["dan"].told]
    assert dan == [("CHANNEL_DELETE", None)]  # it was out again when its node looked
    bob = [(t, d.get("type") if t == "MESSAGE_CREATE" else d["user"]["username"]) for t, d in nodes["bob"].told]
    added, removed = ("CHANNEL_RECIPIENT_ADD", "dan"), ("CHANNEL_RECIPIENT_REMOVE", "dan")
    create = "MESSAGE_CREATE"
    assert bob == [(create, 0), added, (create, 1), (create, 0), removed, (create, 2), (create, 0)]


async def test_a_node_with_both_tells_each_its_part(talk: Talk) -> None:
    """Where the newcomer's node has others of the channel: its session hears what is said in between."""
    node = await node_of(talk, "bob")
    node.hub.roster.put_user(await session_of(talk.replica, talk.ids["dan"]), 0.0)
    node.hub.roster.attach("dan's", talk.ids["dan"])
    await talk.say("bob", "before")
    await talk.add("ann", "dan")
    await talk.say("dan", "hello")
    await talk.remove("ann", "dan")
    await talk.say("bob", "after")
    await talk.quiet()
    told: list[tuple[str, Any]] = []
    for event in talk.world.heard:
        if {talk.ids["bob"], talk.ids["dan"]} & set(event.to):
            outs = (out for out in node.hub.apply(event, 0.0) if isinstance(out, Dispatch))
            told += [(out.t, json.loads(encode(out.d))) for out in outs if "dan's" in out.sessions]
    assert [(t, d.get("content")) for t, d in told] == [
        ("CHANNEL_CREATE", None),
        ("MESSAGE_CREATE", "hello"),
        ("CHANNEL_DELETE", None),
    ]
    created = told[0][1]
    assert created["last_seq"] == created["seq"]
    assert created["last_message_id"] is not None
    assert [user["username"] for user in created["recipients"]] == ["ann", "bob", "cid"]


CHANGES: dict[str, list[tuple[str, str, str, Any]]] = {
    "add": [("ann", "PUT", "/recipients/{dan}", None)],
    "remove": [("ann", "DELETE", "/recipients/{cid}", None)],
    "leave": [("bob", "DELETE", "", None)],
    "owner leaves": [("ann", "DELETE", "", None)],
    "rename": [("bob", "PATCH", "", {"name": "Lunch"})],
    "come and go": [("ann", "PUT", "/recipients/{dan}", None), ("ann", "DELETE", "/recipients/{dan}", None)],
    "go and come": [("ann", "DELETE", "/recipients/{cid}", None), ("bob", "PUT", "/recipients/{cid}", None)],
    "all leave": [(who, "DELETE", "", None) for who in ("ann", "bob", "cid")],
}


@pytest.mark.parametrize("name", CHANGES)
async def test_old_snapshot_and_events_are_the_new_snapshot(talk: Talk, name: str) -> None:
    """The snapshot law, for each who is in it before and after."""
    before = {who: await node_of(talk, who) for who in NAMES[:3]}
    for who, method, path, body in CHANGES[name]:
        assert (await talk.call(who, method, path.format_map(talk.ids), body)).status_code in {200, 204}
        await talk.say(who, "and then this")
    await talk.quiet()
    for who, node in before.items():
        await node.hear(talk.world.heard)
        now = await node_of(talk, who)
        assert node.talks() == now.talks()
        position = channel_stream(talk.channel)
        if now.talks():
            assert node.hub.roster.position(position) == now.hub.roster.position(position)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("is_added", [True, False])
async def test_who_dies_anywhere_leaves_nothing_half_told(moment: Moment, is_added: bool) -> None:
    """Whoever adds or removes, and dies at any step: what the user's own stream says is so, once it was swept."""
    for step in range(1, MOST_STEPS):
        async with open_world() as world, world.open_replica() as healthy:
            talk = await open_talk(world, healthy)
            if not is_added:
                await talk.add("ann", "dan")
            died = False
            fuse = Fuse(step, moment)
            async with world.open_replica(fuse=fuse) as dying:
                change = dying.groups.group_directs.add if is_added else dying.groups.group_directs.remove
                try:
                    await change(talk.ids["ann"], talk.channel, talk.ids["dan"])
                except Crash:
                    died = True
            world.now += COMMAND_LIFETIME_MS + UNSURE_MS + LEASE_MS + 1
            await healthy.groups.changes.sweep()
            await healthy.groups.jobs.sweep()
            is_in = "dan" in await talk.names()
            page = await healthy.groups.views.read_changes(user_stream(talk.ids["dan"]), 0, 100)
            bodies = [event.record.body for event in page.events]
            told = [isinstance(body, DirectJoined) for body in bodies if isinstance(body, DirectJoined | DirectLeft)]
            assert is_in == (told[-1] if told else False)
            if not died:
                assert is_in == is_added
                return
    pytest.fail("a change takes more steps than expected")
