"""Editing and deleting over REST: what Discord's clients ask for, and how they are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.history.bodies import EventsBody, MessageBody
from services.history.rest_changes import BULK_AGE_MS
from shared.core.ids import first_id_at
from shared.core.limits import Budgets
from shared.core.permissions import DEFAULT, Permission
from shared.core.wire.dispatches import dispatch_of
from tests.history.world import ADA, BEN, CHANNEL, EVE, NOW, World, open_world

EMBED = {"type": "rich", "title": "t", "description": "d"}
MODERATOR = DEFAULT | Permission.MANAGE_MESSAGES


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a history service in memory."""
    async with open_world() as opened:
        yield opened


async def sent(world: World, content: str = "hello", **body: Any) -> dict[str, Any]:
    """Send a message of Ada's."""
    answer = await world.post(ADA, content=content, **body)
    assert answer.status_code == 200, answer.text
    message: dict[str, Any] = answer.json()
    return message


async def ask(world: World, method: str, path: str, user: Any = ADA, **body: Any) -> httpx.Response:
    """Ask for a change below the channel's messages."""
    url = f"/api/v10/channels/{CHANNEL.id}/messages/{path}"
    headers = world.token(user) | {"X-Audit-Log-Reason": "spam"}
    return await world.client.request(method, url, json=body or None, headers=headers)


async def events(world: World, after_seq: int = 0) -> list[dict[str, Any]]:
    """Return all events of the channel."""
    answer = (await world.get("events", BEN, after_seq=after_seq)).json()
    EventsBody.model_validate(answer)
    told: list[dict[str, Any]] = answer["events"]
    return told


async def test_an_edit_is_answered_paged_and_told_alike(world: World) -> None:
    """The answer is the message of the page; the dispatch is the same with its own seq, and `events` gives that."""
    first = await sent(world)
    answer = await ask(world, "PATCH", first["id"], content=f"<@{BEN.id}>")
    assert answer.status_code == 200
    edited = answer.json()
    MessageBody.model_validate(edited)
    assert [user["id"] for user in edited["mentions"]] == [str(BEN.id)]
    assert edited["edited_timestamp"] is not None
    changed = {"content", "edited_timestamp", "mentions"}
    assert {name for name in edited if edited[name] != first[name]} == changed
    assert (await world.get("messages", BEN)).json() == [edited]
    assert (await world.get(f"messages/{first['id']}", BEN)).json() == edited
    created, updated = await events(world)
    assert (created["t"], created["d"]) == ("MESSAGE_CREATE", edited), "in today's content"
    assert (updated["t"], updated["d"]) == ("MESSAGE_UPDATE", edited | {"seq": 2})
    assert dispatch_of(world.events[-1]) == ("MESSAGE_UPDATE", updated["d"])


async def test_what_an_edit_does_not_name_stays(world: World) -> None:
    """Null is nothing, absent is as it was; what would leave nothing to see is refused."""
    first = await sent(world, f"<@{BEN.id}>", embeds=[EMBED])
    edited = (await ask(world, "PATCH", first["id"], content=None)).json()
    assert (edited["content"], edited["mentions"]) == ("", [])
    assert len(edited["embeds"]) == 1
    refused = await ask(world, "PATCH", first["id"], embeds=[])
    assert (refused.status_code, refused.json()["code"]) == (400, 50006)
    edited = (await ask(world, "PATCH", first["id"], content="back", embeds=[])).json()
    assert (edited["content"], edited["embeds"]) == ("back", [])
    unchanged = (await ask(world, "PATCH", first["id"], components=[], unknown=1)).json()
    assert unchanged == edited


async def test_flags_of_an_edit(world: World) -> None:
    """Embeds can be suppressed, by a moderator too, which is no edit; no other flag can be set later."""
    first = await sent(world, embeds=[EMBED], flags=4096)
    assert (await ask(world, "PATCH", first["id"], BEN, flags=4)).json()["code"] == 50005
    world.permissions[BEN.id] = MODERATOR
    edited = (await ask(world, "PATCH", first["id"], BEN, flags=4)).json()
    assert (edited["flags"], edited["edited_timestamp"]) == (4096 | 4, None)
    assert (await ask(world, "PATCH", first["id"], BEN, flags=4, content="mine")).json()["code"] == 50005
    assert (await ask(world, "PATCH", first["id"], flags=4096)).json()["flags"] == 4096


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"content": "x" * 2001}, 50035),
        ({"content": 7}, 50035),
        ({"embeds": [{"title": "x" * 257}]}, 50035),
        ({"content": "x", "allowed_mentions": {"parse": ["nobody"]}}, 50035),
        ({"content": ""}, 50006),
        ({"content": " \n"}, 50006),
        ({"content": None}, 50006),
    ],
)
async def test_an_edit_that_makes_no_message(world: World, body: dict[str, Any], code: int) -> None:
    """What a new message is refused for, an edit is refused for; the message stays as it was."""
    first = await sent(world)
    answer = await ask(world, "PATCH", first["id"], **body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert (await world.get("messages", BEN)).json() == [first]


async def test_embeds_in_an_edit_need_their_permission(world: World) -> None:
    """Who may not send embeds may not bring them in by an edit; removing them is free."""
    first = await sent(world, embeds=[EMBED])
    world.permissions[ADA.id] = DEFAULT & ~Permission.EMBED_LINKS
    assert (await ask(world, "PATCH", first["id"], embeds=[EMBED])).json()["code"] == 50013
    assert (await ask(world, "PATCH", first["id"], embeds=[])).json()["embeds"] == []


async def test_a_deleted_message_is_gone_everywhere(world: World) -> None:
    """No page, no way to it by id; `events` keeps its place and tells nothing of it."""
    first, second = await sent(world), await sent(world, "stays")
    answer = await ask(world, "DELETE", first["id"])
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await world.get("messages", BEN)).json() == [second]
    assert (await world.get("messages", BEN, around=first["id"])).json() == [second]
    assert (await world.get(f"messages/{first['id']}", BEN)).json()["code"] == 10008
    deletion = {"id": first["id"], "channel_id": str(CHANNEL.id), "guild_id": first["guild_id"], "seq": 3}
    assert await events(world) == [
        {"seq": 1, "t": None, "d": None},
        {"seq": 2, "t": "MESSAGE_CREATE", "d": second},
        {"seq": 3, "t": "MESSAGE_DELETE", "d": deletion},
    ]
    for method, body in (("DELETE", {}), ("PATCH", {"content": "x"})):
        refused = await ask(world, method, first["id"], **body)
        assert (refused.status_code, refused.json()["code"]) == (404, 10008)


async def test_a_repeat_of_a_deleted_message_is_unknown(world: World) -> None:
    """The nonce of a deleted message still recognises it: nothing is sent anew, and there is nothing to show."""
    first = await sent(world, nonce="n", enforce_nonce=True)
    await ask(world, "DELETE", first["id"])
    again = await world.post(ADA, content="hello", nonce="n", enforce_nonce=True)
    assert (again.status_code, again.json()["code"]) == (404, 10008)
    assert [event["t"] for event in await events(world)] == [None, "MESSAGE_DELETE"]


async def test_whose_messages_may_be_changed(world: World) -> None:
    """Another's can't be edited, nor deleted without MANAGE_MESSAGES; strangers are told no more than that."""
    first = await sent(world)
    for method, user, status, code in (
        ("PATCH", BEN, 403, 50005),
        ("DELETE", BEN, 403, 50013),
        ("PATCH", EVE, 403, 50001),
        ("DELETE", EVE, 403, 50001),
    ):
        refused = await ask(world, method, first["id"], user, **({"content": "x"} if method == "PATCH" else {}))
        assert (refused.status_code, refused.json()["code"]) == (status, code)
    world.permissions[BEN.id] = MODERATOR
    assert (await ask(world, "DELETE", first["id"], BEN)).status_code == 204


async def test_a_shard_in_doubt_looks_permissions_up(world: World) -> None:
    """Where facts have moved on the shard asks groups itself, and goes by what it hears."""
    first = await sent(world)
    await world.invalidate(CHANNEL.group_id, world.group_seq + 1)
    assert (await ask(world, "DELETE", first["id"], BEN)).json()["code"] == 50013
    world.permissions[BEN.id] = MODERATOR
    assert (await ask(world, "DELETE", first["id"], BEN)).status_code == 204


async def test_bulk_delete(world: World) -> None:
    """Those that there are go in one event; ids of none are no error, nor is it if nothing is left to delete."""
    messages = [await sent(world, str(number)) for number in range(4)]
    ids = [message["id"] for message in messages]
    world.permissions[BEN.id] = MODERATOR
    answer = await ask(world, "POST", "bulk-delete", BEN, messages=[*ids[:3], str(int(ids[3]) + 1)])
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await world.get("messages", BEN)).json() == [messages[3]]
    (deleted,) = await events(world, after_seq=4)
    assert (deleted["t"], deleted["d"]["ids"]) == ("MESSAGE_DELETE_BULK", ids[2::-1])
    assert (await ask(world, "POST", "bulk-delete", BEN, messages=ids[:2])).status_code == 204
    assert await events(world, after_seq=5) == []


OLD = str(first_id_at(NOW - BULK_AGE_MS) - 1)
YOUNG = [str(first_id_at(NOW - BULK_AGE_MS) + number) for number in range(101)]


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        (YOUNG[:1], 50016),
        ([], 50016),
        (YOUNG, 50016),
        ([YOUNG[0], YOUNG[0]], 50035),
        ([YOUNG[0], "x"], 50035),
        ([YOUNG[0], OLD], 50034),
    ],
)
async def test_bulk_deletes_that_are_refused(world: World, ids: list[str], code: int) -> None:
    """Too few, too many, one twice, no ids, older than two weeks: Discord's codes."""
    world.permissions[ADA.id] = MODERATOR
    answer = await ask(world, "POST", "bulk-delete", messages=ids)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_bulk_delete_needs_its_permission(world: World) -> None:
    """Also for one's own messages, as Discord has it."""
    ids = [(await sent(world))["id"] for _ in range(2)]
    refused = await ask(world, "POST", "bulk-delete", messages=ids)
    assert (refused.status_code, refused.json()["code"]) == (403, 50013)


async def test_changes_are_counted_as_sends() -> None:
    """A user's writes have one budget, whatever they write."""
    async with open_world(budgets=Budgets(0.001, 2)) as world:
        first = await sent(world)
        assert (await ask(world, "PATCH", first["id"], content="x")).status_code == 200
        for method, path, body in (
            ("PATCH", first["id"], {"content": "y"}),
            ("DELETE", first["id"], {}),
            ("POST", "bulk-delete", {"messages": YOUNG[:2]}),
        ):
            refused = await ask(world, method, path, **body)
            assert refused.status_code == 429
            assert refused.json()["retry_after"] > 0
