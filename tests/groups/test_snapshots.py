"""Snapshots: bodies of many at once, from the cache while the head says the same, never more or less than their seq."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import msgspec

from services.groups.auditing import AuditLogs
from services.groups.changes import Changes
from services.groups.jobs import Jobs
from services.groups.snapshots import Snapshots
from services.groups.store import GroupStore
from shared.core.calls import SessionView
from shared.core.ids import IdSource
from shared.core.stream import Head, channel_stream
from tests.groups.world import Replica, World


class Watched:
    """A group store that counts what is read, and lets something happen once, after members were counted."""

    def __init__(self, store: GroupStore) -> None:
        self._store = store
        self.reads: Counter[str] = Counter()
        self.meanwhile: Callable[[], Awaitable[Any]] | None = None

    def __getattr__(self, name: str) -> Any:
        target = getattr(self._store, name)

        async def asked(*arguments: Any) -> Any:
            self.reads[name] += 1
            answer = await target(*arguments)
            if name == "tally_members" and self.meanwhile is not None:
                happens, self.meanwhile = self.meanwhile, None
                await happens()
            return answer

        return asked


def snapshots_of(world: World) -> tuple[Snapshots, Watched]:
    """Return snapshots of one more replica, and its store."""
    store = Watched(world.store)
    world.workers += 1
    ids = IdSource(world.workers)
    groups = cast(GroupStore, store)
    jobs = Jobs(groups, ids, world.clock)
    audit_logs = AuditLogs(world.audit, groups, world.clock)
    changes = Changes(world.streams, groups, world.bus, world.topology, jobs, audit_logs, ids, world.clock)
    return Snapshots(groups, world.streams, changes, world.cache), store


async def read_sessions(snapshots: Snapshots, user_ids: Sequence[int]) -> dict[int, SessionView]:
    """Read what these users' sessions begin with, decoded."""
    read = await snapshots.read_sessions(user_ids)
    return {one: msgspec.msgpack.decode(view, type=SessionView) for one, view in read.items()}


async def test_many_sessions_at_once(world: World, groups: Replica) -> None:
    """Each user gets their own groups and direct channels; all are found by a few questions, the next time by fewer."""
    people = [await groups.register(f"user{number}") for number in range(6)]
    for token, _ in people[:3]:
        await groups.create_group(token, f"Room {token[:9]}", public=False)
    _, common = people[0]
    await groups.create_group(people[1][0], "Common")
    await groups.groups.memberships.join(common, "common")
    direct = await groups.groups.directs.open(people[4][1], people[5][1])
    snapshots, store = snapshots_of(world)
    ids = [user_id for _, user_id in people]
    first = await read_sessions(snapshots, [*ids, 4242, ids[0]])
    assert list(first) == ids
    assert [first[one].user.username for one in ids] == [f"user{number}" for number in range(6)]
    assert [len(first[one].memberships) for one in ids] == [2, 2, 1, 0, 0, 0]
    assert [[view.channel for view in first[one].directs] for one in ids] == [[]] * 4 + [[direct]] * 2
    assert store.reads["list_memberships"] <= 2, "one for all, one for the user that there is not"
    store.reads.clear()
    assert await read_sessions(snapshots, ids) == first
    assert store.reads == {"list_directs": 1}


async def test_a_cached_body_has_fresh_heads_and_is_used_only_while_nothing_changed(
    world: World, groups: Replica
) -> None:
    """The body is the cache's, the heads of its channels are the store's; after a change it is read anew."""
    token, ann = await groups.register("ann")
    _, bob = await groups.register("bob")
    group, channel = await groups.create_group(token, "Room")
    snapshots, store = snapshots_of(world)
    before = (await snapshots.read_groups((group,)))[group]
    await world.streams.raise_heads([Head(channel_stream(channel), seq=7, last_id=70, tail=1)])
    store.reads.clear()
    cached = (await snapshots.read_groups((group,)))[group]
    assert not store.reads
    assert [(view.last_seq, view.last_message_id) for view in cached.channels] == [(7, 70)]
    assert (cached.seq, cached.members) == (before.seq, before.members)
    await groups.groups.memberships.join(bob, "room")
    after = (await snapshots.read_groups((group,)))[group]
    assert (after.seq, after.member_count, len(after.members)) == (2, 2, 2)
    assert store.reads["tally_members"] == 1
    assert {member.user.id for member in after.members} == {ann, bob}


async def test_a_body_holds_what_its_seq_says_and_no_more(world: World, groups: Replica) -> None:
    """What is changed while it is read is found out and read again, and the cache never gets it wrong (rule 8)."""
    token, _ = await groups.register("ann")
    _, bob = await groups.register("bob")
    group, _ = await groups.create_group(token, "Room")
    snapshots, store = snapshots_of(world)
    for seq in (2, 4, 6):
        store.meanwhile = lambda: groups.groups.memberships.join(bob, "room")
        joined = (await snapshots.read_groups((group,)))[group]
        assert store.meanwhile is None
        assert (joined.seq, joined.member_count) == (seq, 2)
        assert (await snapshots.read_groups((group,)))[group] == joined
        await groups.groups.memberships.leave(bob, group)
