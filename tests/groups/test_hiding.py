"""Direct channels that one of their users closes: who may, what that one sees, and what a node that hears it shows."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from services.groups.bodies import ChannelBody
from shared.core.calls import SessionView
from shared.core.commands import COMMAND_LIFETIME_MS, SendMessage
from shared.core.model import User
from shared.core.stream import channel_stream, user_stream
from tests.groups.test_group_directs import Node, session_of
from tests.groups.test_rest import error_of
from tests.groups.world import Replica, World
from tests.waiting import wait_until

_COMMANDS = itertools.count(1)


class Pair:
    """A direct channel of ann and bob."""

    def __init__(self, world: World, replica: Replica, users: dict[str, tuple[str, int]], channel: int) -> None:
        self.world = world
        self.replica = replica
        self.tokens = {name: token for name, (token, _) in users.items()}
        self.ids = {name: user_id for name, (_, user_id) in users.items()}
        self.channel = channel
        self.began: dict[str, int] = {}
        """How far the streams were when the listener began."""

    async def open(self, who: str) -> Any:
        """Let one open it, who may have it open."""
        (other,) = {"ann", "bob"} - {who}
        return await self.replica.call(
            "POST", "/users/@me/channels", self.tokens[who], {"recipient_id": self.ids[other]}
        )

    async def close(self, who: str) -> Any:
        """Let one close it."""
        return await self.replica.call("DELETE", f"/channels/{self.channel}", self.tokens.get(who, ""))

    async def say(self, who: str) -> None:
        """Write a message, as the shard takes it."""
        until = self.world.now + COMMAND_LIFETIME_MS
        user, to = User(self.ids[who], who), (self.ids["ann"], self.ids["bob"])
        command = SendMessage(next(_COMMANDS), self.channel, "nobody", until, user, "hello", to=to)
        assert not (await self.world.settle_history(command)).replies[0].error

    async def do(self, step: str) -> None:
        """Let somebody open, close or write: "ann closes"."""
        who, verb = step.split()
        await {"opens": self.open, "closes": self.close, "writes": self.say}[verb](who)

    async def listed(self, who: str) -> list[str]:
        """Return the direct channels of a user."""
        return [one["id"] for one in (await self.replica.call("GET", "/users/@me/channels", self.tokens[who])).json()]

    async def heard(self, stream: str) -> None:
        """Wait until the listener has heard a stream's last event."""
        head = (await self.world.streams.read_head(stream)).seq
        await wait_until(lambda: head <= self.began[stream] or head in self.world.seqs_heard(stream))

    async def node(self, who: str) -> Node:
        """Return a node on which a user comes now."""
        return Node(self.replica, await session_of(self.replica, self.ids[who]))


@pytest.fixture
async def pair(world: World, groups: Replica) -> Pair:
    """Return a direct channel in which something was said, whose users' streams are heard."""
    users = {name: await groups.register(name) for name in ("ann", "bob", "eve")}
    opened = await groups.call("POST", "/users/@me/channels", users["ann"][0], {"recipient_id": users["bob"][1]})
    made = Pair(world, groups, users, int(opened.json()["id"]))
    await made.say("ann")
    await world.follow(*(f"u.{user_id}" for _, user_id in users.values()))
    for stream in (channel_stream(made.channel), user_stream(made.ids["ann"])):
        made.began[stream] = (await world.streams.read_head(stream)).seq
    return made


@pytest.mark.parametrize(("who", "status"), [("nobody", 401), ("eve", 404), ("ann", 200), ("bob", 200)])
async def test_who_may_close_it(pair: Pair, who: str, status: int) -> None:
    """Each of the two for itself; to others there is none."""
    answer = await pair.close(who)
    assert answer.status_code == status
    open_for = {name for name in ("ann", "bob") if await pair.listed(name)}
    assert open_for == {"ann", "bob"} - ({who} if status == 200 else set())
    if status == 200:
        ChannelBody.model_validate(answer.json(), extra="forbid")
        assert (answer.json()["id"], answer.json()["last_seq"]) == (str(pair.channel), 2)
        assert (await pair.close(who)).json() == answer.json(), "a repeat changes nothing"
        stream = user_stream(pair.ids[who])
        page = await pair.replica.groups.views.read_changes(stream, 0, 100)
        assert [type(event.record.body).__name__ for event in page.events].count("DirectHidden") == 1
    elif status == 404:
        assert error_of(answer) == (404, 10003)


async def test_it_is_the_same_channel_when_it_is_opened_again(pair: Pair) -> None:
    """By who closed it; who did not and opens it changes nothing for the other."""
    await pair.close("ann")
    assert (await pair.open("bob")).json()["id"] == str(pair.channel)
    assert await pair.listed("ann") == []
    assert (await pair.replica.call("GET", f"/channels/{pair.channel}", pair.tokens["ann"])).status_code == 200
    assert (await pair.open("ann")).json()["id"] == str(pair.channel)
    assert await pair.listed("ann") == [str(pair.channel)]


STORIES: dict[str, tuple[list[str], list[str]]] = {
    "closed": (["ann closes"], ["CHANNEL_DELETE"]),
    "opened": (["ann closes", "ann opens", "ann opens"], ["CHANNEL_DELETE", "CHANNEL_CREATE"]),
    "shown by the other's message": (
        ["ann closes", "bob writes", "bob writes"],
        ["CHANNEL_DELETE", "CHANNEL_CREATE", "MESSAGE_CREATE", "MESSAGE_CREATE"],
    ),
    "shown by one's own": (["ann closes", "ann writes"], ["CHANNEL_DELETE", "CHANNEL_CREATE", "MESSAGE_CREATE"]),
    "closed again": (
        ["ann closes", "bob writes", "ann closes"],
        ["CHANNEL_DELETE", "CHANNEL_CREATE", "MESSAGE_CREATE", "CHANNEL_DELETE"],
    ),
    "the other's affair": (["bob closes", "bob opens", "bob closes", "ann writes"], ["MESSAGE_CREATE"]),
}


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("is_closed", [False, True])
async def test_old_snapshot_and_events_are_the_new_snapshot(pair: Pair, name: str, is_closed: bool) -> None:
    """The snapshot law, from every place in the story on; the list by REST is READY's."""
    steps, expected = STORIES[name]
    if is_closed:
        await pair.do("ann closes")
        expected = expected[1:] if expected[0] == "CHANNEL_DELETE" else ["CHANNEL_CREATE", *expected]
    nodes = [await pair.node("ann")]
    for step in steps:
        await pair.do(step)
        nodes.append(await pair.node("ann"))
        assert [one["id"] for one in nodes[-1].talks()] == await pair.listed("ann")
    for stream in pair.began:
        await pair.heard(stream)
    for node in nodes:
        await node.hear(pair.world.heard)
        assert node.talks() == nodes[-1].talks()
    assert [t for t, _ in nodes[0].told] == expected
    for (t, d), (_, following) in itertools.pairwise(nodes[0].told):
        if t == "CHANNEL_CREATE" and "content" in following:
            assert d["last_seq"] == following["seq"] - 1


def test_sessions_of_the_release_before_have_closed_nothing() -> None:
    """A body that was cached before there was such a thing is read."""
    old = msgspec.msgpack.encode({"user": {"id": 1, "username": "a"}, "user_seq": 1, "memberships": [], "directs": []})
    assert msgspec.msgpack.decode(old, type=SessionView).hidden == {}
