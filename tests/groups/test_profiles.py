"""Profiles: who is called what, who hears of it, who is found, and what remains of it when a process dies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.groups.bodies import OwnUserBody, ProfileBody
from services.groups.core.profiles import ProfileChange
from services.groups.jobs import LEASE_MS, UNSURE_MS
from shared.core.errors import InvalidForm, StarlingError
from shared.core.group_events import MemberAdded, MemberChanged
from shared.core.model import User
from shared.core.stream import group_stream, user_stream
from shared.core.titles import key_of_name
from shared.core.user_events import UserChanged
from shared.http_bodies import UserBody
from tests.groups.fuse import Crash, Fuse, Moment
from tests.groups.test_rest import error_of, reasons_of
from tests.groups.world import PASSWORD, FaultyStreams, Replica, World, open_world

MOST_STEPS = 100


async def change(replica: Replica, token: str, **fields: Any) -> Any:
    """Change the caller's profile; return it."""
    answer = await replica.call("PATCH", "/users/@me", token, fields)
    assert answer.status_code == 200, answer.text
    OwnUserBody.model_validate(answer.json(), extra="forbid")
    return answer.json()


async def found(replica: Replica, token: str, query: str, **more: Any) -> list[str]:
    """Return the usernames that a search finds."""
    params = {"query": query, **more}
    answer = await replica.http.get("/api/v10/users", params=params, headers={"Authorization": token})
    assert answer.status_code == 200, answer.text
    for one in answer.json():
        UserBody.model_validate(one, extra="forbid")
    return [one["username"] for one in answer.json()]


async def logs_in(replica: Replica, name: str) -> bool:
    """Whether somebody has this name and the password of tests."""
    return (await replica.call("POST", "/auth/login", body={"login": name, "password": PASSWORD})).status_code == 200


async def test_a_profile_is_changed_by_its_owner(world: World, groups: Replica, rival: Replica) -> None:
    """What is told changes, what is left out stays, others see it, and the user's own sessions hear it once."""
    ann, ann_id = await groups.register("ann")
    bob, _ = await groups.register("bob")
    await world.follow(f"u.{ann_id}")
    told = await change(groups, ann, global_name=" Ann ☂ ", bio="I like tea\nand rain", avatar=None, flags=64, id="1")
    assert (told["username"], told["global_name"], told["bio"]) == ("ann", "Ann ☂", "I like tea\nand rain")
    assert (told["id"], told["flags"], told["bot"]) == (str(ann_id), 0, False)
    assert (await change(groups, ann, username="Anna"))["bio"] == told["bio"]
    assert (await change(groups, ann, username="Anna"))["username"] == "Anna"
    assert (await rival.call("GET", f"/users/{ann_id}", bob)).json()["username"] == "Anna"
    profile = (await rival.call("GET", f"/users/{ann_id}/profile", bob)).json()
    ProfileBody.model_validate(profile, extra="forbid")
    assert (profile["user"]["global_name"], profile["user_profile"]["bio"]) == ("Ann ☂", told["bio"])
    assert (await rival.call("GET", "/users/@me", ann)).json() == await change(groups, ann)
    cleared = await change(groups, ann, global_name=None, bio=None)
    assert (cleared["global_name"], cleared["bio"]) == (None, "")
    named = User(ann_id, "ann", "Ann ☂"), User(ann_id, "Anna", "Ann ☂"), User(ann_id, "Anna")
    heard = world.bodies_heard(user_stream(ann_id))
    assert heard == [UserChanged(named[0], told["bio"]), UserChanged(named[1], told["bio"]), UserChanged(named[2])]


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"username": "a"}, "username", "BASE_TYPE_BAD_LENGTH"),
        ({"username": "bob"}, "username", "USERNAME_ALREADY_TAKEN"),
        ({"username": "B\u200dOB"}, "username", "USERNAME_INVALID"),
        ({"username": {"$ne": ""}}, "username", "STRING_TYPE_CONVERT"),
        ({"global_name": "x" * 33}, "global_name", "BASE_TYPE_BAD_LENGTH"),
        ({"global_name": "\u200d\u200d"}, "global_name", "BASE_TYPE_INVALID"),
        ({"bio": "x" * 191}, "bio", "BASE_TYPE_MAX_LENGTH"),
        ({"bio": ["x"]}, "bio", "STRING_TYPE_CONVERT"),
        ({"avatar": "data:image/png;base64,AAAA"}, "avatar", "AVATAR_UNSUPPORTED"),
    ],
)
async def test_what_may_not_be_is_refused_and_changes_nothing(
    groups: Replica, body: dict[str, Any], field: str, reason: str
) -> None:
    """The field is named, and the user is as before."""
    ann, _ = await groups.register("ann")
    await groups.register("bob")
    before = (await groups.call("GET", "/users/@me", ann)).json()
    assert reasons_of(await groups.call("PATCH", "/users/@me", ann, {"bio": "new", **body}), field) == [reason]
    assert (await groups.call("GET", "/users/@me", ann)).json() == before


async def test_a_name_moves(world: World, groups: Replica, rival: Replica) -> None:
    """The new name logs in, the old one does no more; it is free, also for its old owner, and has one owner always."""
    ann, _ = await groups.register("ann")
    await change(groups, ann, username="anna")
    assert [await logs_in(rival, name) for name in ("anna", "ANNA", "ann")] == [True, True, False]
    await change(rival, ann, username="ann")
    await change(rival, ann, username="ANN")
    assert [await logs_in(groups, name) for name in ("anna", "ann")] == [False, True]
    world.now += 61_000
    bob, _ = await groups.register("anna")
    assert reasons_of(await groups.call("PATCH", "/users/@me", bob, {"username": "Ann"}), "username")
    await change(groups, ann, username="somebody")
    await change(rival, bob, username="ann")
    assert reasons_of(await groups.call("PATCH", "/users/@me", ann, {"username": "ann"}), "username")
    assert await logs_in(groups, "ann")


async def test_of_many_who_want_a_name_one_gets_it(world: World, groups: Replica, rival: Replica) -> None:
    """Renames and a registration that race for a name, on two replicas: one has it, and all say the same."""
    tokens = [(await groups.register(f"user{number}"))[0] for number in range(6)]
    replicas = (groups, rival)
    answers = await asyncio.gather(
        *(
            replicas[place % 2].call("PATCH", "/users/@me", token, {"username": "wanted"})
            for place, token in enumerate(tokens)
        ),
        rival.call("POST", "/auth/register", body={"username": "WANTED", "password": PASSWORD}),
    )
    assert sorted(answer.status_code // 100 for answer in answers) == [2] + [4] * 6
    names = [(await rival.call("GET", "/users/@me", token)).json()["username"] for token in tokens]
    assert await logs_in(groups, "wanted")
    assert await found(groups, tokens[0], "wanted") == [name for name in ("wanted", "WANTED") if name in names] or [
        "WANTED"
    ]


async def test_own_devices_that_rename_at_once_end_in_one_name(groups: Replica, rival: Replica, world: World) -> None:
    """The last change holds, its name is claimed, and the other one is free again."""
    ann, _ = await groups.register("ann")
    await asyncio.gather(change(groups, ann, username="one"), change(rival, ann, username="two"))
    name = (await groups.call("GET", "/users/@me", ann)).json()["username"]
    assert await logs_in(groups, name)
    world.now += 61_000
    assert not await logs_in(groups, {"one": "two", "two": "one"}[name])
    await rival.register({"one": "two", "two": "one"}[name])


async def test_members_of_all_groups_hear_of_it(world: World, groups: Replica, rival: Replica) -> None:
    """Each group tells its members once, and shows the name from then on; direct channels show it, too."""
    ann, ann_id = await groups.register("ann")
    bob, bob_id = await groups.register("bob")
    rooms = [(await groups.create_group(bob, f"room {number}"))[0] for number in range(3)]
    for room in rooms[:2]:
        await world.follow(f"g.{room}")
        await groups.call("POST", "/guilds/join", ann, {"name": f"room {rooms.index(room)}"})
    await groups.call("POST", "/users/@me/channels", ann, {"recipient_id": str(bob_id)})
    await change(groups, ann, username="anna", global_name="Anna")
    assert await rival.groups.jobs.sweep() == 1
    assert await rival.groups.jobs.sweep() == 0
    for room in rooms[:2]:
        told = world.bodies_heard(group_stream(room))
        assert [type(body) for body in told] == [MemberAdded, MemberChanged]
        assert told[-1].member.user == User(ann_id, "anna", "Anna")
        member = await rival.call("GET", f"/guilds/{room}/members/{ann_id}", bob)
        assert member.json()["user"]["username"] == "anna"
    (direct,) = (await rival.call("GET", "/users/@me/channels", bob)).json()
    assert [user["username"] for user in direct["recipients"]] == ["anna"]
    view = await rival.read_session(ann_id)
    assert {member.user.username for member in view.memberships} == {"anna"}


async def test_a_session_has_the_new_name_before_its_groups_have_it(world: World, groups: Replica) -> None:
    """What is read, and cached, between the change and the groups' hearing of it says the new name, then and later."""
    ann, ann_id = await groups.register("ann")
    await groups.create_group(ann, "Room")
    await change(groups, ann, username="anna")
    for _ in range(2):
        view = await groups.read_session(ann_id)
        assert {view.user.username, *(member.user.username for member in view.memberships)} == {"anna"}
        await groups.groups.jobs.sweep()


async def test_who_joins_while_it_is_renamed_is_shown_by_the_new_name(world: World, groups: Replica) -> None:
    """A join that was decided on the old name and committed behind the job's back is put right by a job of its own."""
    ann, ann_id = await groups.register("ann")
    bob, _ = await groups.register("bob")
    room, _ = await groups.create_group(bob, "Room")
    fuse = Fuse(13, "before", pauses=True)
    async with world.open_replica(fuse=fuse) as slow:
        joining = asyncio.create_task(slow.groups.memberships.join(ann_id, "room"))
        await fuse.reached.wait()
        await change(groups, ann, username="anna")
        await groups.groups.jobs.sweep()
        fuse.go_on.set()
        await joining
    await groups.groups.jobs.sweep()
    member = await groups.call("GET", f"/guilds/{room}/members/{ann_id}", bob)
    assert member.json()["user"]["username"] == "anna"


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_rename_that_dies_anywhere_is_finished_or_did_not_happen(moment: Moment) -> None:
    """Whatever step it dies at: one of the two names is the user's everywhere, and the other one is free."""
    for step in range(1, MOST_STEPS):
        async with open_world(FaultyStreams()) as world, world.open_replica() as healthy:
            ann, ann_id = await healthy.register("ann")
            room, _ = await healthy.create_group(ann, "Room")
            await world.follow(f"g.{room}", f"u.{ann_id}")
            died = False
            async with world.open_replica(fuse=Fuse(step, moment)) as dying:
                try:
                    await dying.groups.profiles.change(ann_id, ProfileChange(username="anna"))
                    await dying.groups.jobs.sweep()
                except Crash:
                    died = True
            world.now += UNSURE_MS + LEASE_MS + 1
            await healthy.groups.changes.sweep()
            await healthy.groups.jobs.sweep()
            assert await world.store.find_jobs(world.now + LEASE_MS * 2, 10) == []
            name = (await healthy.call("GET", "/users/@me", ann)).json()["username"]
            member = await healthy.call("GET", f"/guilds/{room}/members/{ann_id}", ann)
            assert member.json()["user"]["username"] == name
            assert len(world.bodies_heard(user_stream(ann_id))) == len(world.bodies_heard(group_stream(room)))
            assert await logs_in(healthy, name)
            await healthy.register({"ann": "anna", "anna": "ann"}[name])
            if not died:
                assert name == "anna"
                assert step > 15, "the fuse did not guard"
                return
    pytest.fail("a rename takes more steps than expected")


async def test_a_rename_that_hangs(world: World, groups: Replica) -> None:
    """Halted at any step for as long as a job is unsure: once it goes on the groups are told all the same."""
    ann, ann_id = await groups.register("ann")
    room, _ = await groups.create_group(ann, "Room")
    for step in range(1, MOST_STEPS):
        fuse = Fuse(step, "before", pauses=True)
        async with world.open_replica(fuse=fuse) as halting:
            named = ProfileChange(username=f"name{step}")
            renaming = asyncio.create_task(halting.groups.profiles.change(ann_id, named))
            hung = asyncio.create_task(fuse.reached.wait())
            await asyncio.wait((renaming, hung), return_when=asyncio.FIRST_COMPLETED)
            hung.cancel()
            world.now += UNSURE_MS
            await groups.groups.jobs.sweep()
            fuse.go_on.set()
            await renaming
            await groups.groups.jobs.sweep()
            member = await groups.call("GET", f"/guilds/{room}/members/{ann_id}", ann)
            assert member.json()["user"]["username"] == f"name{step}", step
            if not fuse.reached.is_set():
                assert step > 10, "the fuse did not guard"
                return
    pytest.fail("a rename takes more steps than expected")


async def test_a_job_that_fails_is_tried_again(world: World, groups: Replica) -> None:
    """An outage puts it off; it is not lost, and not done twice at once."""
    ann, _ = await groups.register("ann")
    await groups.create_group(ann, "Room")
    await change(groups, ann, username="anna")
    assert isinstance(world.streams, FaultyStreams)
    world.streams.away = True
    assert await groups.groups.jobs.sweep() == 0
    world.streams.away = False
    assert await groups.groups.jobs.sweep() == 0
    world.now += LEASE_MS + 1
    assert await groups.groups.jobs.sweep() == 1


async def test_a_stopped_process_gives_a_name_back_that_was_taken_over(world: World, groups: Replica) -> None:
    """It claimed, hung for over a minute, and told the name after somebody else got it: then it is called as before."""
    ann, ann_id = await groups.register("ann")
    for step in range(1, MOST_STEPS):
        fuse = Fuse(step, "before", pauses=True)
        async with world.open_replica(fuse=fuse) as slow:
            renaming = asyncio.create_task(slow.groups.profiles.change(ann_id, ProfileChange(username=f"name{step}")))
            reached = asyncio.create_task(fuse.reached.wait())
            await asyncio.wait((renaming, reached), return_when=asyncio.FIRST_COMPLETED)
            reached.cancel()
            world.now += 61_000
            taken = await groups.call("POST", "/auth/register", body={"username": f"name{step}", "password": PASSWORD})
            fuse.go_on.set()
            (outcome,) = await asyncio.gather(renaming, return_exceptions=True)
            name = (await groups.call("GET", "/users/@me", ann)).json()["username"]
            assert await logs_in(groups, name)
            assert (name == f"name{step}") != (taken.status_code == 201)
            assert not isinstance(outcome, Exception) or isinstance(outcome, StarlingError | InvalidForm)
            if not fuse.reached.is_set():
                assert step > 15, "the fuse did not guard"
                return
    pytest.fail("a rename takes more steps than expected")


async def test_users_are_found_by_the_begin_of_their_names(groups: Replica, rival: Replica) -> None:
    """Folded, in order, page by page, each once; who is called otherwise now is found by the new name only."""
    names = ["Ann", "ANNA", "anna lee", "annä", "bob", "Ålan", "an", "zoë.1"]
    tokens = {name: (await groups.register(name))[0] for name in names}
    token = tokens["bob"]
    in_order = sorted((name for name in names if key_of_name(name).startswith("an")), key=key_of_name)
    assert await found(rival, token, "AN") == in_order
    assert await found(rival, token, "ann", limit=2) == [name for name in in_order if name != "an"][:2]
    page, seen = await found(groups, token, "an", limit=2), []
    while page:
        seen += page
        last = (await groups.groups.profiles.find(page[-1], 0, 1))[0].id
        page = await found(groups, token, "an", limit=2, after=last)
    assert seen == in_order
    assert await found(groups, token, "\u200dÅ") == ["Ålan"]
    assert await found(groups, token, "nobody") == []
    for regular in (".", "$", "^a", "a.*", "*"):
        assert await found(groups, token, regular) == []
    await change(groups, tokens["an"], username="changed")
    assert "an" not in await found(rival, token, "an")
    assert await found(rival, token, "chan") == ["changed"]


@pytest.mark.parametrize(
    "query", ["", "query=", "query=%20", "query=%E2%80%8D", f"query={'a' * 65}", "query=a&limit=0", "query=a&limit=101"]
)
async def test_a_search_is_bounded(groups: Replica, query: str) -> None:
    """Nothing to look for, too much of it, or too large a page: refused, and so is who has no token."""
    ann, _ = await groups.register("ann")
    assert error_of(await groups.call("GET", f"/users?{query}", ann)) == (400, 50035)
    assert error_of(await groups.call("GET", "/users?query=a")) == (401, 0)
