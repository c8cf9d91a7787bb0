"""What `make bench-groups` stands on: whoever it stores is to the services what they would have stored."""

from __future__ import annotations

from uuid import uuid4

import pytest

from services.groups.core.names import group_name_key
from services.groups.mongo_store import MongoGroups
from shared.core.stream import group_stream, user_stream
from shared.mongo import open_database
from shared.mongo_streams import MongoStreams
from shared.settings import MongoSettings
from tests.bench.groups import told_of
from tests.bench.seeding import make_group, make_users, new_ids, store


@pytest.mark.servers
async def test_users_in_many_groups_are_stored_whole(mongo_url: str) -> None:
    """A user has all memberships and a stream that told them; a group its members, its name if it is public."""
    ids, settings = new_ids(), MongoSettings(url=mongo_url, database=f"bench_{uuid4().hex}")
    (hopper,) = make_users(ids, "hopper", 1)
    groups = [
        make_group(ids, f"g{number}", (hopper, *make_users(ids, f"g{number}", 2)), public=not number)
        for number in range(3)
    ]
    await store(settings, groups, [hopper], ids)
    async with open_database(settings) as mongo:
        stored, streams = MongoGroups(mongo), MongoStreams(mongo)
        assert await stored.list_memberships((hopper.id,), 10) == {hopper.id: [one.group.id for one in groups]}
        assert [member.user for member in await stored.list_members(groups[1].group.id, 0, 10)] == [*groups[1].members]
        assert (await stored.tally_members([groups[1].group.id]))[groups[1].group.id].members == 3
        claim = await stored.read_claim(group_name_key("g0"))
        heads = await streams.read_heads([user_stream(hopper.id), group_stream(groups[0].group.id)])
    assert claim is not None
    assert claim.owner == groups[0].group.id
    assert {(head.seq, head.projected, head.published) for head in heads.values()} == {(4, 4, 4), (3, 3, 3)}


def test_a_row_tells_latency_rate_and_who_worked() -> None:
    """The busiest process comes first."""
    row = {"what": "joins", "p50_ms": 1.0, "p99_ms": 2.0, "per_s": 30.0, "cpu_ms_each": {"redis": 0.1, "mongo": 3.0}}
    assert told_of(row).split("  ")[-1] == "CPU ms each: mongo 3.00, redis 0.10"
