"""REQUEST_GUILD_MEMBERS: chunks from the store, in order, bounded, and no faster than the client takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.gateway.asking import WAITING, Asking
from services.gateway.connection import Connection
from services.gateway.core.frames import RequestMembers
from services.gateway.core.members import CHUNK, chunks_of, ids_of, limit_of, nonce_of
from shared.core.calls import MemberPage, ReadMembers
from shared.core.model import Group, Member, User
from shared.lifecycle import Supervisor
from tests.gateway.world import AT, World, open_client, open_node, open_world
from tests.waiting import wait_until

CHUNKS = "GUILD_MEMBERS_CHUNK"


def add_members(world: World, group: Group, count: int) -> list[int]:
    """Put many members into a group that nobody is told about; return all their ids."""
    for number in range(count):
        user = User(1 << 60 | number, f"member{number}")
        world.members[group.id][user.id] = Member(group.id, user, AT)
    return sorted(world.members[group.id])


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a world with its stand-ins at work."""
    async with open_world() as opened:
        yield opened


def has(found: Sequence[object], count: int) -> bool:
    """Return whether there are so many by now."""
    return len(found) == count


async def test_by_name_and_by_id(world: World) -> None:
    """By prefix, and by ids, which may be integers; who is not in the group is told of nobody."""
    ann, ben, group, _ = await world.create_pair()
    cleo = world.register("cleo")
    async with open_node(world) as node, open_client(node, world.token(ann)) as client:
        await client.send(8, {"guild_id": group.id, "query": "B", "limit": 0, "nonce": "x", "presences": True})
        chunk = (await client.until(CHUNKS))["d"]
        assert [member["user"]["username"] for member in chunk["members"]] == ["ben"]
        assert (chunk["nonce"], chunk["chunk_index"], chunk["chunk_count"], chunk["presences"]) == ("x", 0, 1, [])
        await client.send(8, {"guild_id": str(group.id), "user_ids": [ben.id, cleo.id]})
        chunk = (await client.until(CHUNKS))["d"]
        assert (len(chunk["members"]), chunk["not_found"]) == (1, [str(cleo.id)])
        async with open_client(node, world.token(cleo)) as stranger:
            await stranger.send(8, {"guild_id": str(group.id), "query": "", "limit": 0})
            assert (await stranger.until(CHUNKS))["d"]["members"] == []


async def test_all_members_come_in_chunks_of_a_thousand(world: World) -> None:
    """Everybody once, by id, in as many chunks as were told, each under the request's nonce; a limit is kept."""
    ann = world.register("ann")
    group, _ = await world.create_group(ann)
    ids = add_members(world, group, 2_300)
    async with open_node(world) as node, open_client(node, world.token(ann)) as client:
        await client.send(8, {"guild_id": str(group.id), "query": "", "limit": 0, "nonce": "all"})
        chunks = [(await client.until(CHUNKS))["d"] for _ in range(3)]
        assert [int(one["user"]["id"]) for chunk in chunks for one in chunk["members"]] == ids
        assert [(one["chunk_index"], one["chunk_count"], one["nonce"]) for one in chunks] == [
            (index, 3, "all") for index in range(3)
        ]
        await client.send(8, {"guild_id": str(group.id), "query": "", "limit": 1_200})
        chunks = [(await client.until(CHUNKS))["d"] for _ in range(2)]
        assert [len(chunk["members"]) for chunk in chunks] == [1_000, 200]


async def test_groups_away_is_told_and_the_next_request_is_answered(world: World) -> None:
    """What can't be read is told as RATE_LIMITED with its nonce; what waits behind it is answered."""
    ann = world.register("ann")
    group, _ = await world.create_group(ann)
    world.failing[ReadMembers] = 1
    async with open_node(world) as node, open_client(node, world.token(ann)) as client:
        for nonce in ("first", "second"):
            await client.send(8, {"guild_id": str(group.id), "query": "", "limit": 0, "nonce": nonce})
        refusal = (await client.until("RATE_LIMITED"))["d"]
        assert (refusal["opcode"], refusal["meta"]) == (8, {"guild_id": str(group.id), "nonce": "first"})
        assert refusal["retry_after"] > 0
        assert (await client.until(CHUNKS))["d"]["nonce"] == "second"


class SlowClient:
    """A connection whose peer takes nothing until it is let."""

    def __init__(self) -> None:
        self.user_id = 1
        self.is_open = True
        self.live = None
        self.may_take = asyncio.Semaphore(0)
        self.told: list[tuple[str, Any]] = []

    async def taken(self) -> None:
        await self.may_take.acquire()

    def tell(self, link: object, t: str, d: Any) -> None:
        assert link is self
        self.told.append((t, d))


async def test_a_slow_client_costs_one_chunk_and_a_short_line() -> None:
    """Nothing is read ahead of what it takes, whatever it asks for; above a hundred requests it is told to wait.

    Once it is gone no more than what is under way is read.
    """
    reads: list[ReadMembers] = []

    async def call(asked: ReadMembers) -> MemberPage:
        reads.append(asked)
        last = asked.after + asked.limit
        members = tuple(Member(9, User(one, "one"), AT) for one in range(asked.after + 1, last + 1))
        return MemberPage(members, last if last < 100_000 else 0)

    client = SlowClient()
    group = SimpleNamespace(group=Group(9, "big", 1), member_count=100_000, users={1}, roles={})
    hub = SimpleNamespace(roster=SimpleNamespace(groups={9: group}))
    async with Supervisor("test") as supervisor:
        rpc, fanout = SimpleNamespace(call=call), SimpleNamespace(tell=client.tell)
        asking = Asking(cast(Any, hub), cast(Any, fanout), cast(Any, rpc), supervisor)
        for number in range(WAITING + 3):
            asking.ask(cast(Connection, client), 9, RequestMembers("9", "", 0, nonce=str(number)))
        assert [(t, d["meta"]["nonce"]) for t, d in client.told] == [
            ("RATE_LIMITED", str(number)) for number in range(WAITING, WAITING + 3)
        ]
        client.told.clear()
        for taken in (1, 2, 3):
            assert len(reads) == taken - 1
            client.may_take.release()
            await wait_until(partial(has, client.told, taken))
            await asyncio.sleep(0.01)
        assert [(d["chunk_index"], d["chunk_count"], len(d["members"])) for _, d in client.told] == [
            (index, 100, CHUNK) for index in range(3)
        ]
        client.is_open = False
        client.may_take.release()
        await wait_until(lambda: not asking.busy)
    assert len(reads) == 4


@pytest.mark.parametrize(
    ("member_count", "limit", "chunks"),
    [(0, 0, 1), (1, 0, 1), (1000, 0, 1), (1001, 0, 2), (100_000, 0, 100), (100_000, 50, 1), (10, 5_000, 1)],
)
def test_chunks(member_count: int, limit: int, chunks: int) -> None:
    """As many as hold all that may be told, at least one."""
    assert chunks_of(member_count, limit) == chunks


@pytest.mark.parametrize(
    ("request_", "ids", "limit"),
    [
        (RequestMembers("9", "", 0), None, 0),
        (RequestMembers("9", "", 7), None, 7),
        (RequestMembers("9", "a", 0), None, 100),
        (RequestMembers("9", "a", 1_000), None, 100),
        (RequestMembers("9", None, -4), None, 0),
        (RequestMembers("9", user_ids="5"), (5,), 0),
        (RequestMembers("9", user_ids=["5", 6, "x", None, 5]), (5, 6), 0),
        (RequestMembers("9", user_ids=[*range(1, 300)]), tuple(range(1, 101)), 0),
    ],
)
def test_what_is_asked_for(request_: RequestMembers, ids: tuple[int, ...] | None, limit: int) -> None:
    """At most a hundred by id or name; what is no id is left out."""
    assert (ids_of(request_), limit_of(request_)) == (ids, limit)


@pytest.mark.parametrize(("nonce", "told"), [("n", {"nonce": "n"}), ("n" * 33, {}), (7, {}), (None, {})])
def test_a_nonce_is_a_short_text(nonce: Any, told: dict[str, str]) -> None:
    """Anything else is not repeated to the client, as at Discord."""
    assert nonce_of(RequestMembers("9", "", nonce=nonce)) == told
