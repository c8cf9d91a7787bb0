"""Audit logs: each change that somebody makes of a guild leaves one entry with its reason, and nothing else does."""

from __future__ import annotations

from contextlib import suppress

import pytest

from services.groups.auditing import KEPT_MS, AuditLogs
from services.groups.changes import Changes
from services.groups.facts import FactReader
from services.groups.jobs import Jobs
from services.groups.members import Members
from shared.core.change import Actor
from shared.core.ids import IdSource
from shared.core.stream import group_stream
from tests.groups.fuse import Crash, Fuse, Moment
from tests.groups.test_permissions import CASES, Scene, open_scene
from tests.groups.world import Json, Replica, World

UNNAMED = {"add_member", "add_member_with_role"}
"""Who puts a person into a group is told by the membership; Discord has a number for bots only."""

LAST = {"hand_guild_over", "delete_guild", "delete_guild_by_older_path"}
"""After these the owner reads nothing any more."""


async def read(scene: Scene, query: str = "") -> Json:
    """Read the log as its owner."""
    return await scene.as_owner("GET", f"{scene.path}/audit-logs?limit=100{query}")


async def test_each_change_leaves_one_entry(world: World, groups: Replica) -> None:
    """Of who did it, and why, whatever route it was; what is only read or refused leaves none."""
    scene = await open_scene(groups)
    reason = {"X-Audit-Log-Reason": "so%20it%20is%20%E2%98%82"}
    found = []
    for name, (prepare, _) in CASES.items():
        if name in LAST:
            continue
        method, path, body = await prepare(scene)
        newest = (await read(scene))["audit_log_entries"][0]["id"]
        before = (await world.streams.read_head(group_stream(scene.group))).seq
        world.now += 1
        for kind in ("stranger", "owner"):
            headers = {"Authorization": scene.tokens[kind]} | reason
            await groups.http.request(method, f"/api/v10{path}", headers=headers, json=body)
        changes = (await world.streams.read_head(group_stream(scene.group))).seq - before
        log = await read(scene, f"&after={newest}")
        assert len(log["audit_log_entries"]) == (changes if name not in UNNAMED else 0), name
        found += log["audit_log_entries"]
        assert {user["id"] for user in log["users"]} >= {one["user_id"] for one in log["audit_log_entries"]}
    assert {(one["user_id"], one["reason"]) for one in found} == {(str(scene.ids["owner"]), "so it is ☂")}
    assert {one["action_type"] for one in found} >= {1, 10, 11, 12, 13, 15, 20, 22, 23, 24, 25, 30, 31, 32, 40, 42}


async def test_the_next_owner_reads_who_made_him_one(groups: Replica) -> None:
    """A group that is handed over keeps its log."""
    scene = await open_scene(groups)
    method, path, body = await CASES["hand_guild_over"][0](scene)
    await groups.call(method, path, scene.tokens["owner"], body)
    log = (await groups.call("GET", f"{scene.path}/audit-logs?limit=1", scene.tokens["moderator"])).json()
    assert [(one["action_type"], one["user_id"]) for one in log["audit_log_entries"]] == [(1, str(scene.ids["owner"]))]


async def test_pages_and_filters(world: World, groups: Replica) -> None:
    """The newest first, by user, action and target; with the users whom a page names."""
    scene = await open_scene(groups)
    users = []
    for _ in range(5):
        users.append(await scene.new_user())
        world.now += 1
        await groups.call("PUT", f"{scene.path}/bans/{users[-1]}", scene.tokens["moderator"])
    log = await read(scene, f"&user_id={scene.ids['moderator']}&action_type=22")
    entries = log["audit_log_entries"]
    assert [one["target_id"] for one in entries] == [str(user) for user in reversed(users)]
    assert {user["id"] for user in log["users"]} == {str(one) for one in (*users, scene.ids["moderator"])}
    assert (await read(scene, f"&target_id={users[2]}"))["audit_log_entries"] == [entries[2]]
    page = await read(scene, f"&action_type=22&before={entries[1]['id']}&after={entries[4]['id']}")
    assert page["audit_log_entries"] == [entries[3], entries[2]]
    assert (await read(scene, "&action_type=1"))["audit_log_entries"] == []
    other, _ = await groups.create_group(scene.tokens["owner"], "Other")
    assert (await scene.as_owner("GET", f"/guilds/{other}/audit-logs"))["audit_log_entries"] == []


async def test_libraries_read_on_from_the_oldest(world: World, groups: Replica) -> None:
    """With `after`, 0 too, come the first ones, the oldest first: the last one's id names the next page."""
    scene = await open_scene(groups)
    for _ in range(5):
        world.now += 1
        await scene.new_role()
    newest_first = (await read(scene))["audit_log_entries"]
    read_on: Json = []
    while page := (
        await scene.as_owner("GET", f"{scene.path}/audit-logs?limit=3&after={read_on[-1]['id'] if read_on else 0}")
    )["audit_log_entries"]:
        read_on += page
        assert len(read_on) <= len(newest_first)
    assert read_on == newest_first[::-1]


async def test_joins_and_leaves_leave_nothing(groups: Replica) -> None:
    """Who comes and goes by himself is no entry."""
    ann, _ = await groups.register("ann")
    bob, _ = await groups.register("bob")
    group, _ = await groups.create_group(ann, "Room")
    await groups.call("POST", "/guilds/join", bob, {"name": "room"})
    await groups.call("DELETE", f"/users/@me/guilds/{group}", bob)
    log = (await groups.call("GET", f"/guilds/{group}/audit-logs", ann)).json()
    assert [log["audit_log_entries"], log["users"]] == [[], []]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_crash_loses_and_doubles_nothing(world: World, groups: Replica, moment: Moment) -> None:
    """At any step of a ban the process dies: once somebody has settled the group there is one entry, or no ban."""
    ann, ann_id = await groups.register("ann")
    _, bob_id = await groups.register("bob")
    group, _ = await groups.create_group(ann, "Room")
    banned: list[bool] = []
    for step in range(1, 30):
        fuse = Fuse(step, moment)
        streams, store = fuse.guard(world.streams), fuse.guard(world.store)
        logs = AuditLogs(fuse.guard(world.audit), store, world.clock)
        jobs = Jobs(store, IdSource(9), world.clock)
        changes = Changes(streams, store, fuse.guard(world.bus), world.topology, jobs, logs, IdSource(9), world.clock)
        members = Members(
            FactReader(store, world.clock), store, groups.groups.memberships, changes, groups.groups.members.purging
        )
        with suppress(Crash):
            await members.ban(Actor(ann_id), group, bob_id)
        world.now += 1
        await groups.groups.changes.settle(group_stream(group))
        banned.append((await groups.call("DELETE", f"/guilds/{group}/bans/{bob_id}", ann)).status_code == 204)
        log = (await groups.call("GET", f"/guilds/{group}/audit-logs?action_type=22&limit=100", ann)).json()
        assert len(log["audit_log_entries"]) == sum(banned)
    assert not banned[0]
    assert banned[-1]
    assert fuse.reached.is_set() is False, "a ban has more steps than were tried"


async def test_entries_are_kept_for_45_days(world: World, groups: Replica) -> None:
    """And no longer: then they are dropped."""
    scene = await open_scene(groups)
    old = len((await read(scene))["audit_log_entries"])
    world.now += KEPT_MS
    assert await groups.groups.audit_logs.forget() == 0
    await scene.new_role()
    world.now += 1
    assert await groups.groups.audit_logs.forget() == old
    assert len((await read(scene))["audit_log_entries"]) == 1
