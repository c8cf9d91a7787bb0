"""The end of accounts: deleted by their owners, blocked by operators; nothing of them opens a door any more."""

from __future__ import annotations

import asyncio

import pytest

from services.groups.jobs import LEASE_MS, UNSURE_MS
from services.groups.leaving import RESERVED_MS
from services.groups.moderate import Refused, moderate
from shared.core.group_events import MemberRemoved
from shared.core.stream import group_stream, user_stream
from shared.core.user_events import GroupLeft, TokensRevoked, UserChanged
from tests.groups.fuse import Crash, Fuse, Moment
from tests.groups.test_applications import make, status_of
from tests.groups.test_blocks import refusal_of
from tests.groups.test_rest import error_of, reasons_of
from tests.groups.world import PASSWORD, Replica, World, open_world

MOST_STEPS = 150


async def delete(replica: Replica, token: str, password: str = PASSWORD) -> int:
    """Delete the caller's account; return the status."""
    return (await replica.call("POST", "/users/@me/delete", token, {"password": password})).status_code


async def log_in(replica: Replica, name: str) -> tuple[int, int]:
    """Log in; return status and code, (200, 0) if it works."""
    answer = await replica.call("POST", "/auth/login", body={"login": name, "password": PASSWORD})
    return (200, 0) if answer.status_code == 200 else error_of(answer)


async def test_an_account_is_deleted_by_who_knows_its_password(world: World, groups: Replica, rival: Replica) -> None:
    """All its tokens are out when this is answered, and it logs in no more; then groups hear that it left."""
    ann, ann_id = await groups.register("ann")
    bob, _ = await groups.register("bob")
    room, _ = await groups.create_group(bob, "Room")
    await groups.call("POST", "/guilds/join", ann, {"name": "Room"})
    await groups.call("POST", "/users/@me/channels", bob, {"recipient_id": str(ann_id)})
    bot, _ = await make(groups, ann)
    second = (await rival.call("POST", "/auth/login", body={"login": "ann", "password": PASSWORD})).json()["token"]
    await world.follow(f"u.{ann_id}", f"g.{room}")
    assert await delete(groups, ann, "not this one") == 400
    assert await status_of(rival, ann) == 200
    assert await delete(groups, ann) == 204
    assert [await status_of(rival, token) for token in (ann, second)] == [401, 401]
    assert [type(body) for body in world.bodies_heard(user_stream(ann_id))] == [TokensRevoked]
    assert await log_in(rival, "ann") == (400, 50035)
    assert await rival.groups.jobs.sweep() >= 1
    await rival.groups.jobs.sweep()
    assert await status_of(groups, bot) == 401
    heard = world.bodies_heard(user_stream(ann_id))
    assert [type(body) for body in heard] == [TokensRevoked, UserChanged, GroupLeft]
    assert [type(body) for body in world.bodies_heard(group_stream(room))] == [MemberRemoved]
    assert (await groups.call("GET", f"/users/{ann_id}", bob)).json()["username"] == f"deleted_user_{ann_id}"
    assert error_of(await groups.call("GET", f"/guilds/{room}/members/{ann_id}", bob)) == (404, 10007)
    (direct,) = (await groups.call("GET", "/users/@me/channels", bob)).json()
    assert direct["recipients"][0]["username"] == f"deleted_user_{ann_id}"
    found = await groups.http.get("/api/v10/users?query=ann", headers={"Authorization": bob})
    assert found.json() == []
    assert (await groups.http.get("/api/v10/users?query=deleted", headers={"Authorization": bob})).json() == []


async def test_the_name_of_a_deleted_account_rests(world: World, groups: Replica) -> None:
    """Nobody is taken for who was called so a moment ago: the name is free after 30 days."""
    ann, _ = await groups.register("ann")
    world.now += 61_000
    assert await delete(groups, ann) == 204
    await groups.groups.jobs.sweep()
    for wait in (0, RESERVED_MS - 1000):
        world.now += wait
        answer = await groups.call("POST", "/auth/register", body={"username": "Ann", "password": PASSWORD})
        assert reasons_of(answer, "username") == ["USERNAME_ALREADY_TAKEN"]
    world.now += 1000
    await groups.register("Ann")


async def test_nobody_writes_to_who_is_gone(groups: Replica) -> None:
    """No direct channel is opened, and one that is there is closed when it is opened again; what was said stays."""
    ann, ann_id = await groups.register("ann")
    bob, bob_id = await groups.register("bob")
    eve, _ = await groups.register("eve")
    channel = (await groups.call("POST", "/users/@me/channels", bob, {"recipient_id": str(ann_id)})).json()["id"]
    await delete(groups, ann)
    await groups.groups.jobs.sweep()
    answer = await groups.call("POST", "/users/@me/channels", eve, {"recipient_id": str(ann_id)})
    assert error_of(answer) == (403, 50007)
    again = await groups.call("POST", "/users/@me/channels", bob, {"recipient_id": str(ann_id)})
    assert (again.status_code, again.json()["id"]) == (200, channel)
    assert await refusal_of(groups, int(channel), bob_id) == "CannotMessageUser"


async def test_who_owns_groups_hands_them_over_first(groups: Replica) -> None:
    """The refusal is Discord's, and nothing happened."""
    ann, _ = await groups.register("ann")
    await groups.create_group(ann, "Room")
    answer = await groups.call("POST", "/users/@me/delete", ann, {"password": PASSWORD})
    assert error_of(answer) == (400, 40011)
    assert (await status_of(groups, ann), await log_in(groups, "ann")) == (200, (200, 0))


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_deletion_that_dies_anywhere_is_finished_or_did_not_happen(moment: Moment) -> None:
    """Whatever step it dies at: the account is there as before, or nothing of it is left in groups and names."""
    for step in range(1, MOST_STEPS):
        async with open_world() as world, world.open_replica() as healthy:
            ann, ann_id = await healthy.register("ann")
            bob, _ = await healthy.register("bob")
            room, _ = await healthy.create_group(bob, "Room")
            await healthy.call("POST", "/guilds/join", ann, {"name": "Room"})
            died = False
            async with world.open_replica(fuse=Fuse(step, moment)) as dying:
                try:
                    await dying.groups.leaving.delete_own(ann_id, PASSWORD)
                    await dying.groups.jobs.sweep()
                except Crash:
                    died = True
            world.now += UNSURE_MS + LEASE_MS + 1
            await healthy.groups.changes.sweep()
            await healthy.groups.jobs.sweep()
            account = await world.store.read_account(ann_id)
            member = await world.store.read_member(room, ann_id)
            profile = await world.store.read_profile(ann_id)
            assert account is not None
            assert member is not None
            assert profile is not None
            gone = account.state == "deleted"
            assert (member.member is None, profile.gone, await status_of(healthy, ann) == 401) == (gone,) * 3
            assert await world.store.find_jobs(world.now + LEASE_MS * 2, 10) == []
            if not died:
                assert gone
                assert step > 20, "the fuse did not guard"
                return
    pytest.fail("a deletion takes more steps than expected")


async def test_a_blocked_account_is_out_and_stays_out(world: World, groups: Replica, rival: Replica) -> None:
    """Tokens of the account and its bots are void, who knows the password is told why; unblocked it logs in again."""
    ann, ann_id = await groups.register("ann")
    bot, bot_id = await make(groups, ann)
    bob, _ = await groups.register("bob")
    await world.follow(f"u.{ann_id}", f"u.{bot_id}")
    told = await moderate(world.store, "block", "ANN", world.now)
    assert told == f"{ann_id}  ann  person  blocked"
    await rival.groups.jobs.sweep()
    assert [await status_of(groups, token) for token in (ann, bot, bob)] == [401, 401, 200]
    for user_id in (ann_id, bot_id):
        assert [type(body) for body in world.bodies_heard(user_stream(user_id))] == [TokensRevoked]
    assert await log_in(rival, "ann") == (403, 20013)
    wrong = await rival.call("POST", "/auth/login", body={"login": "ann", "password": "not this one"})
    assert reasons_of(wrong, "login") == ["INVALID_LOGIN"]
    assert await moderate(world.store, "show", str(bot_id), world.now) == f"{bot_id}  robot  bot of {ann_id}  blocked"
    await moderate(world.store, "unblock", str(ann_id), world.now)
    token = (await rival.call("POST", "/auth/login", body={"login": "ann", "password": PASSWORD})).json()["token"]
    assert [await status_of(groups, one) for one in (token, ann, bot)] == [200, 401, 401]
    assert (await groups.call("POST", f"/applications/{bot_id}/bot/reset", token)).status_code == 200


async def test_a_login_that_races_with_a_block_gives_no_good_token(world: World, groups: Replica) -> None:
    """Whatever step of a login the block falls into: what it gave, if anything, is void."""
    await groups.register("ann")
    for step in range(1, MOST_STEPS):
        fuse = Fuse(step, "before", pauses=True)
        async with world.open_replica(fuse=fuse) as slow:
            logging_in = asyncio.create_task(slow.groups.accounts.login("ann", PASSWORD))
            reached = asyncio.create_task(fuse.reached.wait())
            await asyncio.wait((logging_in, reached), return_when=asyncio.FIRST_COMPLETED)
            reached.cancel()
            await moderate(world.store, "block", "ann", world.now)
            await groups.groups.jobs.sweep()
            fuse.go_on.set()
            (outcome,) = await asyncio.gather(logging_in, return_exceptions=True)
            if not isinstance(outcome, BaseException):
                assert await status_of(groups, outcome[0]) == 401
            await moderate(world.store, "unblock", "ann", world.now)
            world.now += 1000
            if not fuse.reached.is_set():
                assert step > 3, "the fuse did not guard"
                return
    pytest.fail("a login takes more steps than expected")


async def test_an_operator_deletes_an_account(world: World, groups: Replica) -> None:
    """As its owner could; who owns groups is not, and what is deleted comes back by no command."""
    ann, ann_id = await groups.register("ann")
    bob, _ = await groups.register("bob")
    await groups.create_group(bob, "Room")
    with pytest.raises(Refused, match="Room"):
        await moderate(world.store, "delete", "bob", world.now)
    with pytest.raises(Refused, match="no account"):
        await moderate(world.store, "show", "nobody", world.now)
    await moderate(world.store, "delete", "ann", world.now)
    await groups.groups.jobs.sweep()
    assert [await status_of(groups, token) for token in (ann, bob)] == [401, 200]
    assert (await moderate(world.store, "unblock", str(ann_id), world.now)).endswith("deleted")
    with pytest.raises(Refused, match="deleted"):
        await moderate(world.store, "block", str(ann_id), world.now)
    with pytest.raises(Refused, match="no account"):
        await moderate(world.store, "block", "ann", world.now)
