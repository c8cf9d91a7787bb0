"""What the system tells of joins, and the group that every new account is in."""

from __future__ import annotations

from typing import Any

import pytest

from services.groups.core.decisions import MAX_GROUPS
from services.groups.jobs import OFFICIAL, UNSURE_MS
from services.groups.notices import MAX_WAITING
from services.groups.store import Membership
from shared.core.errors import StarlingError
from shared.core.message_events import MessageCreated
from shared.core.model import Member, User
from shared.core.sending import JOIN_NOTICE
from shared.core.stream import channel_stream
from tests.groups.fuse import Crash, Fuse
from tests.groups.test_crashes import MOST_STEPS
from tests.groups.world import PASSWORD, Replica, World, open_world
from tests.waiting import wait_until


def notices(world: World, channel: int) -> list[tuple[int, str, int]]:
    """Return what a channel was told: kind, content and author of each message."""
    bodies = world.bodies_heard(channel_stream(channel))
    return [(body.kind, body.content, body.author.id) for body in bodies if isinstance(body, MessageCreated)]


async def test_a_channel_is_told_who_joins(world: World, groups: Replica, rival: Replica) -> None:
    """By name, by invite, or let in: once each, in the joiner's name; not where the group does not want it."""
    ann, _ = await groups.register("ann")
    people = [await groups.register(f"user{number}") for number in range(5)]
    group, channel = await groups.create_group(ann, "Room")
    await world.follow(f"g.{group}")
    code = (await groups.call("POST", f"/channels/{channel}/invites", ann)).json()["code"]
    await groups.call("POST", "/guilds/join", people[0][0], {"name": "Room"})
    await groups.call("PATCH", f"/guilds/{group}", ann, {"system_channel_id": str(channel)})
    await rival.call("POST", "/guilds/join", people[1][0], {"name": "Room"})
    await wait_until(lambda: len(notices(world, channel)) == 1)
    await rival.call("POST", "/guilds/join", people[1][0], {"name": "Room"})
    await groups.call("POST", f"/invites/{code}", people[2][0])
    await wait_until(lambda: len(notices(world, channel)) == 2)
    await groups.call("PUT", f"/guilds/{group}/members/{people[3][1]}", ann, {})
    await wait_until(lambda: len(notices(world, channel)) == 3)
    await groups.call("PATCH", f"/guilds/{group}", ann, {"system_channel_flags": 1})
    await groups.call("POST", "/guilds/join", people[4][0], {"name": "Room"})
    await wait_until(lambda: not groups.groups.notices.waiting)
    assert notices(world, channel) == [(JOIN_NOTICE, "", people[place][1]) for place in (1, 2, 3)]


async def test_a_join_is_told_once_whoever_finishes_it(world: World, groups: Replica, rival: Replica) -> None:
    """Two replicas that finish the same join send the same command, which is stored once."""
    ann, _ = await groups.register("ann")
    _, bob = await groups.register("bob")
    group, channel = await groups.create_group(ann, "Room")
    await world.follow(f"g.{group}")
    await groups.call("PATCH", f"/guilds/{group}", ann, {"system_channel_id": str(channel)})
    member = Member(group, User(bob, "bob"), world.now)
    for replica in (groups, rival, groups):
        replica.groups.notices.joined(member, 7)
    rival.groups.notices.joined(member, 8)
    await wait_until(lambda: len(notices(world, channel)) == 2)
    head = await world.streams.read_head(channel_stream(channel))
    assert head.seq == 2


async def test_joins_wait_for_nobody(world: World, groups: Replica) -> None:
    """Beyond its bound what is to be told is dropped, and counted."""
    member = Member(9, User(3, "bob"), world.now)
    for number in range(MAX_WAITING + 5):
        groups.groups.notices.joined(member, number)
    told = groups.groups.statistics()
    assert told["notices_waiting"] <= MAX_WAITING
    assert told["notices_dropped"] >= 5
    await wait_until(lambda: not groups.groups.notices.waiting)


async def test_every_new_account_joins_the_official_group(world: World, groups: Replica) -> None:
    """People, not bots; public or not; and who left it is not put into it again."""
    ann, _ = await groups.register("ann")
    group, _ = await groups.create_group(ann, "Plaza", public=False)
    async with world.open_replica(official_group=group) as official:
        bob, bob_id = await official.register("bob")
        made = (await official.call("POST", "/applications", bob, {"name": "robot"})).json()
        await official.groups.jobs.sweep()
        assert (await official.call("GET", f"/guilds/{group}", bob)).status_code == 200
        members = await world.store.list_members(group, 0, 10)
        assert {int(made["bot"]["id"])}.isdisjoint(member.user.id for member in members)
        assert len(members) == 2
        await official.call("DELETE", f"/users/@me/guilds/{group}", bob)
        await official.groups.jobs.sweep()
        assert (await official.read_session(bob_id)).memberships == ()


@pytest.mark.parametrize("group", [4242, 0])
async def test_without_an_official_group_accounts_are_made_all_the_same(world: World, group: int) -> None:
    """An id of no group is told in the log; who registers is in no group, and no work is left over."""
    async with world.open_replica(official_group=group) as replica:
        await replica.groups.memberships.look_for_official()
        bob, _ = await replica.register("bob")
        await replica.groups.jobs.sweep()
        assert (await replica.call("GET", "/users/@me/guilds", bob)).json() == []
        assert await world.store.find_jobs(1 << 60, 10) == []


async def test_who_is_in_too_many_groups_is_not_asked_again(world: World, groups: Replica) -> None:
    """A person who has filled the list before the official group was its turn: the work is over, not put off."""
    ann, _ = await groups.register("ann")
    group, _ = await groups.create_group(ann, "Plaza")
    _, bob_id = await groups.register("bob")
    for number in range(1, MAX_GROUPS + 1):
        await world.store.put_membership(Membership(bob_id, number, 1, present=True), 1)
    async with world.open_replica(official_group=group) as official:
        await official.groups.jobs.ask(OFFICIAL, bob_id)
        assert await official.groups.jobs.sweep() == 1
    assert await world.store.find_jobs(1 << 60, 10) == []


async def test_a_registration_that_dies_joins_the_official_group() -> None:
    """At whatever step the process dies: who has an account is in the group in the end, once."""
    for step in range(1, MOST_STEPS):
        async with open_world() as world, world.open_replica() as healthy:
            ann, _ = await healthy.register("ann")
            group, _ = await healthy.create_group(ann, "Plaza", public=False)
            died = False
            async with world.open_replica(fuse=Fuse(step, "after"), official_group=group) as dying:
                try:
                    await dying.groups.accounts.register("bob", PASSWORD)
                except (Crash, StarlingError):
                    died = True
            async with world.open_replica(official_group=group) as other:
                world.now += UNSURE_MS
                await other.groups.changes.sweep()
                await other.groups.jobs.sweep()
                claim: Any = await world.store.read_claim("u:bob")
                has_account = claim is not None and (await world.store.read_users((claim.owner,)))
                members = await world.store.list_members(group, 0, 10)
                assert len(members) == 1 + bool(has_account)
        if not died:
            return
    pytest.fail("a registration takes more steps than expected")


async def test_a_join_costs_the_same_in_a_large_group(world: World, groups: Replica) -> None:
    """Joining reads and writes the same few things among 3,000 members as among one."""
    ann, _ = await groups.register("ann")
    people = [await groups.register(f"user{number}") for number in range(2)]
    group, _ = await groups.create_group(ann, "Plaza")
    costs = []
    for token, _ in people:
        fuse = Fuse(10_000, "before")
        async with world.open_replica(fuse=fuse) as counting:
            assert (await counting.call("POST", "/guilds/join", token, {"name": "Plaza"})).status_code == 200
            costs.append(10_000 - fuse.left)
        for number in range(1, 3_001):
            await world.store.put_member(Member(group, User(number, f"user{number}"), world.now), 1)
    assert costs[0] == costs[1]
