"""What an attacker tries on accounts: fields that are not theirs, guessing, and telling accounts apart.

What is tried on every route alike is in `tests.groups.test_attacks`.
"""

from __future__ import annotations

from typing import Literal

import pytest
from argon2 import PasswordHasher

from services.groups.moderate import moderate
from tests.groups.test_applications import make
from tests.groups.test_rest import reasons_of
from tests.groups.world import PASSWORD, Replica, World


async def test_an_account_is_what_its_form_may_say(world: World, groups: Replica) -> None:
    """An account is a person's, active, with the names that it told, whatever else stands in the form."""
    more = {
        "id": "1", "bot": True, "owner": "5", "state": "blocked", "flags": 1, "public_flags": 1, "verified": False,
        "issued": 9, "password_hash": "x", "discriminator": "9999", "mfa_enabled": True, "gone": True, "token": "x",
    }  # fmt: skip
    made = await groups.call("POST", "/auth/register", body={"username": "ann", "password": PASSWORD, **more})
    token, user_id = made.json()["token"], int(made.json()["user"]["id"])
    changed = await groups.call("PATCH", "/users/@me", token, {"bio": "x", **more})
    assert changed.status_code == 200
    assert "token" not in changed.json()
    for told in (made.json()["user"], changed.json(), (await groups.call("GET", "/users/@me", token)).json()):
        assert (told["id"], told["bot"], told["flags"], told["public_flags"]) == (str(user_id), False, 0, 0)
        assert (told.get("verified", False), told["discriminator"], told["mfa_enabled"]) == (False, "0", False)
    account = await world.store.read_account(user_id)
    assert account is not None
    assert (account.state, account.password_hash[:9]) == ("active", "$argon2id")
    _, bot_id = await make(groups, token, "robot", bot=False, owner={"id": "1"}, verify_key="00", id="7")
    profile = await world.store.read_profile(bot_id)
    assert profile is not None
    assert (profile.owner, profile.user.bot) == (user_id, True)


async def test_a_stranger_is_told_nothing_that_is_not_public(groups: Replica) -> None:
    """Others see names, and of what is a user's own not even that it is there."""
    ann, ann_id = await groups.register("ann")
    bob, _ = await groups.register("bob")
    told = (await groups.call("GET", f"/users/{ann_id}", bob)).json()
    names = {"id", "username", "discriminator", "global_name", "avatar", "bot", "public_flags"}
    assert set(told) == names
    (found,) = (await groups.call("GET", "/users?query=ann", bob)).json()
    assert set(found) == names
    assert set((await groups.call("GET", f"/users/{ann_id}/profile", bob)).json()["user"]) == names
    _, bot_id = await make(groups, ann)
    others = await groups.call("GET", f"/applications/{bot_id}", bob)
    nobodys = await groups.call("GET", "/applications/4242", bob)
    assert (others.status_code, others.content) == (nobodys.status_code, nobodys.content)


class Counted(PasswordHasher):
    """A hasher that counts: hashing is the only thing in a login that takes time."""

    verified = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 (its name there)
        """Verify one more."""
        self.verified += 1
        return super().verify(hash, password)


@pytest.mark.parametrize("login", ["ann", "nobody", "robot", "gone", "former", "blocked", "", "x" * 900, "@everyone"])
async def test_a_login_costs_the_same_and_says_the_same_whoever_it_names(
    world: World, groups: Replica, login: str
) -> None:
    """One hash, one answer: for a person, a bot, nobody, who was deleted or renamed, and what is no name at all."""
    ann, _ = await groups.register("ann")
    await make(groups, ann, "robot")
    former, _ = await groups.register("former")
    await groups.call("PATCH", "/users/@me", former, {"username": "renamed"})
    gone, _ = await groups.register("gone")
    await groups.call("POST", "/users/@me/delete", gone, {"password": PASSWORD})
    await groups.register("blocked")
    await moderate(world.store, "block", "blocked", world.now)
    await groups.groups.jobs.sweep()
    hasher = Counted(time_cost=1, memory_cost=8, parallelism=1)
    async with world.open_replica(hasher=hasher) as replica:
        bodies = [{"login": name, "password": "not this one"} for name in ("surely nobody", login)]
        answers = [await replica.call("POST", "/auth/login", body=body) for body in bodies]
    assert reasons_of(answers[1], "login") == ["INVALID_LOGIN"]
    assert answers[0].content == answers[1].content
    assert hasher.verified == 2


async def test_many_machines_share_the_budget_of_the_account_that_they_attack(world: World) -> None:
    """Whether or not there is such an account; other accounts can log in meanwhile."""
    async with world.open_replica(per_minute=3) as replica:
        await replica.register("ann")
        for login in ("ann", "nobody"):
            statuses = []
            for number in range(5):
                body = {"login": (login, login.upper())[number % 2], "password": "wrong password"}
                answer = await replica.call("POST", "/auth/login", body=body, address=f"198.51.100.{number}")
                statuses.append(answer.status_code)
            assert statuses == [400, 400, 400, 429, 429]
        body = {"login": "somebody", "password": "wrong password"}
        answer = await replica.call("POST", "/auth/login", body=body, address="198.51.100.77")
        assert answer.status_code == 400
