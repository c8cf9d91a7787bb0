"""The same promises on MongoDB's wire, for a few programs: races, every step of a join, rivals by Hypothesis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from services.groups.mongo_store import MongoGroups
from services.groups.store import Tally
from shared.core.stream import group_stream, user_stream
from shared.mongo import Document, Mongo, open_database
from shared.mongo_streams import MongoStreams
from shared.settings import MongoSettings
from shared.streams import StreamStore
from tests.core.change_model import Replicas
from tests.groups.fuse import Crash, Fuse
from tests.groups.world import Replica, World, open_world

pytestmark = pytest.mark.servers

STEPS_APART = 4
"""Every so many steps of a join a process dies; all of them are tried in memory."""


@pytest.fixture
async def mongo(mongo_url: str) -> AsyncIterator[Mongo]:
    """Return an empty database."""
    async with open_database(MongoSettings(url=mongo_url, database=f"groups_{uuid4().hex}")) as opened:
        yield opened


@pytest.fixture
async def world(mongo: Mongo) -> AsyncIterator[World]:
    """Return a world whose stores are MongoDB's."""
    async with open_world(MongoStreams(mongo), MongoGroups(mongo)) as opened:
        yield opened


async def test_joins_and_leaves(world: World, groups: Replica, rival: Replica) -> None:
    """Users join and leave on two replicas at once: each change is one event, and projections follow."""
    ann, _ = await groups.register("ann")
    group, _ = await groups.create_group(ann, "Room")
    users = [(await groups.register(f"user{number}"))[1] for number in range(12)]
    await world.follow(f"g.{group}", *(f"u.{user}" for user in users))

    async def come_and_go(place: int, user: int) -> None:
        here, there = (groups, rival) if place % 2 else (rival, groups)
        await here.groups.memberships.join(user, "room")
        if place % 3 == 0:
            await there.groups.memberships.leave(user, group)

    await asyncio.gather(*(come_and_go(place, user) for place, user in enumerate(users)))
    view = (await groups.groups.snapshots.read_groups((group,))).get(group)
    assert view is not None
    assert [member.user.id for member in view.members[1:]] == [user for place, user in enumerate(users) if place % 3]
    assert world.seqs_heard(group_stream(group)) == list(range(2, view.seq + 1))
    for place, user in enumerate(users):
        assert len(world.bodies_heard(user_stream(user))) == 1 + (place % 3 == 0)


async def test_one_of_everything(world: World, groups: Replica, rival: Replica) -> None:
    """Names and pairs have one owner on a real unique key too."""
    replicas = (groups, rival)
    outcomes = await asyncio.gather(
        *(replicas[number % 2].groups.accounts.register("ann", "a long password") for number in range(6)),
        return_exceptions=True,
    )
    ((_, ann),) = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
    _, bob = await groups.register("bob")
    pairs = ((ann.id, bob), (bob, ann.id)) * 3
    opened = await asyncio.gather(
        *(replicas[number % 2].groups.directs.open(*pair) for number, pair in enumerate(pairs))
    )
    assert len({channel.id for channel in opened}) == 1
    assert [view.channel for view in await rival.groups.views.list_directs(bob)] == [opened[0]]


async def test_join_that_dies(world: World, groups: Replica) -> None:
    """A join that dies half-way is finished by its repeat."""
    ann, _ = await groups.register("ann")
    _, channel = await groups.create_group(ann, "Room")
    for step in count(1, STEPS_APART):
        _, user = await groups.register(f"user{step}")
        await world.follow(f"u.{user}")
        died = False
        async with world.open_replica(fuse=Fuse(step, "after")) as dying:
            try:
                await dying.groups.memberships.join(user, "room")
            except Crash:
                died = True
        await groups.groups.memberships.join(user, "room")
        assert len(world.bodies_heard(user_stream(user))) == 1
        assert (await groups.groups.views.read_access(channel, user)).can_send
        if not died:
            break
    world.now += 1_500
    await groups.groups.changes.sweep()
    assert await world.streams.find_dirty(world.now, 10) == []


class Examined:
    """A database that says how many members its finds have looked at: all between their bounds, on the embedded one."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self.queries: list[Document] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mongo, name)

    def __getitem__(self, name: str) -> Any:
        collection = self._mongo[name]
        if name != "members":
            return collection

        def find(query: Document, *rest: Any) -> Any:
            self.queries.append(query)
            return collection.find(query, *rest)

        return SimpleNamespace(find=find)

    async def documents(self) -> int:
        """Return how many documents stand between the bounds of what was asked so far; then forget that."""
        counts = [await self._mongo["members"].count_documents(query) for query in self.queries]
        self.queries.clear()
        return sum(counts)


async def test_a_page_of_members_costs_what_it_holds(mongo: Mongo) -> None:
    """In a group of 6,000 a page looks at little more than it tells; at most, where a third came at once, at those.

    So it is on the embedded server; others stop at the page's end.
    """
    ids = [(1 << 60) + (number << 44) for number in range(4_000)]
    ids += [ids[2_000] + 1 + (number << 33) for number in range(2_000)]
    ids.sort()
    rest = {"seq": 1, "gone": False, "group_id": 9, "joined_at": 0}
    documents = [{"_id": f"9:{one}", "user": {"id": one, "username": "u"}, **rest} for one in ids]
    for begin in range(0, len(documents), 500):  # each is to be done within a deadline
        await mongo["members"].insert_many(documents[begin : begin + 500])
    examined = Examined(mongo)
    groups = MongoGroups(cast(Mongo, examined))
    await groups.put_tally(9, Tally(len(ids), ids[0], ids[-1], 1))
    for after, most in ((0, 400), (ids[500], 400), (ids[1_990], 2_400), (ids[5_000], 400), (ids[-50], 400)):
        page = await groups.list_members(9, after, 100)
        assert [one.user.id for one in page] == [one for one in ids if one > after][:100]
        assert await examined.documents() <= most
    assert (await groups.tally_members((9,)))[9].members == 6_000
    assert await examined.documents() == 0


def test_rivals(mongo_url: str) -> None:
    """The laws of changes under rivals, crashes and late writes, for a bounded number of programs."""
    with asyncio.Runner() as runner:
        database = open_database(MongoSettings(url=mongo_url, database=f"changes_{uuid4().hex}"))
        mongo = runner.run(database.__aenter__())
        streams = count(1)

        class ReplicasOnMongo(Replicas):
            def open_store(self) -> tuple[asyncio.Runner, StreamStore, str]:
                return runner, MongoStreams(mongo), f"g:{next(streams)}"

            def close_store(self) -> None:
                """Leave the database open for the next program."""

        bounded = settings(max_examples=60, stateful_step_count=40, suppress_health_check=list(HealthCheck))
        try:
            run_state_machine_as_test(ReplicasOnMongo, settings=bounded)
        finally:
            runner.run(database.__aexit__(None, None, None))
