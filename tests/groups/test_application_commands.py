"""The commands that bots offer: stored and told in Discord's shape, as libraries sync them when they start."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.groups.application_command_bodies import CommandBody
from services.groups.core.application_commands import MAX_CHARACTERS, MOST
from tests.groups.test_applications import make
from tests.groups.test_rest import error_of
from tests.groups.world import Replica, World

PING = {"name": "ping", "description": "Answers pong"}
WHOLE = {
    "name": "roll",
    "name_localizations": {"de": "würfeln"},
    "description": "Throws dice",
    "description_localizations": None,
    "type": 1,
    "options": [
        {
            "type": 1,
            "name": "many",
            "description": "Several",
            "options": [
                {"type": 4, "name": "count", "description": "How many", "required": True, "min_value": 1},
                {"type": 3, "name": "kind", "description": "Of which", "choices": [{"name": "Six", "value": "d6"}]},
                {"type": 10, "name": "luck", "description": "How much", "max_value": 0.5},
            ],
        }
    ],
    "default_member_permissions": "8",
    "nsfw": True,
    "contexts": [0, 1],
    "integration_types": [0],
}
MANDATORY = {"id", "application_id", "version", "type", "name", "description", "default_member_permissions", "nsfw"}


def reasons_of(answer: Any, path: str) -> list[str]:
    """Return the codes of what is wrong with a field, however deep in the form it is, and with what is in it."""
    assert error_of(answer) == (400, 50035)
    place = answer.json()["errors"]
    for part in path.split("."):
        place = place[part]
    inner = [place] if "_errors" in place else place.values()
    return [reason["code"] for one in inner for reason in one["_errors"]]


async def registered(groups: Replica) -> tuple[str, str, str]:
    """Return the token and path of a bot, and its owner's token."""
    owner, _ = await groups.register("ann")
    token, bot_id = await make(groups, owner)
    return f"Bot {token}", f"/applications/{bot_id}/commands", owner


async def test_what_is_given_is_told(groups: Replica, rival: Replica) -> None:
    """All fields come back as they were given, unknown ones are ignored; the owner sees the same as the bot."""
    bot, path, owner = await registered(groups)
    made = await groups.call("POST", path, bot, {**WHOLE, "some_day": 1})
    assert made.status_code == 201
    CommandBody.model_validate(made.json(), extra="forbid")
    assert made.json().items() >= WHOLE.items()
    assert made.json()["application_id"] == path.split("/")[2]
    assert (await rival.call("GET", path, owner)).json() == [made.json()]
    assert (await rival.call("GET", f"{path}/{made.json()['id']}", bot)).json() == made.json()
    plain = (await groups.call("POST", path, bot, PING)).json()
    assert plain.keys() >= MANDATORY | {"dm_permission"}
    assert (plain["type"], plain["default_member_permissions"], plain["dm_permission"]) == (1, None, True)


async def test_a_name_is_taken_over(groups: Replica) -> None:
    """A command made under the name of another of its type takes its place and id, with a version of its own."""
    bot, path, _ = await registered(groups)
    first = (await groups.call("POST", path, bot, PING)).json()
    of_user = await groups.call("POST", path, bot, {"name": "ping", "type": 2})
    assert (of_user.status_code, of_user.json()["description"]) == (201, "")
    again = await groups.call("POST", path, bot, {**PING, "description": "anew"})
    assert again.status_code == 200
    assert again.json() == {**first, "description": "anew", "version": again.json()["version"]}
    assert again.json()["version"] != first["version"]
    assert len((await groups.call("GET", path, bot)).json()) == 2


async def test_change_and_delete(groups: Replica) -> None:
    """What is not given stays; no two of a type have one name; what is deleted is unknown."""
    bot, path, _ = await registered(groups)
    roll = (await groups.call("POST", path, bot, WHOLE)).json()
    await groups.call("POST", path, bot, PING)
    place = f"{path}/{roll['id']}"
    changed = (await groups.call("PATCH", place, bot, {"description": "More", "nsfw": False})).json()
    assert changed == {**roll, "description": "More", "nsfw": False, "version": changed["version"]}
    refused = await groups.call("PATCH", place, bot, {"name": "ping"})
    assert reasons_of(refused, "name") == ["APPLICATION_COMMANDS_DUPLICATE_NAME"]
    assert (await groups.call("DELETE", place, bot)).status_code == 204
    for method in ("GET", "PATCH", "DELETE"):
        assert error_of(await groups.call(method, place, bot, PING if method == "PATCH" else None)) == (404, 10063)


async def test_bulk_overwrite(groups: Replica) -> None:
    """After it there are these and no others, in order; known ones keep id, and version where nothing changed."""
    bot, path, _ = await registered(groups)
    before = (await groups.call("PUT", path, bot, [PING, WHOLE, {"name": "Look", "type": 2}])).json()
    assert [one["name"] for one in before] == ["ping", "roll", "Look"]
    again = (await groups.call("PUT", path, bot, [{**WHOLE, "nsfw": False}, PING])).json()
    assert [one["id"] for one in again] == [before[1]["id"], before[0]["id"]]
    assert again[1] == before[0]
    assert again[0]["version"] != before[1]["version"]
    refused = await groups.call("PUT", path, bot, [PING, PING])
    assert reasons_of(refused, "1.name") == ["APPLICATION_COMMANDS_DUPLICATE_NAME"]
    assert (await groups.call("GET", path, bot)).json() == again
    assert (await groups.call("PUT", path, bot, [])).json() == []


async def test_those_of_a_group_are_apart(groups: Replica) -> None:
    """A group has commands of its own, if the bot is in it; nothing is said there about who may use them."""
    bot, path, owner = await registered(groups)
    group_id, _ = await groups.create_group(owner, "Room")
    there = path.replace("/commands", f"/guilds/{group_id}/commands")
    asked: tuple[tuple[str, Any], ...] = (("GET", None), ("POST", PING), ("PUT", [PING]))
    for method, body in asked:
        assert error_of(await groups.call(method, there, bot, body)) == (403, 50001)
    await groups.call("POST", "/guilds/join", bot, {"name": "Room"})
    made = (await groups.call("POST", there, bot, PING)).json()
    assert made["guild_id"] == str(group_id)
    assert "dm_permission" not in made
    assert (await groups.call("GET", path, bot)).json() == []
    assert (await groups.call("GET", there, owner)).json() == [made]
    assert (await groups.call("GET", f"{there}/permissions", bot)).json() == []
    assert error_of(await groups.call("GET", f"{there}/{made['id']}/permissions", bot)) == (404, 10066)
    assert (await groups.call("PATCH", f"{there}/{made['id']}", bot, {"nsfw": True})).json()["nsfw"] is True
    assert (await groups.call("GET", f"{there}/{made['id']}", bot)).json()["nsfw"] is True
    assert (await groups.call("PUT", there, bot, [WHOLE])).json()[0]["name"] == "roll"
    assert error_of(await groups.call("DELETE", f"{there}/{made['id']}", bot)) == (404, 10063)
    me = (await groups.call("GET", "/oauth2/applications/@me", bot)).json()
    assert me["approximate_guild_count"] == 1


async def test_nobody_else_has_to_do_with_them(groups: Replica) -> None:
    """Strangers, other bots and people under their own id are refused, whatever they ask."""
    bot, path, owner = await registered(groups)
    made = (await groups.call("POST", path, bot, PING)).json()
    bob, bob_id = await groups.register("bob")
    other, _ = await make(groups, bob, "another")
    calls: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("POST", "", PING),
        ("PUT", "", [PING]),
        ("GET", f"/{made['id']}", None),
        ("PATCH", f"/{made['id']}", PING),
        ("DELETE", f"/{made['id']}", None),
    ]
    for method, behind, body in calls:
        assert error_of(await groups.call(method, path + behind, bob, body)) == (404, 10002)
        assert error_of(await groups.call(method, path + behind, f"Bot {other}", body)) == (403, 20001)
        assert error_of(await groups.call(method, path + behind, "", body)) == (401, 0)
        own = f"/applications/{bob_id}/commands{behind}"
        assert error_of(await groups.call(method, own, bob, body)) == (403, 20002)
    assert (await groups.call("GET", path, owner)).json() == [made]


async def test_a_scope_is_bounded(groups: Replica) -> None:
    """So many of each type, and so many characters each."""
    bot, path, _ = await registered(groups)
    full: list[dict[str, Any]] = [{"name": f"c{number}", "description": "x"} for number in range(MOST[1])]
    full += [{"name": f"c{number}", "type": 2} for number in range(MOST[2])]
    assert (await groups.call("PUT", path, bot, full)).status_code == 200
    for one in ({"name": "more", "description": "x"}, {"name": "more", "type": 2}):
        assert error_of(await groups.call("POST", path, bot, one)) == (400, 30032)
    assert (await groups.call("POST", path, bot, {"name": "more", "type": 3})).status_code == 201
    assert (await groups.call("PUT", path, bot, [*full, full[0]])).json()["code"] == 50035
    choices = [{"name": f"{number:0100}", "value": f"{number:0100}"} for number in range(25)]
    option = {"type": 3, "description": "x" * 100, "choices": choices}
    options = [{**option, "name": f"o{number}"} for number in range(MAX_CHARACTERS // 5_000 + 1)]
    refused = await groups.call("POST", path, bot, {**PING, "options": options})
    assert refused.json()["code"] == 50035
    assert "APPLICATION_COMMAND_TOO_LARGE" in refused.text


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("name", {"name": "Ping"}),
        ("name", {"name": "two words"}),
        ("name", {"name": "a!"}),
        ("name", {"name": ""}),
        ("name", {"name": "x" * 33}),
        ("description", {"description": ""}),
        ("description", {"description": "x" * 101}),
        ("description", {"type": 2}),
        ("type", {"type": 4}),
        ("options.0.type", {"options": [{"type": 12, "name": "a", "description": "x"}]}),
        ("options.0.name", {"options": [{"type": 3, "name": "A", "description": "x"}]}),
        ("options.1.name", {"options": [{"type": 3, "name": "a", "description": "x"}] * 2}),
        (
            "options.0.options",
            {"options": [{"type": 3, "name": "a", "description": "x", "options": [PING | {"type": 3}]}]},
        ),
        ("options.0.options.0.type", {"options": [PING | {"type": 1, "options": [PING | {"type": 1}]}]}),
        ("options.0.type", {"options": [PING | {"type": 1}, {"type": 3, "name": "a", "description": "x"}]}),
        ("name_localizations.$ne.[key]", {"name_localizations": {"$ne": "x"}}),
        ("default_member_permissions", {"default_member_permissions": "-1"}),
        ("options.0.min_value", {"options": [PING | {"type": 4, "min_value": 1 << 60}]}),
    ],
)
async def test_what_is_wrong_is_told_by_field(groups: Replica, field: str, wrong: dict[str, Any]) -> None:
    """A command that Discord would refuse is refused, alone and in a list, and nothing is stored."""
    bot, path, _ = await registered(groups)
    refused = await groups.call("POST", path, bot, {**PING, **wrong})
    assert (refused.status_code, refused.json()["code"]) == (400, 50035), refused.text
    assert reasons_of(refused, field), refused.text
    assert (await groups.call("PUT", path, bot, [{**PING, **wrong}])).status_code == 400
    assert (await groups.call("GET", path, bot)).json() == []


async def test_rivals_and_the_end(world: World, groups: Replica, rival: Replica) -> None:
    """Of calls at once each one counts; the commands of a deleted application are gone."""
    bot, path, owner = await registered(groups)
    made = await asyncio.gather(
        *(one.call("POST", path, bot, {**PING, "name": f"c{index}"}) for index, one in enumerate((groups, rival) * 2))
    )
    assert [one.status_code for one in made] == [201] * 4
    assert len((await groups.call("GET", path, bot)).json()) == 4
    bot_id = int(path.split("/")[2])
    assert (await groups.call("DELETE", path.removesuffix("/commands"), owner)).status_code == 204
    await groups.groups.jobs.sweep()
    assert not (await world.offered.read(bot_id, 0)).commands
