"""What users may do, by the levels of its cache: this process, all processes, the store. Never older than the head."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from services.groups.store import GroupStore
from services.groups.views import Views
from shared.core.calls import Access
from shared.core.permissions import Permission
from shared.kept_access import KeptAccess
from tests.groups.world import Replica, World


class Counting:
    """Whatever it stands before, with its reads counted."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self.reads: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def asked(*arguments: Any, **named: Any) -> Any:
            self.reads[name] += 1
            return await getattr(self._target, name)(*arguments, **named)

        return asked


class Process:
    """The reading side of one more process, which hears of changes only if told."""

    def __init__(self, world: World) -> None:
        self.store, self.streams, self.cache = Counting(world.store), Counting(world.streams), Counting(world.cache)
        self.kept = KeptAccess(cast(Any, self.streams), 1 << 20)
        store = cast(GroupStore, self.store)
        self.views = Views(store, cast(Any, self.streams), cast(Any, self.cache), self.kept, world.clock)

    async def read(self, channel_id: int, user_id: int) -> tuple[Access, str]:
        """Return what a user may do, and which level has answered."""
        for counted in (self.store, self.streams, self.cache):
            counted.reads.clear()
        access = await self.views.read_access(channel_id, user_id)
        if self.store.reads:
            return access, "store"
        return access, "shared" if self.cache.reads else "process"

    @property
    def figures(self) -> dict[str, float]:
        """What came of the process's own level."""
        prefix = "cached_access_process_"
        return {key.removeprefix(prefix): value for key, value in self.kept.statistics().items() if prefix in key}


async def test_each_level_answers_for_the_one_behind_it(world: World, groups: Replica) -> None:
    """The store is asked once for all processes, the shared cache once for each; then a look at the head is enough."""
    ann, ann_id = await groups.register("ann")
    _, channel = await groups.create_group(ann, "Room")
    one, two = Process(world), Process(world)
    first, level = await one.read(channel, ann_id)
    assert level == "store"
    assert await two.read(channel, ann_id) == (first, "shared")
    for process in (one, two):
        assert await process.read(channel, ann_id) == (first, "process")
        assert process.streams.reads == {"read_head": 1}


async def test_a_change_is_known_at_once_told_or_not(world: World, groups: Replica) -> None:
    """Who was told nothing sees it by the head; who is told, and who has written it, have the memory back before."""
    ann, _ = await groups.register("ann")
    _, bob = await groups.register("bob")
    group, channel = await groups.create_group(ann, "Room")
    await groups.groups.memberships.join(bob, "room")
    deaf, told = Process(world), Process(world)
    for process in (deaf, told):
        assert (await process.read(channel, bob))[0].can_view
    assert (await groups.groups.views.read_access(channel, bob)).can_view
    await groups.groups.memberships.leave(bob, group)
    written = groups.groups.views.statistics()
    assert (written["cached_access_process_dropped_by_write"], written["cached_access_process_entries"]) == (1, 0)
    told.kept.drop_told(group, 3)
    assert (told.figures["dropped_as_told"], told.figures["entries"]) == (1, 0)
    assert deaf.figures["entries"] == 1
    for process in (deaf, told):
        assert not (await process.read(channel, bob))[0].can_view
    assert not (await groups.groups.views.read_access(channel, bob)).can_view
    assert (deaf.figures["outdated"], told.figures["outdated"]) == (1, 0)


async def test_that_somebody_may_nothing_is_kept_and_ends_with_a_change(world: World, groups: Replica) -> None:
    """Strangers who ask again cost a look at the head; when they have joined, that is what they hear."""
    ann, _ = await groups.register("ann")
    _, bob = await groups.register("bob")
    _, channel = await groups.create_group(ann, "Room")
    one, two = Process(world), Process(world)
    nothing, level = await one.read(channel, bob)
    assert (nothing.permissions, level) == (0, "store")
    assert await two.read(channel, bob) == (nothing, "shared")
    assert await one.read(channel, bob) == (nothing, "process")
    await groups.groups.memberships.join(bob, "room")
    for process in (one, two):
        assert (await process.read(channel, bob))[0].can_view


async def test_what_no_head_would_end_is_read_each_time(world: World, groups: Replica) -> None:
    """That there is no channel: one may be stored, not projected. A direct channel. What a timeout forbids so long."""
    ann, _ = await groups.register("ann")
    _, bob = await groups.register("bob")
    group, channel = await groups.create_group(ann, "Room")
    await groups.groups.memberships.join(bob, "room")
    direct = await groups.groups.directs.open(bob, (await groups.register("cid"))[1])
    muted = {"communication_disabled_until": "2025-10-10T00:00:00+00:00"}
    assert (await groups.call("PATCH", f"/guilds/{group}/members/{bob}", ann, muted)).status_code == 200
    one = Process(world)
    for channel_id in (4242, direct.id, channel):
        assert [(await one.read(channel_id, bob))[1] for _ in range(2)] == ["store", "store"]
    assert not (await one.read(channel, bob))[0].permissions & Permission.SEND_MESSAGES
    world.now += 10 * 24 * 3600 * 1000
    assert (await one.read(channel, bob))[0].permissions & Permission.SEND_MESSAGES
    assert (await one.read(channel, bob))[1] == "process"
