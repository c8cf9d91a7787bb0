"""Each route of the groups service against an attacker, from its OpenAPI document: so a new one is attacked, too.

The attacker owns a group and whatever can be owned, so that nothing is refused for want of rights over one's own; the
victim owns as much, in which the attacker is nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from services.groups.app import router
from services.groups.core.invites import CODE_LENGTH, CODE_LETTERS
from services.groups.moderate import moderate
from shared.auth import Tokens
from tests.attacks import FORGED, TEXTS, Route, picture, privileged, routes_of
from tests.groups.test_applications import make
from tests.groups.world import PASSWORD, Json, Replica, World, open_world

ROUTES = routes_of(router)
UNKNOWN = {"token": "x" * 68, "code": "unknownC"}
OPEN = {
    "GET /users/{user_id}": "profiles are public",
    "GET /users/{user_id}/profile": "profiles are public",
    "PUT /users/@me/relationships/{user_id}": "anybody can be blocked",
    "DELETE /users/@me/relationships/{user_id}": "nobody is told whether there was a block",
    "PUT /guilds/{guild_id}/bans/{user_id}": "who is not there can be kept out",
    "PUT /guilds/{guild_id}/members/{user_id}": "who manages a group adds users",
    "PUT /channels/{channel_id}/recipients/{user_id}": "who is in a group DM adds users",
    "GET /applications/{application_id}/emojis": "there are none, whosever it is",
    "GET /invites/{code}": "the code is the right to it",
    "POST /invites/{code}": "the code is the right to it",
}
"""Where another's id is as good as one's own, and why; a user is nobody's object."""
TOLD_APART = {
    50001: "a channel that one may not see, as Discord tells it",
    10004: "an invite: its code tells its group",
}
OF_USERS = ("recipient_id", "recipients", "user_ids")
WITHOUT_TOKEN = {
    "POST /auth/register",
    "POST /auth/login",
    "POST /auth/forgot",
    "POST /auth/reset",
    *(f"{method} /webhooks/{{webhook_id}}/{{token}}" for method in ("GET", "PATCH", "DELETE")),
}
WITHOUT_MAIL = {
    "PUT /users/@me/email",
    "POST /auth/verify",
    "POST /auth/verify/resend",
    "POST /auth/forgot",
    "POST /auth/reset",
}
"""Refused where nothing sends mail; tests/groups/test_emails.py has them with mail."""


@dataclass
class Estate:
    """What somebody owns, by the names of path parameters; and who acts on it."""

    tokens: dict[str, str]
    ids: dict[str, str]
    direct: str
    spare: dict[str, str] = field(default_factory=dict)

    def of(self, route: Route) -> dict[str, str]:
        """Return the values of a route's parameters."""
        ids = dict(self.ids)
        if "recipients" in route.template:
            ids["channel_id"] = self.direct
        if "/bans/" in route.template:
            ids["user_id"] = self.spare["banned"]
        if route.method == "PUT" and route.template.endswith(("members/{user_id}", "recipients/{user_id}")):
            ids["user_id"] = self.spare["friend"]
        if "/guilds/{guild_id}/commands" in route.template:
            ids["command_id"] = self.spare["command"]
        return {name: ids[name] for name in route.parameters}

    def values(self, route: Route) -> dict[str, Any]:
        """Return what to say in a form."""
        values: dict[str, Any] = {
            "login": "mal",
            "password": PASSWORD,
            "name": "fresh",
            "description": "for tea",
            "recipient_id": self.spare["friend"],
            "user_ids": [self.ids["user_id"]],
            "nick": "nick",
        }
        if route.template == "/auth/register":
            values["username"] = "newcomer"
        if route.template == "/users/@me/relationships/{user_id}":
            values["type"] = 2
        if route.template == "/guilds/join":
            values["name"] = "garden"
        if route.template == "/guilds/{guild_id}/roles" and route.method == "PATCH":
            values |= {"id": self.ids["role_id"], "position": 1}
        if route.template == "/guilds/{guild_id}/channels" and route.method == "PATCH":
            values |= {"id": self.ids["channel_id"], "position": 0}
        if route.method == "PATCH" and "command_id" in route.parameters:
            del values["name"]
        if route.template == "/users/@me":
            del values["password"]
            values["bio"] = "tea"
        return values


async def done(replica: Replica, method: str, path: str, token: str, body: Json = None) -> Json:
    """Do what is permitted."""
    answer = await replica.call(method, path, token, body)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


async def open_estate(replica: Replica, name: str) -> Estate:
    """Register somebody who owns one of everything."""
    token, _ = await replica.register(name)
    (member, member_id), (_, banned), (_, friend) = [
        await replica.register(f"{name} {role}") for role in ("member", "banned", "friend")
    ]
    group, channel = await replica.create_group(token, f"{name} group", public=False)
    bot_token, bot = await make(replica, token, f"{name} bot")
    for user in (member_id, bot):
        await done(replica, "PUT", f"/guilds/{group}/members/{user}", token, {})
    await done(replica, "PUT", f"/guilds/{group}/bans/{banned}", token)
    role = (await done(replica, "POST", f"/guilds/{group}/roles", token, {"name": "role"}))["id"]
    await done(replica, "PUT", f"/guilds/{group}/members/{member_id}/roles/{role}", token)
    await done(replica, "PUT", f"/channels/{channel}/permissions/{role}", token, {"type": 0, "deny": "2048"})
    hook = await done(replica, "POST", f"/channels/{channel}/webhooks", token, {"name": "hook"})
    invite = await done(replica, "POST", f"/channels/{channel}/invites", token, {"unique": True})
    command = {"name": "ping", "description": "Answers"}
    commands = [
        (await done(replica, "POST", f"/applications/{bot}{where}/commands", bot_token, command))["id"]
        for where in ("", f"/guilds/{group}")
    ]
    third = (await replica.register(f"{name} third"))[1]
    direct = await done(replica, "POST", "/users/@me/channels", token, {"recipients": [str(member_id), str(third)]})
    ids = {
        "guild_id": group, "channel_id": channel, "role_id": role, "target_id": role, "user_id": member_id,
        "webhook_id": hook["id"], "token": hook["token"], "code": invite["code"], "application_id": bot,
        "command_id": commands[0],
    }  # fmt: skip
    spare = {"banned": str(banned), "friend": str(friend), "command": commands[1]}
    tokens = {"owner": token, "bot": bot_token, "member": member}
    return Estate(tokens, {key: str(value) for key, value in ids.items()}, direct["id"], spare)


def stored(world: World) -> str:
    """Return all that the world holds."""
    return picture(world.store, world.streams, world.audit, world.codes, world.offered)


async def test_another_groups_ids_open_nothing(world: World, groups: Replica) -> None:
    """Each id in a path, exchanged for the victim's, alone and with all others: refused, and nothing changes.

    It is refused as what there is not, so that nobody learns by it what there is. Only a channel tells that one may
    not see it, as Discord's do.
    """
    mine, theirs = await open_estate(groups, "mal"), await open_estate(groups, "vic")
    before, wrong = stored(world), []
    for route in (one for one in ROUTES if one.label not in OPEN):
        own, others = mine.of(route), theirs.of(route)
        tried = [{**own, name: others[name]} for name in route.parameters if name != "token"]
        tried += [others] if route.parameters and "token" not in route.parameters else []
        tried += [{**own, "channel_id": theirs.direct}] if "channel_id" in own else []
        for values in tried:
            if values == own:
                continue
            nowhere = {
                name: value if value == own[name] else UNKNOWN.get(name, FORGED) for name, value in values.items()
            }
            body = route.body(mine.values(route))
            unknown = await groups.call(route.method, route.path(nowhere), mine.tokens["owner"], body)
            for who in ("bot", "owner"):
                answer = await groups.call(route.method, route.path(values), mine.tokens[who], body)
                told = (route.label, who, values, answer.status_code, answer.text + unknown.text)
                if not 400 <= answer.status_code < 500:
                    wrong.append(told)
                elif who == "owner" and answer.content != unknown.content:
                    wrong += [told] if answer.json()["code"] not in TOLD_APART else []
        assert stored(world) == before, route.label
    assert not wrong, "\n".join(str(one) for one in wrong)


async def test_what_is_open_to_strangers_is_so(world: World, groups: Replica) -> None:
    """The list of what the ids of others open holds nothing that is refused."""
    mine, theirs = await open_estate(groups, "mal"), await open_estate(groups, "vic")
    labels = {route.label: route for route in ROUTES}
    for label in OPEN:
        route = labels[label]
        names = [name for name in ("user_id", "code", "application_id") if name in route.parameters]
        values = mine.of(route) | {name: theirs.of(route)[name] for name in names}
        body = route.body(mine.values(route))
        answer = await groups.call(route.method, route.path(values), mine.tokens["owner"], body)
        assert answer.status_code < 300, (label, answer.text)


async def test_an_operator_is_no_value(world: World, groups: Replica) -> None:
    """Whatever is of none of a field's types is refused, named by its field, and changes nothing."""
    mine = await open_estate(groups, "mal")
    before, wrong = stored(world), []
    for route in ROUTES:
        for name, body, must_be_refused in route.forged(mine.values(route)):
            if not must_be_refused:
                continue
            answer = await groups.call(route.method, route.path(mine.of(route)), mine.tokens["owner"], body)
            errors = answer.json().get("errors", {}) if answer.status_code == 400 else None
            place = (errors or {}).get("0", errors or {})
            if errors is None or (name and name not in place):
                wrong.append((route.label, name, body, answer.status_code, answer.text[:100]))
        assert stored(world) == before, route.label
    assert not wrong, "\n".join(str(one) for one in wrong)


async def test_an_operator_in_a_path_or_query_is_no_value(world: World, groups: Replica) -> None:
    """It is refused, or it is a text that finds nothing; nothing changes."""
    mine = await open_estate(groups, "mal")
    before, wrong = stored(world), []
    for route in ROUTES:
        own = mine.of(route)
        path = route.path(own)
        tried = [(route.path({**own, name: quote(text, safe="")}), "") for name in own for text in TEXTS]
        for name, schema in route.queries.items():
            is_text = "pattern" not in schema and schema.get("type") == "string"
            tried += [(f"{path}?{name}={quote(text)}", "[]" if is_text else "") for text in TEXTS]
        for where, empty in tried:
            answer = await groups.call(route.method, where, mine.tokens["owner"], route.body(mine.values(route)))
            is_refused = 400 <= answer.status_code < 500
            if not (is_refused or (empty and answer.text == empty)):
                wrong.append((route.label, where, answer.status_code, answer.text[:100]))
        assert stored(world) == before, route.label
    assert not wrong, "\n".join(str(one) for one in wrong)


async def test_fields_that_nobody_may_set_are_ignored() -> None:
    """In two worlds alike the same is asked, in one with every field that is the server's: they stay alike.

    That the request does what it is for shows that it was not refused for another reason.
    """
    last = ("PUT /applications", "POST /users/@me/delete")  # they take away what others need
    routes = sorted((one for one in ROUTES if one.schema is not None), key=lambda one: one.label.startswith(last))
    async with (
        open_world() as plain_world,
        open_world() as forged_world,
        plain_world.open_replica() as plain,
        forged_world.open_replica() as forged,
    ):
        estates = []
        for replica in (plain, forged):
            estates.append((await open_estate(replica, "mal"), replica))
            await replica.create_group((await replica.register("gardener"))[0], "garden")
        for route in routes:
            statuses = []
            for mine, replica in estates:
                body = route.body(mine.values(route))
                body = privileged(body, route.fields()) if replica is forged else body
                for token in mine.tokens.values():
                    answer = await replica.call(route.method, route.path(mine.of(route)), token, body)
                    if answer.status_code < 300:
                        break
                statuses.append(answer.status_code)
                assert answer.status_code >= 300 or "forged" not in answer.text, route.label
            assert statuses[0] == statuses[1], route.label
            assert (statuses[0] < 300) != (route.label in WITHOUT_MAIL), (route.label, answer.text)
            assert stored(plain_world) == stored(forged_world), route.label


async def test_another_groups_ids_in_a_form_are_refused(world: World, groups: Replica) -> None:
    """Each field that holds ids, filled with the victim's: refused, and nothing changes; users are nobody's."""
    mine, theirs = await open_estate(groups, "mal"), await open_estate(groups, "vic")
    before, wrong = stored(world), []
    for route in ROUTES:
        for name, schema in route.fields().items():
            kind = "role_id" if "roles" in route.template else "channel_id"
            foreign = {
                "id": theirs.ids[kind],
                "owner_id": theirs.ids["user_id"],
                "roles": [theirs.ids["role_id"]],
                "permission_overwrites": [{"id": theirs.ids["role_id"], "type": 0, "deny": "1024"}],
                **dict.fromkeys(("system_channel_id", "channel_id", "parent_id"), theirs.ids["channel_id"]),
            }
            if name in foreign:
                body = route.body({**mine.values(route), name: foreign[name]})
                answer = await groups.call(route.method, route.path(mine.of(route)), mine.tokens["owner"], body)
                if not 400 <= answer.status_code < 500 or stored(world) != before:
                    wrong.append((route.label, name, answer.status_code, answer.text[:100]))
                    before = stored(world)
            else:
                assert name in OF_USERS or "snowflake" not in repr(route.resolve(schema)), (route.label, name)
    assert not wrong, "\n".join(str(one) for one in wrong)


@pytest.mark.parametrize("route", [one for one in ROUTES if "code" in one.parameters], ids=lambda route: route.label)
async def test_codes_of_invites_can_not_be_tried_out(world: World, groups: Replica, route: Route) -> None:
    """One user from many addresses, and many users from one, soon may not try another; good codes are one in 2**58.

    So a thousand addresses at 30 a minute need twenty years for one of a million invites.
    """
    assert len(CODE_LETTERS) ** CODE_LENGTH > 2**58
    tokens = [(await groups.register(f"user {number}"))[0] for number in range(8)]
    for users, addresses in ((1, 8), (8, 1)):
        async with world.open_replica(per_minute=5) as limited:
            told = [
                await limited.call(
                    route.method,
                    route.path({"code": f"guess{number:05}"}),
                    tokens[number % users],
                    address=f"198.51.100.{number % addresses}",
                )
                for number in range(8)
            ]
        assert [one.status_code for one in told] == [404] * 5 + [429] * 3


async def test_a_token_that_is_out_opens_no_door(world: World, groups: Replica) -> None:
    """After a logout, a change of password, a block or a deletion; so does none, and one that others have signed."""
    mine = await open_estate(groups, "mal")
    body = {"login": "mal", "password": PASSWORD}
    out = ["", *[(await done(groups, "POST", "/auth/login", "", body))["token"] for _ in range(2)]]
    await done(groups, "POST", "/auth/logout", out[1])
    changed = await done(groups, "PATCH", "/users/@me", out[2], {"password": PASSWORD, "new_password": PASSWORD * 2})
    out += [mine.tokens["owner"], (await groups.register("blocked"))[0], (await groups.register("gone"))[0]]
    await moderate(world.store, "block", "blocked", world.now)
    await groups.groups.jobs.sweep()
    await done(groups, "POST", "/users/@me/delete", out[-1], {"password": PASSWORD})
    out.append(Tokens("another secret, as long as it has to be").mint(int(mine.ids["user_id"]), world.now))
    await done(groups, "POST", f"/applications/{mine.ids['application_id']}/bot/reset", changed["token"])
    out.append(f"Bot {mine.tokens['bot']}")
    before, wrong = stored(world), []
    assert {route.label for route in ROUTES if not route.needs_token} == WITHOUT_TOKEN
    for route in ROUTES:
        for place, token in enumerate(out):
            if not route.needs_token:
                continue
            answer = await groups.call(route.method, route.path(mine.of(route)), token, route.body(mine.values(route)))
            if answer.status_code != 401:
                wrong.append((route.label, place, answer.status_code, answer.text[:100]))
        assert stored(world) == before, route.label
    assert not wrong, "\n".join(str(one) for one in wrong)
