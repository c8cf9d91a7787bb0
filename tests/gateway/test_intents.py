"""Intents and shards: who hears what, live, in the first snapshot, and after a move to another node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.core.intents import (
    ALL_INTENTS,
    DIRECT,
    IN_GROUPS,
    WHOLE,
    Audience,
    Intent,
    Scope,
    decode_scope,
    heard,
    is_shard,
    scope_of,
    split,
)
from tests.gateway.nodes import Cluster, cluster, contents
from tests.gateway.world import Client, open_client

__all__ = ["cluster"]

GROUP = 5 << 22
READER = 7
OTHERS: dict[str, Any] = {"author": {"id": "1"}, "mentions": [], "content": "hush", "embeds": [{}], "attachments": [{}]}
DIRECTLY = ("MESSAGE_CREATE", "CHANNEL_CREATE", "CHANNEL_RECIPIENT_ADD", "CHANNEL_RECIPIENT_REMOVE", "CHANNEL_DELETE")
HELD_BACK = {"content": "", "embeds": [], "attachments": [], "components": []}


@dataclass(frozen=True, eq=False)
class Ear:
    """A session, as far as it matters here."""

    user_id: int
    scope: Scope = WHOLE


@pytest.mark.parametrize("t", IN_GROUPS)
def test_each_kind_needs_its_intent(t: str) -> None:
    """A dispatch of a group is heard by who has its intent alone, and by nobody who has all others."""
    d = {"id": str(GROUP), "guild_id": str(GROUP), "user": {"id": "1"}, **OTHERS}
    needed = int(IN_GROUPS[t])
    assert heard(Scope(needed | Intent.MESSAGE_CONTENT | Intent.GUILD_PRESENCES), READER, t, d) == d
    assert heard(Scope(ALL_INTENTS & ~needed), READER, t, d) is None
    directly = {name: value for name, value in d.items() if name != "guild_id"}
    if t in DIRECT:
        assert heard(Scope(int(DIRECT[t])), READER, t, directly) == directly
        assert heard(Scope(ALL_INTENTS & ~int(DIRECT[t])), READER, t, directly) is None


@pytest.mark.parametrize("t", ["USER_UPDATE", "RELATIONSHIP_ADD", "READY", "RESUMED"])
def test_what_is_for_the_user_needs_none(t: str) -> None:
    """It is heard without any intent, and in every shard."""
    assert heard(Scope(0, 3, 4), READER, t, {"id": "1"}) == {"id": "1"}


@pytest.mark.parametrize("t", ["MESSAGE_CREATE", "MESSAGE_UPDATE"])
@pytest.mark.parametrize(
    ("more", "is_told"),
    [
        ({"guild_id": str(GROUP)}, False),
        ({"guild_id": str(GROUP), "author": {"id": str(READER)}}, True),
        ({"guild_id": str(GROUP), "mentions": [{"id": "3"}, {"id": str(READER)}]}, True),
        ({}, True),
    ],
    ids=["another's", "own", "mentioned", "direct"],
)
def test_what_a_message_says(t: str, more: dict[str, Any], is_told: bool) -> None:
    """Without its intent only own messages, direct ones and those that mention the user say something."""
    scope = Scope(Intent.GUILD_MESSAGES | Intent.DIRECT_MESSAGES)
    d = OTHERS | {"id": "9", "referenced_message": {"id": "8", **OTHERS}} | more
    told = heard(scope, READER, t, d)
    bare = d | HELD_BACK | {"referenced_message": {"id": "8", **OTHERS, **HELD_BACK}}
    assert told == (d if is_told else bare)
    assert d["content"] == "hush", "others are told it"


def test_an_own_membership_is_told_without_the_intent() -> None:
    """Clients know what they may do by it."""
    d = {"guild_id": str(GROUP), "user": {"id": str(READER)}}
    assert heard(Scope(0), READER, "GUILD_MEMBER_UPDATE", d) == d
    assert heard(Scope(0), 8, "GUILD_MEMBER_UPDATE", d) is None
    assert heard(Scope(0), READER, "GUILD_MEMBER_ADD", d) is None


@given(group_id=st.integers(1, 1 << 62), shards=st.integers(1, 50))
def test_a_group_is_of_one_shard(group_id: int, shards: int) -> None:
    """By Discord's formula; direct channels are of the first."""
    takers = [shard for shard in range(shards) if Scope(ALL_INTENTS, shard, shards).takes_group(group_id)]
    assert takers == [(group_id >> 22) % shards]
    message = OTHERS | {"guild_id": str(group_id)}
    hearers = [n for n in range(shards) if heard(Scope(ALL_INTENTS, n, shards), READER, "MESSAGE_CREATE", message)]
    assert hearers == takers
    for t in DIRECTLY:
        assert [n for n in range(shards) if heard(Scope(ALL_INTENTS, n, shards), READER, t, OTHERS)] == [0]


_scopes = st.builds(Scope, st.sampled_from([0, ALL_INTENTS, 1 << 9, 3 << 8, 1 << 15 | 1 << 9]), st.just(0), st.just(1))


@given(
    ears=st.lists(st.builds(Ear, st.integers(1, 4), st.one_of(st.just(WHOLE), _scopes)), max_size=12),
    t=st.sampled_from(["MESSAGE_CREATE", "GUILD_MEMBER_UPDATE", "TYPING_START", "USER_UPDATE"]),
    mentioned=st.integers(1, 4),
)
def test_many_are_told_what_each_alone_is(ears: list[Ear], t: str, mentioned: int) -> None:
    """Splitting an audience, once and again, tells each session what it asked for, in two payloads at most."""
    d = OTHERS | {"guild_id": str(GROUP), "mentions": [{"id": str(mentioned)}], "user": {"id": "2"}}
    for sessions in (tuple(ears), Audience(ears)):
        for _ in range(2):
            parts = list(split(t, d, sessions))
            assert len(parts) <= 2
            told = {one: payload for payload, hearers in parts for one in hearers}
            assert sum(len(hearers) for _, hearers in parts) == len(told)
            assert {one: told.get(one) for one in ears} == {one: heard(one.scope, one.user_id, t, d) for one in ears}


def test_equals_share_their_bytes() -> None:
    """Where all hear all it is the very audience; of equal intents all are told by one payload, and one tuple."""
    whole = Audience(Ear(one) for one in range(5))
    assert [hearers for _, hearers in split("MESSAGE_CREATE", OTHERS | {"guild_id": "1"}, whole)] == [whole]
    assert next(split("MESSAGE_CREATE", OTHERS | {"guild_id": "1"}, whole))[1] is whole
    mixed = Audience([*whole, *(Ear(9, Scope(Intent.GUILD_MESSAGES)) for _ in range(3))])
    first, second = (list(split("MESSAGE_CREATE", OTHERS | {"guild_id": "1"}, mixed)) for _ in range(2))
    assert [len(hearers) for _, hearers in first] == [5, 3]
    assert first[0][1] is second[0][1]


@given(st.one_of(st.none(), st.integers(-5, 1 << 70)), st.integers(0, 20_000), st.integers(0, 20_000))
def test_a_scope_travels(intents: int | None, shard: int, shards: int) -> None:
    """What is kept of it for other nodes is read as the same; of all that there is nothing is kept."""
    if not is_shard(shard, shards):
        return
    scope = scope_of(intents, (shard, shards))
    assert decode_scope(scope.encoded()) == scope
    assert (scope.encoded() == b"") == (scope is WHOLE)
    assert decode_scope(b"\xff") is None


async def test_sessions_hear_what_they_asked_for(cluster: Cluster) -> None:
    """Of two sessions of one bot each gets what its intents say, live, and when it goes on at another node."""
    world = cluster.world
    ann, bot = world.register("ann"), world.register("robot", bot=True)
    group, channel = await world.create_group(ann)
    await world.join(bot, group)
    one, two = await cluster.start("one"), await cluster.start("two")
    narrow = int(Intent.GUILDS | Intent.GUILD_MESSAGES)
    async with open_client(one) as seeing, open_client(one) as blind:
        await seeing.identify(world.token(bot))
        await blind.identify(world.token(bot), intents=narrow)
        await world.say(ann, channel, "hidden")
        await world.join(world.register("eve"), group)
        await world.say(ann, channel, "last")
        await seeing.until_content("last")
        assert (await blind.until("MESSAGE_CREATE"))["d"]["content"] == ""
        assert (await blind.until("MESSAGE_CREATE"))["d"]["content"] == ""
        assert seeing.got("GUILD_MEMBER_ADD")
        assert not blind.got("GUILD_MEMBER_ADD")
        assert [d["id"] for d in blind.got("GUILD_CREATE")] == [str(group.id)]
        blind.socket.transport.abort()
    await one.wait_detached(1)
    await cluster.known("one")
    await world.say(ann, channel, "missed")
    await cluster.kill("one")
    await world.join(world.register("dan"), group)
    async with open_client(two) as again:
        await again.resume(blind, world.token(bot))
        assert contents(again) == [""]
        assert not again.got("GUILD_MEMBER_ADD")
        await world.say(ann, channel, "live")
        assert (await again.until("MESSAGE_CREATE"))["d"]["content"] == ""


async def test_each_shard_has_its_groups(cluster: Cluster) -> None:
    """READY, GUILD_CREATE and messages come to the shard of the group; direct ones to the first. READY tells it."""
    world = cluster.world
    ann, bot = world.register("ann"), world.register("robot", bot=True)
    places = [await world.create_group(ann, f"room {number}") for number in range(3)]
    while len({(group.id >> 22) % 2 for group, _ in places}) == 1:
        places.append(await world.create_group(ann, f"room {len(places)}"))
    for group, _ in places:
        await world.join(bot, group)
    direct = await world.open_direct(ann, bot)
    node = await cluster.start("one")
    shards = 2
    clients: list[Client] = []
    async with open_client(node) as first, open_client(node) as second:
        for number, client in enumerate((first, second)):
            ready = await client.identify(world.token(bot), shard=[number, shards])
            own = [str(group.id) for group, _ in places if (group.id >> 22) % shards == number]
            assert ready["shard"] == [number, shards]
            assert sorted(one["id"] for one in ready["guilds"]) == sorted(own)
            assert len(ready["private_channels"]) == (not number)
            clients.append(client)
        for group, channel in places:
            await world.say(ann, channel, f"in {group.id}")
        await world.say(ann, direct, "directly")
        await world.rename(bot, "robbie")  # the last that both hear
        for number, client in enumerate(clients):
            await client.until("USER_UPDATE")
            expected = [f"in {group.id}" for group, _ in places if (group.id >> 22) % shards == number]
            assert sorted(contents(client)) == sorted([*expected, *([] if number else ["directly"])])
