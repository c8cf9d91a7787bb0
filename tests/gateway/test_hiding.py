"""Direct channels that their user closed: live, resumed and moved sessions come to the same, and miss no message."""

from __future__ import annotations

import pytest

from shared.core.user_events import UserBlocked
from tests.gateway.nodes import Cluster, cluster, contents, say_all
from tests.gateway.test_taking_over import cut_client
from tests.gateway.world import Client, open_client, open_node, open_world

__all__ = ["cluster"]

COMING = {"CHANNEL_CREATE": "created", "CHANNEL_DELETE": "deleted"}


def story(client: Client) -> list[str]:
    """Return what a client was told of direct channels and their messages, in order."""
    frames = [frame for frame in client.dispatches if frame["t"] in {*COMING, "MESSAGE_CREATE"}]
    return [COMING.get(frame["t"]) or frame["d"]["content"] for frame in frames]


async def directs_of(client: Client, token: str) -> list[str]:
    """Return the direct channels of a session that begins now."""
    return [one["id"] for one in (await client.identify(token))["private_channels"]]


async def test_a_message_shows_a_closed_channel_to_who_closed_it() -> None:
    """CHANNEL_DELETE, then CHANNEL_CREATE with the head and MESSAGE_CREATE; the other hears messages only."""
    async with open_world() as world, open_node(world) as node:
        ann, ben = world.register("ann"), world.register("ben")
        direct = await world.open_direct(ann, ben)
        said = await world.say(ben, direct, "before")
        async with open_client(node, world.token(ann)) as client, open_client(node, world.token(ben)) as other:
            await world.hide_direct(ann, direct)
            assert (await client.until("CHANNEL_DELETE"))["d"]["id"] == str(direct.id)
            async with open_client(node) as late:
                assert await directs_of(late, world.token(ann)) == []
                await world.say(ben, direct, "again")
                for one in (client, late):
                    created = (await one.until("CHANNEL_CREATE"))["d"]
                    assert (created["last_seq"], created["last_message_id"]) == (2, str(said.record.id))
                    assert (await one.until("MESSAGE_CREATE"))["d"]["seq"] == 3
            await world.say(ben, direct, "and on")
            await client.until_content("and on")
            assert story(client) == ["deleted", "created", "again", "and on"]
            await other.until_content("and on")
            assert story(other) == ["again", "and on"]
            async with open_client(node) as late:
                assert await directs_of(late, world.token(ann)) == [str(direct.id)]


async def test_opened_again_it_is_told_with_its_head() -> None:
    """An edit opens nothing; who opens it again has it, whether anything was ever said there or not."""
    async with open_world() as world, open_node(world) as node:
        ann, ben = world.register("ann"), world.register("ben")
        empty, direct = await world.open_direct(ann, ben), await world.open_direct(ann, world.register("cee"))
        said = await world.say(ann, direct, "before")
        async with open_client(node, world.token(ann)) as client:
            for channel, head in ((empty, 1), (direct, 3)):
                await world.hide_direct(ann, channel)
                await client.until("CHANNEL_DELETE")
                if channel is direct:
                    await world.edit(said, "otherwise")
                    await client.until("MESSAGE_UPDATE")
                await world.show_direct(ann, channel)
                created = (await client.until("CHANNEL_CREATE"))["d"]
                assert (created["id"], created["last_seq"]) == (str(channel.id), head)
            assert story(client) == ["deleted", "created"] * 2


async def test_a_message_that_came_first_leaves_it_open() -> None:
    """The closing was decided before the message, and is told after it: all come to the same."""
    async with open_world() as world, open_node(world) as node:
        ann, ben = world.register("ann"), world.register("ben")
        direct = await world.open_direct(ann, ben)
        await world.say(ben, direct, "before")
        async with open_client(node, world.token(ann)) as client:
            world.losing = 1
            await world.hide_direct(ann, direct)
            await world.say(ben, direct, "overtaking")
            await client.until_content("overtaking")
            await world.tell(ann, UserBlocked(ben))
            await client.until("RELATIONSHIP_ADD")
            assert story(client) == ["overtaking"]
            async with open_client(node) as late:
                assert await directs_of(late, world.token(ann)) == [str(direct.id)]


async def test_a_bot_is_told_of_messages_only() -> None:
    """Its library takes both for a group's."""
    async with open_world() as world, open_node(world) as node:
        ann, bot = world.register("ann"), world.register("robo", bot=True)
        direct = await world.open_direct(ann, bot)
        async with open_client(node, world.token(bot)) as client:
            await world.hide_direct(bot, direct)
            await say_all(world, ann, direct, "hello")
            await client.until_content("hello")
            assert story(client) == ["hello"]


STORIES: dict[str, tuple[list[str], list[str]]] = {
    "closed": (["hide"], ["deleted"]),
    "closed and shown by a message": (["hide", "one", "two"], ["created", "one", "two"]),
    "closed and opened": (["hide", "show", "one"], ["created", "one"]),
    "closed before": (["-", "hide", "."], []),
    "closed before, shown by a message": (["-", "hide", ".", "one", "two"], ["created", "one", "two"]),
    "closed before, opened": (["-", "hide", ".", "show", "one"], ["created", "one"]),
    "closed and shown before": (["-", "hide", "one", ".", "two"], ["two"]),
    "closed twice": (["-", "hide", "one", ".", "hide", "two"], ["created", "two"]),
}


@pytest.mark.parametrize("way", ["stays", "moves", "dies"])
@pytest.mark.parametrize("name", STORIES)
async def test_who_was_away_is_told_what_happened_meanwhile(cluster: Cluster, name: str, way: str) -> None:
    """Resumed at its node it hears all as it was; elsewhere what it comes to, with every message where it is open."""
    world = cluster.world
    ann, ben = world.register("ann"), world.register("ben")
    direct = await world.open_direct(ann, ben)
    group, channel = await world.create_group(ann)
    await world.join(ben, group)
    await world.say(ann, direct, "begin")
    steps, expected = STORIES[name]
    before, meanwhile = (steps[1 : steps.index(".")], steps[steps.index(".") + 1 :]) if "." in steps else ([], steps)

    async def take(steps: list[str]) -> None:
        for step in steps:
            match step:
                case "hide":
                    await world.hide_direct(ben, direct)
                case "show":
                    await world.show_direct(ben, direct)
                case content:
                    await world.say(ann, direct, content)

    one, two = await cluster.start("one"), await cluster.start("two")
    async with open_client(one, world.token(ann)) as witness:
        async with cut_client(one, world.token(ben)) as client:
            await take(before)
            await say_all(world, ann, channel, "all told")
            await client.until_content("all told")
            await world.tell(ben, UserBlocked(ann))
            await client.until("RELATIONSHIP_ADD")
        await cluster.checkpoint("one")
        if way == "dies":
            await cluster.kill("one")
        else:
            await one.wait_detached(1)
        await take(meanwhile)
        await say_all(world, ann, channel, "the end")
        if way != "dies":
            await witness.until_content("the end")
        async with open_client(two if way != "stays" else one) as again:
            await again.resume(client, world.token(ben))
            await say_all(world, ann, channel, "live")
            await again.until_content("live")
            told = [one for one in story(again) if one not in {"the end", "live"}]
            assert told == (expected if way == "dies" else live_story(before, meanwhile))
            assert set(contents(again)) >= {step for step in meanwhile if step not in {"hide", "show"}}


def live_story(before: list[str], meanwhile: list[str]) -> list[str]:
    """Return what a session is told of these steps as they happen."""
    told, hidden = [], before[-1:] == ["hide"]
    for step in meanwhile:
        if step not in {"hide", "show"}:
            told += ["created", step] if hidden else [step]
        else:
            told.append("deleted" if step == "hide" else "created")
        hidden = step == "hide"
    return told
