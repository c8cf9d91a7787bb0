"""Many callers, two replicas, one store: the outcome is as if they had come one after the other."""

from __future__ import annotations

import asyncio
from collections import Counter

from services.groups.auditing import AuditLogs
from services.groups.changes import Changes
from services.groups.jobs import Jobs
from shared.core.calls import GroupView
from shared.core.change import Actor
from shared.core.errors import InvalidForm, MissingPermissions, Unavailable
from shared.core.events import AnyBody
from shared.core.group_events import ChannelCreated, MemberAdded, MemberRemoved
from shared.core.ids import IdSource
from shared.core.model import ChannelType
from shared.core.stream import Record, group_stream, user_stream
from tests.groups.world import PASSWORD, FaultyStreams, Replica, World

CALLERS = 50


async def records_of(world: World, stream: str) -> list[Record]:
    """Return a whole stream."""
    found: list[Record] = []
    while (bucket := await world.streams.find_bucket_of_seq(stream, len(found) + 1)) is not None:
        found += bucket.records()
    return found


def after(view: GroupView, records: list[Record]) -> tuple[int, set[int], set[int]]:
    """Return (seq, members, channels) of a snapshot after these events above it."""
    members = {member.user.id for member in view.members}
    channels = {channel.channel.id for channel in view.channels}
    assert len(members) == view.member_count
    for record in records:
        match record.body:
            case MemberAdded(member):
                assert member.user.id not in members, "the snapshot held more than its seq says"
                members.add(member.user.id)
            case MemberRemoved(user):
                members.remove(user.id)
            case ChannelCreated(channel):
                channels.add(channel.id)
    return view.seq + len(records), members, channels


async def test_joins_and_leaves(world: World, groups: Replica, rival: Replica) -> None:
    """50 users join and leave on two replicas at once: each change is one event, told to its user in order."""
    ann, _ = await groups.register("ann")
    group, _ = await groups.create_group(ann, "Room")
    users = [(await groups.register(f"user{number}"))[1] for number in range(CALLERS)]
    await world.follow(f"g.{group}", *(f"u.{user}" for user in users))

    async def come_and_go(place: int, user: int) -> None:
        here, there = (groups, rival) if place % 2 else (rival, groups)
        await here.groups.memberships.join(user, "room")
        if place % 3 == 0:
            await there.groups.memberships.leave(user, group)
        if place % 6 == 0:
            await here.groups.memberships.join(user, "room")

    await asyncio.gather(*(come_and_go(place, user) for place, user in enumerate(users)))
    expected = {user for place, user in enumerate(users) if place % 3 or place % 6 == 0}
    view = (await groups.groups.snapshots.read_groups((group,))).get(group)
    assert view is not None
    assert {member.user.id for member in view.members[1:]} == expected
    seqs = world.seqs_heard(group_stream(group))
    assert seqs == list(range(2, view.seq + 1))
    assert len(seqs) == sum(1 + (place % 3 == 0) + (place % 6 == 0) for place in range(CALLERS))
    for place, user in enumerate(users):
        assert len(world.bodies_heard(user_stream(user))) == 1 + (place % 3 == 0) + (place % 6 == 0)
        assert bool((await rival.read_session(user)).memberships) == (user in expected)


async def test_the_same_join_many_times(world: World, groups: Replica, rival: Replica) -> None:
    """One user who joins from many devices at once is added once, and every call is answered."""
    ann, _ = await groups.register("ann")
    _, bob = await groups.register("bob")
    group, _ = await groups.create_group(ann, "Room")
    joins = [(groups, rival)[number % 2].groups.memberships.join(bob, "room") for number in range(20)]
    assert {joined.id for joined in await asyncio.gather(*joins)} == {group}
    assert len(await records_of(world, group_stream(group))) == 2


async def test_unanswered_commits(world: World, groups: Replica, rival: Replica) -> None:
    """Where the store keeps its answers back, a change is found stored and not made twice."""
    ann, ann_id = await groups.register("ann")
    group, _ = await groups.create_group(ann, "Room")
    assert isinstance(world.streams, FaultyStreams)
    world.streams.unanswered_commits = 3
    names = [f"channel {number}" for number in range(10)]
    replicas = (groups, rival)
    await asyncio.gather(
        *(
            replicas[place % 2].groups.channels.create(Actor(ann_id), group, ChannelType.TEXT, {"name": name})
            for place, name in enumerate(names)
        )
    )
    listed = [view.channel for view in await groups.groups.views.list_channels(group, ann_id)]
    assert sorted(channel.name for channel in listed) == sorted([*names, "general"])
    assert [channel.position for channel in listed] == list(range(11))


async def test_one_username_many_registrations(groups: Replica, rival: Replica) -> None:
    """Of many who register one name at once exactly one gets it; the others are told that it is taken."""
    outcomes = await asyncio.gather(
        *((groups, rival)[number % 2].groups.accounts.register("Ann", PASSWORD) for number in range(10)),
        return_exceptions=True,
    )
    kinds = Counter(type(outcome) for outcome in outcomes)
    assert kinds == {tuple: 1, InvalidForm: 9}
    (owner,) = [outcome[1] for outcome in outcomes if isinstance(outcome, tuple)]
    assert (await rival.groups.accounts.login("ann", PASSWORD))[1] == owner


async def test_one_pair_many_openings(world: World, groups: Replica, rival: Replica) -> None:
    """Two users who write to each other for the first time at once have one direct channel."""
    _, ann = await groups.register("ann")
    _, bob = await groups.register("bob")
    opened = await asyncio.gather(
        *(
            (groups, rival)[number % 2].groups.directs.open(*((ann, bob) if number % 4 < 2 else (bob, ann)))
            for number in range(12)
        )
    )
    assert len({channel.id for channel in opened}) == 1
    assert len(await records_of(world, f"c:{opened[0].id}")) == 1


async def test_one_public_name_many_groups(groups: Replica, rival: Replica) -> None:
    """Of many public groups of one name, made at once, there is one."""
    users = [(await groups.register(f"user{number}"))[1] for number in range(6)]
    outcomes = await asyncio.gather(
        *((groups, rival)[user % 2].groups.memberships.create_group(user, "Room", public=True) for user in users),
        return_exceptions=True,
    )
    assert Counter(type(outcome) for outcome in outcomes) == {tuple: 1, InvalidForm: 5}


async def test_snapshots_and_events_agree(world: World, groups: Replica, rival: Replica) -> None:
    """The snapshot law: any snapshot, taken amid changes, and the events above its seq make the last snapshot."""
    ann, ann_id = await groups.register("ann")
    group, _ = await groups.create_group(ann, "Room")
    users = [(await groups.register(f"user{number}"))[1] for number in range(16)]
    views: list[GroupView] = []

    async def look() -> None:
        view = (await rival.groups.snapshots.read_groups((group,))).get(group)
        assert view is not None
        views.append(view)

    async def change_things(place: int, user: int) -> None:
        here, there = (groups, rival) if place % 2 else (rival, groups)
        await here.groups.memberships.join(user, "room")
        await look()
        if place % 2:
            await there.groups.memberships.leave(user, group)
        if place % 4 == 0:
            await here.groups.channels.create(Actor(ann_id), group, ChannelType.TEXT, {"name": f"channel {place}"})

    await asyncio.gather(*(change_things(place, user) for place, user in enumerate(users)))
    await look()
    records = await records_of(world, group_stream(group))
    expected = after(views[-1], [])
    assert expected[0] == len(records)
    for view in views:
        assert after(view, records[view.seq :]) == expected


async def test_too_many_at_once_are_refused(world: World, groups: Replica) -> None:
    """Over its bound a replica refuses changes as retryable at once, and works on when there is room again."""
    _, ann = await groups.register("ann")
    store, ids = world.store, IdSource(9)
    jobs, logs = Jobs(store, ids, world.clock), AuditLogs(world.audit, store, world.clock)
    parts = (world.streams, store, world.bus, world.topology, jobs, logs, ids, world.clock)
    changes = Changes(*parts, max_waiting=20)

    async def refuse(_: int) -> AnyBody | None:
        raise MissingPermissions

    asked = [changes.change(user_stream(ann), refuse) for _ in range(25)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert Counter(type(outcome) for outcome in outcomes) == {MissingPermissions: 20, Unavailable: 5}
    assert changes.in_hand == 0
    assert await changes.settle(user_stream(ann)) == 1
