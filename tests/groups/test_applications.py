"""Applications and their bots: whose they are, what libraries ask of them, and how they end."""

from __future__ import annotations

from typing import Any

import pytest

from services.groups.bodies import ApplicationBody, NewApplicationBody
from services.groups.core.applications import MAX_APPLICATIONS
from shared.core.group_events import MemberRemoved
from shared.core.stream import group_stream, user_stream
from shared.core.user_events import UserRegistered
from tests.groups.test_rest import error_of, reasons_of
from tests.groups.world import PASSWORD, Replica, World

APPLICATION_INFO = {"id", "name", "icon", "description", "bot_public", "bot_require_code_grant", "verify_key", "owner"}
"""What discord.py breaks without."""


async def make(replica: Replica, token: str, name: str = "robot", **more: Any) -> tuple[str, int]:
    """Make an application; return its bot's token and id."""
    answer = await replica.call("POST", "/applications", token, {"name": name, **more})
    assert answer.status_code == 201, answer.text
    NewApplicationBody.model_validate(answer.json(), extra="forbid")
    assert answer.json()["id"] == answer.json()["bot"]["id"]
    return answer.json()["bot"]["token"], int(answer.json()["id"])


async def status_of(replica: Replica, token: str) -> int:
    """Return how a process that has not looked yet answers a token."""
    replica.groups.door.forget(replica.tokens.verify(token).user_id)
    return (await replica.call("GET", "/users/@me", token)).status_code


async def test_a_bot_is_a_user_that_says_so(world: World, groups: Replica, rival: Replica) -> None:
    """Its token opens doors with "Bot " before it; it is a bot in profiles, groups, sessions and its own stream."""
    ann, ann_id = await groups.register("ann")
    token, bot_id = await make(groups, ann, "robot", description="beep", owner_id="1", flags=0)
    own = (await rival.call("GET", "/users/@me", f"Bot {token}")).json()
    assert (own["id"], own["username"], own["bot"], own["bio"]) == (str(bot_id), "robot", True, "beep")
    assert (await rival.call("GET", f"/users/{bot_id}", ann)).json()["bot"] is True
    await groups.create_group(ann, "Room")
    joined = await groups.call("POST", "/guilds/join", f"Bot {token}", {"name": "Room"})
    room = joined.json()["id"]
    assert (await rival.call("GET", f"/guilds/{room}/members/{bot_id}", ann)).json()["user"]["bot"] is True
    view = await rival.read_session(bot_id)
    assert view.user.bot
    first = (await rival.groups.views.read_changes(user_stream(bot_id), 0, 1)).events[0].record.body
    assert isinstance(first, UserRegistered)
    assert (first.user.bot, first.owner) == (True, ann_id)


async def test_what_libraries_ask_at_start(groups: Replica) -> None:
    """Both routes tell the bot its application and owner; a person's token is told that only bots may ask."""
    ann, ann_id = await groups.register("ann")
    token, bot_id = await make(groups, ann)
    for path in ("/oauth2/applications/@me", "/applications/@me"):
        answer = await groups.call("GET", path, f"Bot {token}")
        ApplicationBody.model_validate(answer.json(), extra="forbid")
        assert answer.json().keys() >= APPLICATION_INFO
        assert (answer.json()["id"], answer.json()["owner"]["id"]) == (str(bot_id), str(ann_id))
        assert error_of(await groups.call("GET", path, ann)) == (403, 20002)
        assert error_of(await groups.call("GET", path)) == (401, 0)


async def test_only_its_owner_has_an_application(groups: Replica, rival: Replica) -> None:
    """The owner lists and reads it; for anyone else, the bot included, there is none, whatever is asked."""
    ann, _ = await groups.register("ann")
    bob, _ = await groups.register("bob")
    token, bot_id = await make(groups, ann)
    _, second = await make(rival, ann, "another")
    listed = (await rival.call("GET", "/applications", ann)).json()
    assert [int(one["id"]) for one in listed] == [bot_id, second]
    assert (await groups.call("GET", f"/applications/{bot_id}", ann)).json() == listed[0]
    assert (await groups.call("GET", "/applications", bob)).json() == []
    asked = [("GET", ""), ("DELETE", ""), ("POST", "/bot/reset")]
    for method, path in asked:
        assert error_of(await groups.call(method, f"/applications/{bot_id}{path}", bob)) == (404, 10002)
        assert error_of(await groups.call(method, f"/applications/4242{path}", ann)) == (404, 10002)
        assert error_of(await groups.call(method, f"/applications/{bot_id}{path}", token)) == (403, 20001)
        assert error_of(await groups.call(method, f"/applications/{bot_id}{path}")) == (401, 0)
    assert error_of(await groups.call("POST", "/applications", token, {"name": "mine"})) == (403, 20001)
    assert await status_of(rival, token) == 200


async def test_a_bot_has_no_password(groups: Replica) -> None:
    """Nobody logs in as a bot, and its token sets no password."""
    ann, _ = await groups.register("ann")
    token, _ = await make(groups, ann)
    for password in ("", PASSWORD):
        answer = await groups.call("POST", "/auth/login", body={"login": "robot", "password": password})
        assert reasons_of(answer, "login") == ["INVALID_LOGIN"]
        body = {"password": password, "new_password": PASSWORD}
        assert reasons_of(await groups.call("PATCH", "/users/@me", token, body), "password")
        assert reasons_of(await groups.call("POST", "/users/@me/delete", token, {"password": password}), "password")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "BASE_TYPE_REQUIRED"),
        ({"name": "x"}, "BASE_TYPE_BAD_LENGTH"),
        ({"name": "ANN"}, "USERNAME_ALREADY_TAKEN"),
        ({"name": {"$gt": ""}}, "STRING_TYPE_CONVERT"),
    ],
)
async def test_a_bots_name_is_a_username(groups: Replica, body: dict[str, Any], reason: str) -> None:
    """Nobody is impersonated by a bot: the name follows the rules of users and has one owner."""
    ann, _ = await groups.register("ann")
    assert reasons_of(await groups.call("POST", "/applications", ann, body), "name") == [reason]


async def test_a_token_is_reset(groups: Replica, rival: Replica) -> None:
    """The old tokens are out everywhere, the new one is good, as often as it is done."""
    ann, _ = await groups.register("ann")
    old, bot_id = await make(groups, ann)
    for replica in (rival, groups):
        answer = await replica.call("POST", f"/applications/{bot_id}/bot/reset", ann)
        new = answer.json()["token"]
        assert replica.tokens.verify(new).user_id == bot_id
        assert [await status_of(rival, token) for token in (old, new)] == [401, 200]
        old = new


async def test_how_many_there_may_be(groups: Replica) -> None:
    """One more than the limit is refused; another user is not concerned; a deleted one makes room."""
    ann, _ = await groups.register("ann")
    bob, _ = await groups.register("bob")
    ids = [(await make(groups, ann, f"bot {number}"))[1] for number in range(MAX_APPLICATIONS)]
    assert error_of(await groups.call("POST", "/applications", ann, {"name": "more"})) == (400, 0)
    await make(groups, bob, "more")
    assert (await groups.call("DELETE", f"/applications/{ids[3]}", ann)).status_code == 204
    await groups.groups.jobs.sweep()
    await make(groups, ann, "another")


async def test_a_deleted_application_is_gone(world: World, groups: Replica, rival: Replica) -> None:
    """The bot's token is out at once; it leaves its groups, and nothing of its name is left."""
    ann, _ = await groups.register("ann")
    token, bot_id = await make(groups, ann)
    room, _ = await groups.create_group(ann, "Room")
    await groups.call("POST", "/guilds/join", token, {"name": "Room"})
    await world.follow(f"g.{room}")
    assert (await rival.call("DELETE", f"/applications/{bot_id}", ann)).status_code == 204
    assert await status_of(groups, token) == 401
    await groups.groups.jobs.sweep()
    assert [type(body) for body in world.bodies_heard(group_stream(room))] == [MemberRemoved]
    assert (await groups.call("GET", "/applications", ann)).json() == []
    assert error_of(await groups.call("GET", f"/applications/{bot_id}", ann)) == (404, 10002)
    gone = (await groups.call("GET", f"/users/{bot_id}", ann)).json()
    assert (gone["username"], gone["bot"]) == (f"deleted_user_{bot_id}", True)
