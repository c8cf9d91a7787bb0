"""Each route of the history service against an attacker, from its OpenAPI document: so a new one is attacked, too.

The attacker moderates a channel and has its webhook; the victim's is of a group in which the attacker is nobody.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest

from services.history.app import router
from shared.auth import Tokens
from shared.core.permissions import DEFAULT, Permission
from shared.core.revocation import Revocations
from tests.attacks import FORGED, TEXTS, Route, picture, privileged, routes_of
from tests.history.world import ADA, BEN, CHANNEL, EVE, HOOK, NOW, OTHER_HOOK, VAULT, World, open_world

ROUTES = routes_of(router)
ACK = "POST /channels/{channel_id}/messages/{message_id}/ack"
"""Marks a place in one's own channel, as one's own: any id is one, whatever else it names."""
NOTHING = '{"items":[],"has_more":false}'


async def open_estates(world: World) -> tuple[dict[str, str], dict[str, str]]:
    """Return the values of path parameters that are the attacker's, and those that are the victim's."""
    world.permissions[ADA.id] = DEFAULT | Permission.MANAGE_MESSAGES
    told = []
    for user, channel in ((ADA, CHANNEL), (EVE, VAULT)):
        place, headers = f"/api/v10/channels/{channel.id}", world.token(user)
        message = (await world.client.post(f"{place}/messages", json={"content": "x"}, headers=headers)).json()["id"]
        reaction = f"{place}/messages/{message}/reactions/{quote('👍')}/@me"
        assert (await world.client.put(reaction, headers=headers)).status_code == 204
        told.append({"channel_id": str(channel.id), "message_id": message, "user_id": str(user.id)})
    mine, theirs = told
    mine |= {"webhook_id": str(HOOK.id), "token": world.tokens.webhook_token(HOOK.id), "emoji": quote("👍")}
    return mine, {**mine, **theirs, "webhook_id": str(OTHER_HOOK.id)}


def stored(world: World) -> str:
    """Return all that the world holds."""
    return picture(world.streams, world.marks, world.markers)


async def ask(
    world: World, route: Route, values: dict[str, str], *, path: str = "", body: object = None, token: str | None = None
) -> httpx.Response:
    """Ask for a route as the attacker."""
    headers = {"Authorization": token} if token is not None else world.token(ADA)
    return await world.client.request(
        route.method, f"/api/v10{path or route.path(values)}", headers=headers, json=body if route.schema else None
    )


def values_of(route: Route, ids: dict[str, str]) -> dict[str, str]:
    """Return the values of a route's parameters."""
    return {name: ids[name] for name in route.parameters}


def body_of(route: Route, ids: dict[str, str]) -> object:
    """Return a form that is right."""
    return route.body({"content": "x", "text": "x", "messages": [ids["message_id"], ids["message_id"]]})


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a history service in memory."""
    async with open_world() as opened:
        yield opened


async def test_another_groups_ids_open_nothing(world: World) -> None:
    """Each id in a path, exchanged for the victim's, alone and with all others: refused, and nothing changes.

    It is refused as what there is not. Only a channel tells that one may not see it, as Discord's do.
    """
    mine, theirs = await open_estates(world)
    before, wrong = stored(world), []
    for route in ROUTES:
        own, others = values_of(route, mine), values_of(route, theirs)
        names = [name for name in ("channel_id", "message_id", "webhook_id") if name in own]
        names = ["channel_id"] if route.label == ACK else names
        for values in (*({**own, name: others[name]} for name in names), others):
            nowhere = {
                name: FORGED if name in names and value != own[name] else value for name, value in values.items()
            }
            body = body_of(route, mine)
            answer, unknown = [await ask(world, route, one, body=body) for one in (values, nowhere)]
            if not 400 <= answer.status_code < 500:
                wrong.append((route.label, values, answer.status_code, answer.text[:100]))
            elif answer.content != unknown.content and answer.json()["code"] != 50001:
                wrong.append((route.label, values, answer.status_code, answer.text + unknown.text))
        assert stored(world) == before, route.label
    assert not wrong, "\n".join(str(one) for one in wrong)


async def test_an_operator_is_no_value(world: World) -> None:
    """Whatever is of none of a field's types is refused, and changes nothing; elsewhere it does no harm."""
    mine, _ = await open_estates(world)
    wrong = []
    for route in ROUTES:
        for name, body, must_be_refused in route.forged(
            {"content": "x", "text": "x", "messages": [mine["message_id"]]}
        ):
            before = stored(world)
            answer = await ask(world, route, values_of(route, mine), body=body)
            is_refused = answer.status_code == 400 and stored(world) == before
            if answer.status_code >= 500 or (must_be_refused and not is_refused):
                wrong.append((route.label, name, body, answer.status_code, answer.text[:100]))
            assert "$" not in stored(world), (route.label, body)
    assert not wrong, "\n".join(str(one) for one in wrong)


async def test_an_operator_in_a_path_or_query_is_no_value(world: World) -> None:
    """It is refused, or it finds nothing; nothing changes."""
    mine, _ = await open_estates(world)
    before, wrong = stored(world), []
    for route in ROUTES:
        own, body = values_of(route, mine), body_of(route, mine)
        tried = [route.path({**own, name: quote(text, safe="")}) for name in own for text in TEXTS]
        tried += [f"{route.path(own)}?{name}={quote(text)}" for name in route.queries for text in TEXTS]
        for path in tried:
            answer = await ask(world, route, own, path=path, body=body)
            if not 400 <= answer.status_code < 500 and answer.text != NOTHING:
                wrong.append((route.label, path, answer.status_code, answer.text[:100]))
        assert stored(world) == before, route.label
    assert not wrong, "\n".join(str(one) for one in wrong)


async def test_fields_that_nobody_may_set_are_ignored() -> None:
    """In two worlds alike the same is written, in one with every field that is the server's: they stay alike."""
    async with open_world() as plain, open_world() as forged:
        for route in (one for one in ROUTES if one.schema is not None):
            statuses = []
            for world in (plain, forged):
                mine, _ = await open_estates(world)
                other = (await world.post(ADA, content="y")).json()["id"]
                if "webhook_id" in route.parameters:
                    mine["message_id"] = (await world.write(content="by a webhook")).json()["id"]
                body = (
                    body_of(route, mine) if "bulk" not in route.template else {"messages": [mine["message_id"], other]}
                )
                body = privileged(body, route.fields()) if world is forged else body
                answer = await ask(world, route, values_of(route, mine), body=body)
                assert answer.status_code < 300, (route.label, answer.text)
                assert "forged" not in answer.text
                statuses.append(answer.status_code)
            assert statuses[0] == statuses[1], route.label
            assert stored(plain) == stored(forged), route.label


async def test_a_token_that_is_out_opens_no_door(world: World) -> None:
    """None, one that others have signed, one that was revoked; only a webhook's token stands in for a user's."""
    mine, _ = await open_estates(world)
    world.revocations[BEN.id] = Revocations(valid_from=NOW + 1)
    others = Tokens("another secret, as long as it has to be").mint(ADA.id, NOW)
    before, wrong = stored(world), []
    for route in ROUTES:
        assert route.needs_token != ("token" in route.parameters), route.label
        for token in ("", others, world.tokens.mint(BEN.id, NOW), mine["token"]):
            answer = await ask(world, route, values_of(route, mine), body=body_of(route, mine), token=token)
            if route.needs_token and answer.status_code != 401:
                wrong.append((route.label, token, answer.status_code, answer.text[:100]))
        assert stored(world) == before or not route.needs_token, route.label
    assert not wrong, "\n".join(str(one) for one in wrong)
