"""Groups themselves: renamed, handed over, deleted; and what becomes of their names, members and doors."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from services.groups.core.groups import GroupPatch
from services.groups.jobs import UNSURE_MS
from shared.core.change import Actor
from shared.core.errors import InvalidForm
from shared.core.group_errors import UnknownGroup
from shared.core.group_events import GroupChanged, GroupDeleted
from shared.core.model import Member, User
from shared.core.stream import group_stream, user_stream
from shared.core.user_events import GroupJoined, GroupLeft
from tests.groups.fuse import Fuse, Moment
from tests.groups.test_crashes import MOMENTS, MOST_STEPS, Scene, crash_at, heard_in_order, open_scene, sweep_later
from tests.groups.test_rest import error_of, reasons_of
from tests.groups.world import PASSWORD, Json, Replica, World

MINUTE_MS = 61_000
"""After that long a name that nobody bears is free."""


async def rename(replica: Replica, token: str, group: int, name: str) -> int:
    """Give a group another name; return the status."""
    return (await replica.call("PATCH", f"/guilds/{group}", token, {"name": name})).status_code


async def joins(replica: Replica, token: str, name: str) -> int:
    """Join by a name; return the status."""
    return (await replica.call("POST", "/guilds/join", token, {"name": name})).status_code


async def test_a_group_tells_what_it_is_now(world: World, groups: Replica, rival: Replica) -> None:
    """Every field that is given is answered, told and read by others at once; what is not given stays, null ends."""
    ann, _ = await groups.register("ann")
    group, channel = await groups.create_group(ann, "Room")
    await world.follow(f"g.{group}")
    fields = {"description": "tea", "system_channel_id": str(channel), "system_channel_flags": 1, "icon": None}
    answer = await groups.call("PATCH", f"/guilds/{group}", ann, fields | {"splash": None, "features": ["x"]})
    assert {name: answer.json()[name] for name in fields} == fields
    assert (await rival.call("GET", f"/guilds/{group}", ann)).json() == answer.json()
    body = {"description": None, "system_channel_id": None, "name": None}
    answer = await rival.call("PATCH", f"/guilds/{group}", ann, body)
    told = {name: answer.json()[name] for name in ("name", "description", "system_channel_id", "system_channel_flags")}
    assert told == {"name": "Room", "description": None, "system_channel_id": None, "system_channel_flags": 1}
    assert (await rival.call("PATCH", f"/guilds/{group}", ann, body)).json() == answer.json()
    heard = world.bodies_heard(group_stream(group))
    assert [type(one) for one in heard] == [GroupChanged, GroupChanged]
    assert heard[1].before == heard[0].group


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "x"),
        ("name", " \u200b "),
        ("name", "x" * 101),
        ("description", "x" * 301),
        ("description", "a\0b"),
        ("icon", "data:image/png;base64,AAAA"),
        ("owner_id", "x"),
        ("public", "yes"),
        ("system_channel_id", "7"),
        ("system_channel_flags", -1),
    ],
)
async def test_what_a_group_can_not_be(groups: Replica, field: str, value: str | int) -> None:
    """Bad input is told by its field, and changes nothing."""
    ann, _ = await groups.register("ann")
    group, _ = await groups.create_group(ann, "Room")
    before = (await groups.call("GET", f"/guilds/{group}", ann)).json()
    answer = await groups.call("PATCH", f"/guilds/{group}", ann, {field: value})
    assert error_of(answer) in ((400, 50035), (400, 50109))
    if answer.json()["code"] == 50035:
        assert field in answer.json()["errors"]
    assert (await groups.call("GET", f"/guilds/{group}", ann)).json() == before


async def test_a_public_name_moves_with_its_group(world: World, groups: Replica, rival: Replica) -> None:
    """Who asks for the new name finds the group, who asks for the old one nobody; others may take that."""
    ann, _ = await groups.register("ann")
    bob, _ = await groups.register("bob")
    room, _ = await groups.create_group(ann, "Room")
    world.now += MINUTE_MS
    assert await rename(groups, ann, room, "Hall") == 200
    assert await joins(rival, bob, "room") == 404
    assert await joins(rival, bob, "HALL") == 200
    assert await joins(rival, bob, "room") == 404
    other, _ = await rival.create_group(bob, "Room")
    answer = await groups.call("PATCH", f"/guilds/{room}", ann, {"name": "rOOm"})
    assert reasons_of(answer, "name") == ["GUILD_NAME_ALREADY_TAKEN"]
    assert await rename(groups, ann, room, "hall") == 200
    assert (await groups.call("GET", f"/guilds/{other}", bob)).json()["name"] == "Room"


async def test_only_public_groups_have_their_names_alone(world: World, groups: Replica) -> None:
    """A private group may be called as a public one; it becomes public under a free name, and frees it again."""
    ann, _ = await groups.register("ann")
    bob, _ = await groups.register("bob")
    room, _ = await groups.create_group(ann, "Room")
    other, _ = await groups.create_group(bob, "Room", public=False)
    answer = await groups.call("PATCH", f"/guilds/{other}", bob, {"public": True})
    assert reasons_of(answer, "name") == ["GUILD_NAME_ALREADY_TAKEN"]
    assert (await groups.call("PATCH", f"/guilds/{room}", ann, {"public": False})).status_code == 200
    assert await joins(groups, bob, "room") == 404
    world.now += MINUTE_MS
    assert (await groups.call("PATCH", f"/guilds/{other}", bob, {"public": True})).json()["public"] is True
    assert await joins(groups, ann, "room") == 200


async def test_one_name_many_renames(groups: Replica, rival: Replica) -> None:
    """Of many public groups that take one name at once, one gets it."""
    people = [await groups.register(f"user{number}") for number in range(6)]
    rooms = [await groups.create_group(token, f"Room {number}") for number, (token, _) in enumerate(people)]
    outcomes = await asyncio.gather(
        *(
            (groups, rival)[place % 2].groups.keeping.change(Actor(user), rooms[place][0], GroupPatch(name="Hall"))
            for place, (_, user) in enumerate(people)
        ),
        return_exceptions=True,
    )
    assert Counter(isinstance(one, InvalidForm) for one in outcomes) == {False: 1, True: 5}
    found = await groups.groups.memberships.join(people[0][1], "hall")
    assert found in outcomes


async def test_a_group_is_handed_over(groups: Replica, rival: Replica) -> None:
    """To a member who is a person, by the owner alone; from then on that one may what the other might."""
    ann, ann_id = await groups.register("ann")
    bob, bob_id = await groups.register("bob")
    _, eve_id = await groups.register("eve")
    group, channel = await groups.create_group(ann, "Room")
    await joins(groups, bob, "Room")
    made = (await groups.call("POST", "/applications", ann, {"name": "robot"})).json()
    await groups.call("PUT", f"/guilds/{group}/members/{made['bot']['id']}", ann, {})

    async def give(token: str, heir: int | str) -> tuple[int, int]:
        answer = await rival.call("PATCH", f"/guilds/{group}", token, {"owner_id": str(heir)})
        return (200, 0) if answer.status_code == 200 else error_of(answer)

    assert await give(ann, eve_id) == (404, 10007)
    assert await give(ann, made["bot"]["id"]) == (400, 50035)
    assert await give(ann, ann_id) == (200, 0)
    assert await give(ann, bob_id) == (200, 0)
    assert await give(ann, ann_id) == (403, 50013)
    access = await groups.groups.views.read_access(channel, ann_id)
    assert access.can_send
    assert error_of(await groups.call("DELETE", f"/guilds/{group}", ann)) == (403, 50013)
    assert (await groups.call("DELETE", f"/users/@me/guilds/{group}", ann)).status_code == 204
    assert error_of(await groups.call("DELETE", f"/users/@me/guilds/{group}", bob)) == (403, 50013)


async def test_nobody_owns_too_many_groups(groups: Replica) -> None:
    """An heir has as many groups of its own at most as one may make."""
    ann, _ = await groups.register("ann")
    bob, bob_id = await groups.register("bob")
    group, _ = await groups.create_group(ann, "Room")
    await joins(groups, bob, "Room")
    for number in range(100):
        await groups.create_group(bob, f"Room {number}", public=False)
    answer = await groups.call("PATCH", f"/guilds/{group}", ann, {"owner_id": str(bob_id)})
    assert error_of(answer) == (400, 30001)
    assert (await groups.call("DELETE", f"/guilds/{group}", ann)).status_code == 204


async def test_nothing_is_left_of_a_deleted_group(world: World, groups: Replica, rival: Replica) -> None:
    """When that is answered every door is closed; its members' own streams hear it soon, and nothing comes after."""
    ann, ann_id = await groups.register("ann")
    bob, bob_id = await groups.register("bob")
    eve, _ = await groups.register("eve")
    group, channel = await groups.create_group(ann, "Room")
    await joins(groups, bob, "Room")
    code = (await groups.call("POST", f"/channels/{channel}/invites", ann)).json()["code"]
    role = (await groups.call("POST", f"/guilds/{group}/roles", ann, {"name": "x"})).json()["id"]
    await world.follow(f"g.{group}", f"u.{ann_id}", f"u.{bob_id}")
    assert (await rival.groups.views.read_access(channel, bob_id)).can_send
    assert (await groups.call("DELETE", f"/guilds/{group}", ann)).status_code == 204
    for token in (ann, bob):
        for method, path, code_of in (
            ("GET", f"/guilds/{group}", 10004),
            ("DELETE", f"/guilds/{group}", 10004),
            ("PATCH", f"/guilds/{group}", 10004),
            ("GET", f"/guilds/{group}/channels", 10004),
            ("GET", f"/guilds/{group}/members", 10004),
            ("PUT", f"/guilds/{group}/members/{bob_id}/roles/{role}", 10004),
            ("DELETE", f"/users/@me/guilds/{group}", 10004),
            ("GET", f"/channels/{channel}", 10003),
            ("PATCH", f"/channels/{channel}", 10003),
            ("DELETE", f"/channels/{channel}", 10003),
            ("POST", f"/channels/{channel}/invites", 10003),
            ("GET", f"/channels/{channel}/invites", 10003),
        ):
            body: Json = {} if method in ("PATCH", "POST") else None
            assert error_of(await rival.call(method, path, token, body)) == (404, code_of), (method, path)
        assert (await rival.call("GET", "/users/@me/guilds", token)).json() == []
    for token in (bob, eve):
        assert error_of(await rival.call("POST", f"/invites/{code}", token)) == (404, 10006)
        assert await joins(rival, token, "Room") == 404
    access = await rival.groups.views.read_access(channel, bob_id)
    assert (access.channel, access.can_view) == (None, False)
    assert [type(one) for one in world.bodies_heard(group_stream(group))] == [GroupDeleted]
    assert [type(one) for one in world.bodies_heard(user_stream(ann_id))] == [GroupLeft]
    await rival.groups.jobs.sweep()
    assert [type(one) for one in world.bodies_heard(user_stream(bob_id))] == [GroupLeft]
    assert (await rival.read_session(bob_id)).memberships == ()
    assert await world.store.list_members(group, 0, 10) == []
    world.now += MINUTE_MS
    assert (await groups.create_group(eve, "Room"))[0] != group


async def test_a_deleted_groups_stream_is_over(world: World, groups: Replica) -> None:
    """Nothing comes behind the deletion, whoever asks for what: a new name of a member included (rule 4)."""
    ann, _ = await groups.register("ann")
    bob, bob_id = await groups.register("bob")
    group, _ = await groups.create_group(ann, "Room")
    await joins(groups, bob, "Room")
    await groups.call("DELETE", f"/guilds/{group}", ann)

    async def decide(_: int) -> GroupDeleted:
        raise AssertionError("nothing is decided any more")

    with pytest.raises(UnknownGroup):
        await groups.groups.changes.change(group_stream(group), decide)
    await groups.call("PATCH", "/users/@me", bob, {"global_name": "Bobby"})
    await groups.groups.profiles.tell_groups(bob_id)
    head = await world.streams.read_head(group_stream(group))
    bucket = await world.streams.read_bucket(group_stream(group), head.tail)
    assert bucket is not None
    assert bucket.sealed
    assert isinstance(bucket.records()[-1].body, GroupDeleted)
    assert head.seq == bucket.next_seq - 1


async def test_a_large_group_is_disbanded_in_parts(world: World, groups: Replica) -> None:
    """The job tells some thousands of members and asks for itself again, until nobody is left."""
    ann, ann_id = await groups.register("ann")
    group, _ = await groups.create_group(ann, "Room")
    for number in range(1, 2_051):
        await world.store.put_member(Member(group, User(number, f"user{number}"), world.now), 1)
    await groups.call("DELETE", f"/guilds/{group}", ann)
    assert await groups.groups.jobs.sweep() == 1
    assert len(await world.store.list_members(group, 0, 100)) == 51, "the owner, too"
    assert await groups.groups.jobs.sweep() == 1
    assert await groups.groups.jobs.sweep() == 0
    assert await world.store.list_members(group, 0, 100) == []
    assert (await groups.read_session(ann_id)).memberships == ()


@MOMENTS
async def test_a_deletion_that_dies(moment: Moment) -> None:
    """A deletion that dies at any step is done for all, or for nobody; in the end every member is told once."""
    for step in range(1, MOST_STEPS):
        async with open_scene() as scene:
            died = await crash_at(
                scene, step, moment, lambda groups: groups.keeping.delete(Actor(scene.ann), scene.group)
            )
            await sweep_later(scene)
            await scene.healthy.groups.jobs.sweep()
            await sweep_later(scene)
            is_gone = not await scene.world.store.read_groups((scene.group,))
            for user in (scene.ann, scene.bob):
                own = [type(one) for one in heard_in_order(scene.world, user_stream(user))]
                assert own == [GroupJoined] * (user == scene.bob) + [GroupLeft] * is_gone
                assert bool((await scene.healthy.read_session(user)).memberships) != is_gone
            if not died:
                assert is_gone
                assert step > 15, "the fuse did not guard"
                return
    pytest.fail("a deletion takes more steps than expected")


async def test_a_deletion_that_hangs() -> None:
    """Halted at any step for as long as a job is unsure: once it goes on the members are told all the same."""
    for step in range(1, MOST_STEPS):
        fuse = Fuse(step, "before", pauses=True)
        async with open_scene() as scene, scene.world.open_replica(fuse=fuse) as halting:
            deletion = asyncio.create_task(halting.groups.keeping.delete(Actor(scene.ann), scene.group))
            hung = asyncio.create_task(fuse.reached.wait())
            await asyncio.wait((deletion, hung), return_when=asyncio.FIRST_COMPLETED)
            hung.cancel()
            scene.world.now += UNSURE_MS
            await scene.healthy.groups.jobs.sweep()
            fuse.go_on.set()
            await deletion
            await sweep_later(scene)
            await scene.healthy.groups.jobs.sweep()
            for user in (scene.ann, scene.bob):
                own = [type(one) for one in heard_in_order(scene.world, user_stream(user))]
                assert own == [GroupJoined] * (user == scene.bob) + [GroupLeft], step
            if not fuse.reached.is_set():
                assert step > 15, "the fuse did not guard"
                return
    pytest.fail("a deletion takes more steps than expected")


async def public_name_of(scene: Scene) -> str:
    """Return by which of two names the group is found; the other one must be free."""
    healthy = scene.healthy
    name = (await scene.world.store.read_groups((scene.group,)))[scene.group].name
    other = {"Room": "Hall", "Hall": "Room"}[name]
    assert (await healthy.groups.memberships.join(scene.bob, name)).id == scene.group
    made, _ = await healthy.groups.memberships.create_group(scene.eve, other, public=True)
    assert (await healthy.groups.memberships.join(scene.bob, other)).id == made.id
    with pytest.raises(InvalidForm):
        await healthy.groups.memberships.create_group(scene.eve, name, public=True)
    return name


@MOMENTS
async def test_a_rename_that_dies(moment: Moment) -> None:
    """A rename that dies at any step leaves one name that finds the group, and frees the other after a minute."""
    found = set()
    for step in range(1, MOST_STEPS):
        async with open_scene() as scene:
            died = await crash_at(
                scene,
                step,
                moment,
                lambda groups: groups.keeping.change(Actor(scene.ann), scene.group, GroupPatch(name="Hall")),
            )
            await sweep_later(scene)
            scene.world.now += MINUTE_MS
            found.add(await public_name_of(scene))
            if not died:
                assert found == {"Room", "Hall"}
                return
    pytest.fail("a rename takes more steps than expected")


async def test_an_account_that_ends_is_no_heir(groups: Replica) -> None:
    """Who has deleted the account, but is not out of the group yet, gets nothing."""
    ann, _ = await groups.register("ann")
    bob, bob_id = await groups.register("bob")
    group, _ = await groups.create_group(ann, "Room")
    await joins(groups, bob, "Room")
    await groups.call("POST", "/users/@me/delete", bob, {"password": PASSWORD})
    answer = await groups.call("PATCH", f"/guilds/{group}", ann, {"owner_id": str(bob_id)})
    assert error_of(answer) == (404, 10007)
