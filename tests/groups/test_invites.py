"""Invites: a code lets its bearers in, as long and as often as it was made for, whoever comes at once."""

from __future__ import annotations

import asyncio

import pytest

from services.groups.core.authority import Facts
from services.groups.core.invites import CODE_LENGTH, CODE_LETTERS, MAX_INVITES, MAX_KEPT, decide_create_invite
from shared.core.group_errors import TooManyInvites
from shared.core.group_events import InviteCreated, InviteDeleted, MemberAdded
from shared.core.model import Channel, ChannelType, Group, Invite, Member, User
from shared.core.roles import all_roles
from shared.core.stream import group_stream
from tests.groups.world import Replica, World

DAY_MS = 24 * 3600 * 1000


async def invite(groups: Replica, token: str, channel: int, **fields: object) -> str:
    """Make an invite; return its code."""
    answer = await groups.call("POST", f"/channels/{channel}/invites", token, {"unique": True, **fields})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["code"])


async def test_a_code_lets_in(world: World, groups: Replica) -> None:
    """Who has it sees what it leads to, joins a private group by it, and stays a member by a second use."""
    ann, _ = await groups.register("ann")
    ben, ben_id = await groups.register("ben")
    group, channel = await groups.create_group(ann, "Room", public=False)
    await world.follow(f"g.{group}")
    code = await invite(groups, ann, channel, max_age=0)
    assert len(code) == CODE_LENGTH
    seen = (await groups.call("GET", f"/invites/{code}", ben)).json()
    assert (seen["guild"]["name"], seen["channel"]["id"]) == ("Room", str(channel))
    assert "uses" not in seen
    for _ in range(2):
        assert (await groups.call("POST", f"/invites/{code}", ben)).status_code == 200
    assert (await groups.call("GET", f"/guilds/{group}/members/{ben_id}", ann)).status_code == 200
    (kept,) = (await groups.call("GET", f"/guilds/{group}/invites", ann)).json()
    assert (kept["code"], kept["uses"], kept["expires_at"]) == (code, 1, None)
    assert (await groups.call("DELETE", f"/invites/{code}", ann)).status_code == 200
    assert (await groups.call("GET", f"/invites/{code}", ben)).json()["code"] == 10006
    assert [type(body) for body in world.bodies_heard(group_stream(group))] == [
        InviteCreated,
        MemberAdded,
        InviteDeleted,
    ]


async def test_the_last_use_is_one_persons(world: World, groups: Replica, rival: Replica) -> None:
    """Of twenty who come at once on two replicas, three get in by an invite for three."""
    ann, _ = await groups.register("ann")
    group, channel = await groups.create_group(ann, "Room")
    code = await invite(groups, ann, channel, max_uses=3)
    tokens = [(await groups.register(f"user{number}"))[0] for number in range(20)]
    replicas = (groups, rival)
    answers = await asyncio.gather(
        *(replicas[place % 2].call("POST", f"/invites/{code}", token) for place, token in enumerate(tokens))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [404] * 17
    assert len((await groups.call("GET", f"/guilds/{group}/members", ann)).json()) == 4


async def test_an_invite_ends(world: World, groups: Replica) -> None:
    """By its time, and with its channel; nobody who is banned comes in by one."""
    ann, _ = await groups.register("ann")
    ben, ben_id = await groups.register("ben")
    group, channel = await groups.create_group(ann, "Room")
    code = await invite(groups, ann, channel, max_age=60)
    await groups.call("PUT", f"/guilds/{group}/bans/{ben_id}", ann)
    assert (await groups.call("POST", f"/invites/{code}", ben)).json()["code"] == 40007
    world.now += 61_000
    assert (await groups.call("POST", f"/invites/{code}", ben)).json()["code"] == 10006
    made = await groups.call("POST", f"/guilds/{group}/channels", ann, {"name": "more"})
    other = await invite(groups, ann, int(made.json()["id"]))
    await groups.call("DELETE", f"/channels/{made.json()['id']}", ann)
    assert (await groups.call("GET", f"/invites/{other}", ben)).status_code == 404


async def test_an_invite_is_answered_again(groups: Replica) -> None:
    """Without `unique` an unused one that never ends is not made twice; with it, and after a use, it is."""
    ann, _ = await groups.register("ann")
    ben, _ = await groups.register("ben")
    _, channel = await groups.create_group(ann, "Room")
    first = await invite(groups, ann, channel, max_age=0, unique=False)
    assert await invite(groups, ann, channel, max_age=0, unique=False) == first
    assert await invite(groups, ann, channel, max_age=0) != first
    await groups.call("POST", f"/invites/{first}", ben)
    assert await invite(groups, ann, channel, max_age=0, unique=False) != first


def test_a_group_forgets_what_is_over() -> None:
    """It never keeps more than `MAX_KEPT`, however many are made, and refuses beyond its good ones."""
    owner = User(1, "ann")
    channel = Channel(3, ChannelType.TEXT, "tea", 2)
    group, member = Group(2, "Room", 1), Member(2, owner, 0)
    kept: dict[str, Invite] = {}
    refused = 0
    for number in range(5 * MAX_INVITES):
        now = number * 1000
        made = Invite(str(number), 2, 3, owner, now, max_age_s=1200 if number < 3 * MAX_INVITES else 60)
        try:
            event = decide_create_invite(
                Facts(group, all_roles(2, ()), member, now), channel, made, list(kept.values())
            )
        except TooManyInvites:
            refused += 1
            continue
        kept[made.code] = made
        for code in event.over:
            del kept[code]
        assert len(kept) < MAX_KEPT
    assert refused
    assert sum(one.is_good(now) for one in kept.values()) == 60


@pytest.mark.parametrize("code", ["0", "x" * 32, "%00", "$ne", CODE_LETTERS[:CODE_LENGTH]])
async def test_no_code_is_no_group(groups: Replica, code: str) -> None:
    """Whatever is tried is an unknown invite."""
    ann, _ = await groups.register("ann")
    answer = await groups.call("POST", f"/invites/{code}", ann)
    assert (answer.status_code, answer.json()["code"]) in ((404, 10006), (400, 50035))


async def test_an_invite_into_a_deleted_channel_lets_nobody_in(groups: Replica, rival: Replica) -> None:
    """Not before the channel is gone nor after, though the invite itself was not closed."""
    ann, _ = await groups.register("ann")
    ben, _ = await groups.register("ben")
    group, _ = await groups.create_group(ann, "Room")
    made = (await groups.call("POST", f"/guilds/{group}/channels", ann, {"name": "more"})).json()
    code = await invite(groups, ann, int(made["id"]))
    await rival.call("DELETE", f"/channels/{made['id']}", ann)
    for method in ("GET", "POST"):
        answer = await groups.call(method, f"/invites/{code}", ben)
        assert (answer.status_code, answer.json()["code"]) == (404, 10006)
    assert (await groups.call("GET", f"/guilds/{group}/invites", ann)).json() == []
