"""Logout and change of password: what is revoked is out everywhere, and stays out, whoever races or dies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from services.groups.core.revoking import MAX_NAMED
from services.groups.memory_store import MemoryGroups
from shared.core.errors import InvalidForm, Unauthorized
from shared.core.revocation import Revocations
from shared.core.stream import user_stream
from shared.core.user_events import TokensRevoked
from shared.streams import StoreUnavailable
from tests.groups.fuse import Crash, Fuse, Moment
from tests.groups.test_rest import error_of, reasons_of
from tests.groups.world import PASSWORD, Replica, World, open_world

NEW_PASSWORD = "another battery staple"
MOST_STEPS = 80


async def log_in(replica: Replica, name: str = "ann", password: str = PASSWORD) -> str:
    """Return a new token."""
    answer = await replica.call("POST", "/auth/login", body={"login": name, "password": password})
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["token"]
    return token


async def is_good(replica: Replica, token: str) -> bool:
    """Whether a token opens a door of a process that has not looked yet."""
    replica.groups.door.forget(replica.tokens.verify(token).user_id)
    status = (await replica.call("GET", "/users/@me", token)).status_code
    assert status in (200, 401)
    return status == 200


async def revocations_of(replica: Replica, user_id: int) -> Revocations:
    """Return what is void, as a gateway reads it; the user's events must say the same."""
    view = await replica.read_session(user_id)
    told = Revocations()
    page = await replica.groups.views.read_changes(user_stream(user_id), 0, 100)
    for event in page.events:
        if isinstance(event.record.body, TokensRevoked):
            told = told.after(event.record.body)
    assert view.user_seq == page.events[-1].record.seq
    assert view.revocations == told
    return told


async def test_logout(world: World, groups: Replica, rival: Replica) -> None:
    """The token that says so is out at once here, and for who reads anew elsewhere; the user's others stay."""
    first, ann = await groups.register("ann")
    bob, _ = await groups.register("bob")
    second = await log_in(groups)
    await world.follow(f"u.{ann}")
    answer = await groups.call("POST", "/auth/logout", f"Bearer {first}", {"provider": None})
    assert (answer.status_code, answer.content) == (204, b"")
    assert error_of(await groups.call("GET", "/users/@me", first)) == (401, 0)
    assert error_of(await groups.call("POST", "/auth/logout", first)) == (401, 0)
    assert not await is_good(rival, first)
    assert [await is_good(rival, token) for token in (second, bob)] == [True, True]
    bearer = groups.tokens.verify(first)
    assert world.bodies_heard(user_stream(ann)) == [TokensRevoked(0, bearer.issued, bearer.fingerprint)]
    assert len((await revocations_of(rival, ann)).named) == 1


async def test_many_log_out_at_once(world: World, groups: Replica, rival: Replica) -> None:
    """Devices that log out together, on two replicas, are all out; the one that stays is not, whatever is forgotten."""
    _, ann = await groups.register("ann")
    tokens = []
    for _ in range(MAX_NAMED + 3):
        world.now += 1
        tokens.append(groups.tokens.mint(ann, world.now))
    world.now += 1
    staying = groups.tokens.mint(ann, world.now)
    bearers = [groups.tokens.verify(token) for token in tokens]
    await asyncio.gather(
        *((groups, rival)[place % 2].groups.accounts.logout(bearer) for place, bearer in enumerate(bearers))
    )
    told = await rival.groups.views.read_revocations(ann)
    assert all(told.void(bearer) for bearer in bearers)
    assert len(told.named) <= MAX_NAMED
    assert [await is_good(rival, token) for token in (tokens[0], tokens[-1], staying)] == [False, False, True]


async def test_change_password(world: World, groups: Replica, rival: Replica) -> None:
    """All tokens so far are out, the new one and the new password are good, the old password is not."""
    first, ann = await groups.register("ann")
    second = await log_in(rival)
    await world.follow(f"u.{ann}")
    answer = await groups.call(
        "PATCH", "/users/@me", first, {"password": PASSWORD, "new_password": NEW_PASSWORD, "unknown": 1}
    )
    assert answer.status_code == 200
    new = answer.json()["token"]
    assert (answer.json()["id"], answer.json()["username"]) == (str(ann), "ann")
    for replica in (groups, rival):
        assert [await is_good(replica, token) for token in (first, second, new)] == [False, False, True]
    refused = await groups.call("POST", "/auth/login", body={"login": "ann", "password": PASSWORD})
    assert reasons_of(refused, "login") == ["INVALID_LOGIN"]
    assert await is_good(rival, await log_in(rival, password=NEW_PASSWORD))
    assert [type(body) for body in world.bodies_heard(user_stream(ann))] == [TokensRevoked]
    await revocations_of(rival, ann)


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"password": "not this one", "new_password": NEW_PASSWORD}, "password", "PASSWORD_DOES_NOT_MATCH"),
        ({"password": PASSWORD, "new_password": "short"}, "new_password", "BASE_TYPE_BAD_LENGTH"),
        ({"password": PASSWORD}, "new_password", "BASE_TYPE_REQUIRED"),
        ({"new_password": NEW_PASSWORD}, "password", "BASE_TYPE_REQUIRED"),
        ({"password": {"$ne": ""}, "new_password": NEW_PASSWORD}, "password", "STRING_TYPE_CONVERT"),
    ],
)
async def test_a_refused_change_changes_nothing(groups: Replica, body: dict[str, Any], field: str, reason: str) -> None:
    """Who does not know the password, or wants none, is told so on the field; tokens and password stay."""
    token, ann = await groups.register("ann")
    assert reasons_of(await groups.call("PATCH", "/users/@me", token, body), field) == [reason]
    assert await groups.groups.views.read_revocations(ann) == Revocations()
    assert await is_good(groups, token)
    assert await is_good(groups, await log_in(groups))


async def test_guessing_a_password_has_a_budget(world: World) -> None:
    """A stolen token guesses no faster than a login: per address, before anything is hashed."""
    async with world.open_replica(per_minute=3) as replica:
        token, _ = await replica.register("ann")
        guess = {"password": "not this one", "new_password": NEW_PASSWORD}
        statuses = [(await replica.call("PATCH", "/users/@me", token, guess)).status_code for _ in range(3)]
        assert statuses == [400, 400, 429]
        assert replica.groups.accounts.hashes_in_hand == 0


async def test_a_clock_that_is_ahead(world: World, groups: Replica, rival: Replica) -> None:
    """A token that another replica issued by a clock far ahead goes with the others, and the new one is good."""
    first, _ = await groups.register("ann")
    world.now += 60_000
    ahead = await log_in(rival)
    world.now -= 60_000
    body = {"password": PASSWORD, "new_password": NEW_PASSWORD}
    new = (await groups.call("PATCH", "/users/@me", first, body)).json()["token"]
    later = await log_in(groups, password=NEW_PASSWORD)
    assert [await is_good(groups, token) for token in (first, ahead, new, later)] == [False, False, True, True]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_logins_race_a_change(world: World, moment: Moment) -> None:
    """Wherever a change of password stands still while somebody logs in with the old one: no such token is good after.

    And the other way about: a login that stands still while the password changes.
    """
    outcomes = set()
    async with world.open_replica() as quick:
        for step in range(1, MOST_STEPS):
            name = f"{moment}{step}"
            first, user = await quick.register(name)
            fuse = Fuse(step, moment, pauses=True)
            async with world.open_replica(fuse=fuse) as slow:
                change = asyncio.ensure_future(slow.groups.accounts.change_password(user, PASSWORD, NEW_PASSWORD))
                paused = await reached_or_done(fuse, change)
                old = [first]
                try:
                    old.append((await quick.groups.accounts.login(name, PASSWORD))[0])
                    world.now += 1
                    old.append((await quick.groups.accounts.login(name, PASSWORD))[0])
                except InvalidForm:
                    outcomes.add("refused")
                fuse.go_on.set()
                new, _ = await change
            assert [await is_good(quick, token) for token in old] == [False] * len(old)
            assert await is_good(quick, new)
            assert await is_good(quick, await log_in(quick, name, NEW_PASSWORD))
            if not paused:
                break
        else:
            pytest.fail("a change of password takes more steps than expected")
        assert outcomes == {"refused"}

        for step in range(1, MOST_STEPS):
            name = f"{moment}login{step}"
            _, user = await quick.register(name)
            fuse = Fuse(step, moment, pauses=True)
            async with world.open_replica(fuse=fuse) as slow:
                login = asyncio.ensure_future(slow.groups.accounts.login(name, PASSWORD))
                paused = await reached_or_done(fuse, login)
                new, _ = await quick.groups.accounts.change_password(user, PASSWORD, NEW_PASSWORD)
                fuse.go_on.set()
                (outcome,) = await asyncio.gather(login, return_exceptions=True)
            assert isinstance(outcome, InvalidForm) or not await is_good(quick, outcome[0])  # type: ignore[index]
            assert await is_good(quick, new)
            if not paused:
                return
        pytest.fail("a login takes more steps than expected")


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_change_that_dies(world: World, moment: Moment) -> None:
    """Whatever step it dies at: one password is good, and if it is the new one no old token is."""
    ends = set()
    async with world.open_replica() as healthy:
        for step in range(1, MOST_STEPS):
            name = f"{moment}{step}"
            first, user = await healthy.register(name)
            died = False
            async with world.open_replica(fuse=Fuse(step, moment)) as dying:
                try:
                    await dying.groups.accounts.change_password(user, PASSWORD, NEW_PASSWORD)
                except Crash:
                    died = True
            world.now += 1_500
            await healthy.groups.changes.sweep()
            good = []
            for password in (PASSWORD, NEW_PASSWORD):
                try:
                    good.append(await is_good(healthy, (await healthy.groups.accounts.login(name, password))[0]))
                except InvalidForm:
                    good.append(False)
            assert sorted(good) == [False, True]
            is_old_good = await is_good(healthy, first)
            ends.add((good[1], is_old_good))
            assert not (good[1] and is_old_good)
            if not died:
                assert ends == {(False, True), (False, False), (True, False)}
                return
    pytest.fail("a change of password takes more steps than expected")


async def test_a_logout_that_dies_is_finished(world: World) -> None:
    """A logout that was stored is told to every node by the sweeper, if its own process could not."""
    async with world.open_replica() as healthy:
        for step in range(1, MOST_STEPS):
            token, user = await healthy.register(f"user{step}")
            await world.follow(f"u.{user}")
            died = False
            async with world.open_replica(fuse=Fuse(step, "after")) as dying:
                try:
                    await dying.groups.accounts.logout(dying.tokens.verify(token))
                except Crash:
                    died = True
            world.now += 1_500
            await healthy.groups.changes.sweep()
            heard = [type(body) for body in world.bodies_heard(user_stream(user))]
            assert heard == ([] if await is_good(healthy, token) else [TokensRevoked])
            if not died:
                assert heard
                return
    pytest.fail("a logout takes more steps than expected")


async def test_with_the_bus_away_a_logout_is_no_answer(world: World, groups: Replica, rival: Replica) -> None:
    """Until the nodes can be told it is 503; the token is out all the same, and they are told later."""
    token, ann = await groups.register("ann")
    await world.follow(f"u.{ann}")
    world.bus.failing = 1
    assert error_of(await groups.call("POST", "/auth/logout", token)) == (503, 0)
    for replica in (groups, rival):
        with pytest.raises(Unauthorized):
            await replica.groups.door.admit(token)
    world.now += 1_500
    await rival.groups.changes.sweep()
    assert [type(body) for body in world.bodies_heard(user_stream(ann))] == [TokensRevoked]


class AwayGroups(MemoryGroups):
    """A group store that can't say what was revoked."""

    async def read_revocations(self, user_ids: Sequence[int]) -> dict[int, Revocations]:
        """Fail."""
        raise StoreUnavailable("told to fail")


async def test_with_the_database_away_nobody_comes_in() -> None:
    """Where it can't be read whether a token was revoked the answer is 503, not a guess."""
    async with open_world(store=AwayGroups()) as world, world.open_replica() as replica:
        token, _ = await replica.register("ann")
        assert error_of(await replica.call("GET", "/users/@me", token)) == (503, 0)


async def reached_or_done(fuse: Fuse, task: asyncio.Task[Any]) -> bool:
    """Wait until a task pauses at its fuse (True) or has ended."""
    reached = asyncio.create_task(fuse.reached.wait())
    await asyncio.wait((task, reached), return_when=asyncio.FIRST_COMPLETED)
    reached.cancel()
    return fuse.reached.is_set()
