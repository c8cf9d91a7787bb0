"""The REST routes of the groups service, each for each kind of caller."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.routing import APIRoute

from services.groups.app import router
from services.groups.bodies import ChannelBody, GuildBody, GuildSummaryBody, MemberBody, OwnUserBody
from shared.http_bodies import UserBody
from tests.groups.world import PASSWORD, Replica, World

NOBODY = 4242


def error_of(answer: Any) -> tuple[int, int]:
    """Return status and Discord's code of an error; its shape is checked."""
    body = answer.json()
    assert set(body) <= {"code", "message", "errors", "retry_after", "global"}
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, body["code"]


def reasons_of(answer: Any, field: str) -> list[str]:
    """Return the codes of what is wrong with a field of the form."""
    assert error_of(answer) == (400, 50035)
    return [reason["code"] for reason in answer.json()["errors"][field]["_errors"]]


async def test_register_then_log_in(groups: Replica) -> None:
    """An account gives a token at registration and at login, both of the same user, name kept as typed."""
    body = {"username": "Ann Lee", "password": PASSWORD, "unknown": [1]}
    made = await groups.call("POST", "/auth/register", body=body)
    assert made.status_code == 201
    OwnUserBody.model_validate(made.json()["user"], extra="forbid")
    assert made.json()["user"]["username"] == "Ann Lee"
    for login in ("Ann Lee", "ann lee", "ANN LEE"):
        answer = await groups.call("POST", "/auth/login", body={"login": login, "password": PASSWORD})
        assert answer.status_code == 200
        assert answer.json()["user"] == made.json()["user"]
        assert str(groups.tokens.verify(answer.json()["token"]).user_id) == made.json()["user"]["id"]


async def test_a_username_has_one_owner(groups: Replica) -> None:
    """The same name in another case, width or with an invisible letter is taken, and told so on its field."""
    await groups.register("ann")
    for name in ("ann", "ANN", "\uff41nn", " ann "):
        answer = await groups.call("POST", "/auth/register", body={"username": name, "password": PASSWORD})
        assert reasons_of(answer, "username") == ["USERNAME_ALREADY_TAKEN"]


async def test_an_unknown_user_and_a_wrong_password_look_alike(groups: Replica) -> None:
    """A login tells nothing about whether there is such an account."""
    await groups.register("ann")
    wrong = await groups.call("POST", "/auth/login", body={"login": "ann", "password": "not this one"})
    unknown = await groups.call("POST", "/auth/login", body={"login": "bob", "password": "not this one"})
    assert reasons_of(wrong, "login") == ["INVALID_LOGIN"]
    assert wrong.status_code == unknown.status_code
    assert wrong.content == unknown.content


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/auth/register", {"username": "a", "password": PASSWORD}, "username"),
        ("/auth/register", {"username": "a" * 33, "password": PASSWORD}, "username"),
        ("/auth/register", {"username": "a" * 5000, "password": PASSWORD}, "username"),
        ("/auth/register", {"username": "a\u200bb\u202e", "password": PASSWORD}, "username"),
        ("/auth/register", {"username": "everyone", "password": PASSWORD}, "username"),
        ("/auth/register", {"username": 12345, "password": PASSWORD}, "username"),
        ("/auth/register", {"username": None, "password": PASSWORD}, "username"),
        ("/auth/register", {"username": "ann", "password": "short"}, "password"),
        ("/auth/register", {"username": "ann", "password": "x" * 257}, "password"),
        ("/auth/register", {"username": "ann"}, "password"),
        ("/auth/login", {"login": ["ann"], "password": PASSWORD}, "login"),
        ("/auth/login", {"login": "ann", "password": {"$ne": ""}}, "password"),
        ("/guilds", {"name": "x"}, "name"),
        ("/guilds", {"name": "x" * 101}, "name"),
        ("/guilds", {"name": "\u200d\u200d\u200d"}, "name"),
        ("/guilds", {"name": "room", "public": "yes"}, "public"),
        ("/guilds/join", {"name": {"$gt": ""}}, "name"),
        ("/users/@me/channels", {}, "recipient_id"),
        ("/users/@me/channels", {"recipient_id": "abc"}, "recipient_id"),
        ("/users/@me/channels", {"recipient_id": -1}, "recipient_id"),
        ("/users/@me/channels", {"recipient_id": 2**63}, "recipient_id"),
        ("/users/@me/channels", {"recipient_id": True}, "recipient_id"),
        ("/users/@me/channels", {"recipients": []}, "recipients"),
    ],
)
async def test_a_malformed_field_is_named(groups: Replica, path: str, body: dict[str, Any], field: str) -> None:
    """Whatever is wrong with a field is a 400 that names it, in Discord's shape, and never a 500."""
    token, _ = await groups.register("caller")
    answer = await groups.call("POST", path, token, body)
    assert reasons_of(answer, field)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/users/@me"),
        ("PATCH", "/users/@me"),
        ("POST", "/auth/logout"),
        ("GET", "/users?query=a"),
        ("POST", "/users/@me/delete"),
        ("GET", "/users/@me/relationships"),
        ("PUT", "/users/@me/relationships/1"),
        ("DELETE", "/users/@me/relationships/1"),
        ("PUT", "/users/@me/email"),
        ("POST", "/auth/verify"),
        ("POST", "/auth/verify/resend"),
        ("GET", "/applications"),
        ("POST", "/applications"),
        ("GET", "/applications/1"),
        ("DELETE", "/applications/1"),
        ("POST", "/applications/1/bot/reset"),
        ("GET", "/applications/@me"),
        ("GET", "/oauth2/applications/@me"),
        ("GET", "/users/1"),
        ("GET", "/users/1/profile"),
        ("GET", "/users/@me/channels"),
        ("POST", "/users/@me/channels"),
        ("GET", "/users/@me/guilds"),
        ("DELETE", "/users/@me/guilds/1"),
        ("POST", "/guilds"),
        ("POST", "/guilds/join"),
        ("GET", "/guilds/1"),
        ("GET", "/guilds/1/channels"),
        ("POST", "/guilds/1/channels"),
        ("GET", "/guilds/1/members"),
        ("GET", "/guilds/1/members/1"),
        ("GET", "/channels/1"),
    ],
)
async def test_every_other_route_needs_a_token(groups: Replica, method: str, path: str) -> None:
    """Without a token, or with a forged one, there is nothing but a 401."""
    assert error_of(await groups.call(method, path, body={"name": "room"} if method == "POST" else None)) == (401, 0)
    assert error_of(await groups.call(method, path, "MQ.x.y", {"name": "room"} if method == "POST" else None)) == (
        401,
        0,
    )


async def test_a_token_outlives_its_database(groups: Replica) -> None:
    """A good token of a user that is not there (any more) is a 401 where the caller itself matters."""
    token = groups.tokens.mint(NOBODY, 1)
    for method, path, body in (
        ("GET", "/users/@me", None),
        ("POST", "/guilds", {"name": "room"}),
        ("POST", "/users/@me/channels", {"recipient_id": "1"}),
    ):
        assert error_of(await groups.call(method, path, token, body)) == (401, 0)


async def test_users_see_each_other(groups: Replica) -> None:
    """Oneself with the private fields, others without; an unknown user is a 404 with Discord's code."""
    ann, ann_id = await groups.register("ann")
    _, bob_id = await groups.register("bob")
    OwnUserBody.model_validate((await groups.call("GET", "/users/@me", ann)).json(), extra="forbid")
    bob = (await groups.call("GET", f"/users/{bob_id}", f"Bot {ann}")).json()
    UserBody.model_validate(bob, extra="forbid")
    assert (bob["id"], bob["username"]) == (str(bob_id), "bob")
    assert error_of(await groups.call("GET", f"/users/{NOBODY}", ann)) == (404, 10013)
    assert error_of(await groups.call("GET", "/users/x", ann)) == (400, 50035)
    assert (await groups.call("GET", f"/users/{ann_id}", f"Bearer {ann}")).status_code == 200


async def test_a_group_begins_with_a_channel_and_its_owner(groups: Replica) -> None:
    """A new group has one text channel and one member, and its owner sees it everywhere at once."""
    ann, ann_id = await groups.register("ann")
    group, channel = await groups.create_group(ann, "Room")
    got = (await groups.call("GET", f"/guilds/{group}", ann)).json()
    GuildBody.model_validate(got)
    assert (got["name"], got["owner_id"], got["public"]) == ("Room", str(ann_id), True)
    channels = (await groups.call("GET", f"/guilds/{group}/channels", ann)).json()
    ChannelBody.model_validate(channels[0], extra="forbid")
    assert [(one["id"], one["name"], one["type"], one["last_seq"]) for one in channels] == [
        (str(channel), "general", 0, 0)
    ]
    members = (await groups.call("GET", f"/guilds/{group}/members", ann)).json()
    MemberBody.model_validate(members[0], extra="forbid")
    assert [member["user"]["username"] for member in members] == ["ann"]
    mine = (await groups.call("GET", "/users/@me/guilds", ann)).json()
    GuildSummaryBody.model_validate(mine[0], extra="forbid")
    assert [(one["id"], one["owner"]) for one in mine] == [(str(group), True)]


async def test_join_and_leave(groups: Replica) -> None:
    """A public group is joined by its name, again without effect, and left; then it is closed to who left."""
    ann, _ = await groups.register("ann")
    bob, bob_id = await groups.register("bob")
    group, channel = await groups.create_group(ann, "Room")
    for name in ("room", "ROOM"):
        joined = await groups.call("POST", "/guilds/join", bob, {"name": name})
        assert joined.status_code == 200
        assert joined.json()["id"] == str(group)
    assert (await groups.call("GET", f"/channels/{channel}", bob)).status_code == 200
    member = await groups.call("GET", f"/guilds/{group}/members/{bob_id}", ann)
    assert member.json()["user"]["username"] == "bob"
    for _ in range(2):
        assert (await groups.call("DELETE", f"/users/@me/guilds/{group}", bob)).status_code == 204
    assert error_of(await groups.call("GET", f"/channels/{channel}", bob)) == (403, 50001)
    assert error_of(await groups.call("GET", f"/guilds/{group}/members/{bob_id}", ann)) == (404, 10007)
    assert (await groups.call("GET", "/users/@me/guilds", bob)).json() == []
    assert (await groups.call("POST", "/guilds/join", bob, {"name": "room"})).status_code == 200
    assert len((await groups.call("GET", f"/guilds/{group}/members", bob)).json()) == 2


async def test_who_is_not_in_a_group_sees_none(groups: Replica) -> None:
    """For all others each door of a group says "Unknown Guild", as if there were none."""
    ann, ann_id = await groups.register("ann")
    eve, _ = await groups.register("eve")
    group, channel = await groups.create_group(ann, "Room", public=False)
    for one in (group, NOBODY):
        for method, path in (
            ("GET", f"/guilds/{one}"),
            ("GET", f"/guilds/{one}/channels"),
            ("POST", f"/guilds/{one}/channels"),
            ("GET", f"/guilds/{one}/members"),
            ("GET", f"/guilds/{one}/members/{ann_id}"),
            ("DELETE", f"/users/@me/guilds/{one}"),
        ):
            body = {"name": "more"} if method == "POST" else None
            assert error_of(await groups.call(method, path, eve, body)) == (404, 10004)
    assert error_of(await groups.call("GET", f"/channels/{channel}", eve)) == (403, 50001)
    assert error_of(await groups.call("GET", f"/channels/{NOBODY}", eve)) == (404, 10003)
    assert error_of(await groups.call("POST", "/guilds/join", eve, {"name": "Room"})) == (404, 10004)


async def test_only_the_owner_adds_channels_and_stays(groups: Replica) -> None:
    """The owner adds channels and may not leave; a member may leave and adds none."""
    ann, _ = await groups.register("ann")
    bob, _ = await groups.register("bob")
    group, _ = await groups.create_group(ann, "Room")
    await groups.call("POST", "/guilds/join", bob, {"name": "Room"})
    added = await groups.call("POST", f"/guilds/{group}/channels", ann, {"name": "second", "type": 0})
    assert added.status_code == 201
    ChannelBody.model_validate(added.json(), extra="forbid")
    assert error_of(await groups.call("POST", f"/guilds/{group}/channels", bob, {"name": "third"})) == (403, 50013)
    assert error_of(await groups.call("DELETE", f"/users/@me/guilds/{group}", ann)) == (403, 50013)
    names = [one["name"] for one in (await groups.call("GET", f"/guilds/{group}/channels", bob)).json()]
    assert names == ["general", "second"]


async def test_public_names_are_unique_private_ones_not(groups: Replica) -> None:
    """Two public groups never share a name, whatever its case; private groups are called as they like."""
    ann, _ = await groups.register("ann")
    await groups.create_group(ann, "Room")
    answer = await groups.call("POST", "/guilds", ann, {"name": "rOOm", "public": True})
    assert reasons_of(answer, "name") == ["GUILD_NAME_ALREADY_TAKEN"]
    await groups.create_group(ann, "Room", public=False)


async def test_direct_channels(groups: Replica) -> None:
    """Two users have one direct channel, whoever asks and however often; nobody else knows of it."""
    ann, ann_id = await groups.register("ann")
    bob, bob_id = await groups.register("bob")
    eve, _ = await groups.register("eve")
    opened = await groups.call("POST", "/users/@me/channels", ann, {"recipient_id": bob_id})
    assert opened.status_code == 200
    ChannelBody.model_validate(opened.json(), extra="forbid")
    channel = opened.json()["id"]
    assert opened.json()["type"] == 1
    assert opened.json()["last_seq"] == 1
    assert opened.json()["last_message_id"] is None
    assert [user["id"] for user in opened.json()["recipients"]] == [str(bob_id)]
    again = await groups.call("POST", "/users/@me/channels", bob, {"recipients": [str(ann_id)]})
    assert again.json()["id"] == channel
    assert [user["id"] for user in again.json()["recipients"]] == [str(ann_id)]
    for token in (ann, bob):
        assert [one["id"] for one in (await groups.call("GET", "/users/@me/channels", token)).json()] == [channel]
        assert (await groups.call("GET", f"/channels/{channel}", token)).status_code == 200
    assert error_of(await groups.call("GET", f"/channels/{channel}", eve)) == (404, 10003)
    assert (await groups.call("GET", "/users/@me/channels", eve)).json() == []


async def test_with_whom_no_direct_channel_is_possible(groups: Replica) -> None:
    """Not with oneself, not with who does not exist, not with nobody."""
    ann, ann_id = await groups.register("ann")
    assert error_of(await groups.call("POST", "/users/@me/channels", ann, {"recipient_id": str(ann_id)})) == (
        403,
        50007,
    )
    assert error_of(await groups.call("POST", "/users/@me/channels", ann, {"recipient_id": NOBODY})) == (404, 10013)
    answer = await groups.call("POST", "/users/@me/channels", ann, {"recipients": []})
    assert reasons_of(answer, "recipients") == ["BASE_TYPE_BAD_LENGTH"]


async def test_lists_come_in_pages(groups: Replica) -> None:
    """Guilds and members are listed by id, from any place, as many as asked for; absurd limits are refused."""
    ann, ann_id = await groups.register("ann")
    ids = [str((await groups.create_group(ann, f"Room {number}"))[0]) for number in range(4)]

    async def list_ids(query: str) -> list[str]:
        return [one["id"] for one in (await groups.call("GET", f"/users/@me/guilds?{query}", ann)).json()]

    assert await list_ids("limit=200") == ids
    assert await list_ids("after=0&limit=3") == ids[:3]
    assert await list_ids(f"after={ids[1]}&limit=1") == ids[2:3]
    assert await list_ids(f"before={ids[3]}&limit=2") == ids[1:3]
    for query in ("limit=0", "limit=201", "limit=x", "after=x", "before=-1"):
        assert error_of(await groups.call("GET", f"/users/@me/guilds?{query}", ann)) == (400, 50035)
    for name in ("bob", "eve"):
        token, _ = await groups.register(name)
        await groups.call("POST", "/guilds/join", token, {"name": "Room 0"})
    page = (await groups.call("GET", f"/guilds/{ids[0]}/members?after={ann_id}&limit=1", ann)).json()
    assert [member["user"]["username"] for member in page] == ["bob"]
    assert error_of(await groups.call("GET", f"/guilds/{ids[0]}/members?limit=1001", ann)) == (400, 50035)


async def test_an_address_has_a_budget(world: World) -> None:
    """Guessing is slowed down: over the budget of its address a login is a 429 that says when to come back."""
    async with world.open_replica(per_minute=3) as replica:
        await replica.register("ann")
        statuses = []
        for _ in range(4):
            answer = await replica.call("POST", "/auth/login", body={"login": "ann", "password": "wrong password"})
            statuses.append(answer.status_code)
        assert statuses == [400, 400, 429, 429]
        assert 0 < answer.json()["retry_after"] <= 60
        assert "Retry-After" in answer.headers


async def test_the_document_tells_every_route(groups: Replica) -> None:
    """The OpenAPI document has each route with its answer's and its errors' shape, and the token scheme."""
    document = (await groups.http.get("/openapi.json")).json()
    routes = {path: methods for path, methods in document["paths"].items() if path.startswith("/api/v10")}
    assert routes.keys() == {route.path for route in router.routes if isinstance(route, APIRoute)}
    open_to_all = {f"/api/v10/auth/{name}" for name in ("login", "register", "forgot", "reset")}
    open_to_all.add("/api/v10/webhooks/{webhook_id}/{token}")  # the path has what lets one in
    for path, methods in routes.items():
        for operation in methods.values():
            assert {"4XX", "5XX"} <= set(operation["responses"])
            assert ("security" in operation) == (path not in open_to_all)
