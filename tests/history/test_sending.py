"""Sending over REST: what a message may carry, and what is refused by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.history.bodies import MessageBody
from shared.core.permissions import ALL, DEFAULT, Permission
from tests.history.world import ADA, BEN, CHANNEL, EVE, World, open_world

EMBED = {"type": "rich", "title": "t", "description": "d"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a history service in memory."""
    async with open_world() as opened:
        yield opened


async def sent(world: World, **body: Any) -> dict[str, Any]:
    """Send a message of Ada's and return it, as it is answered, paged and listed alike."""
    answer = await world.post(ADA, **body)
    assert answer.status_code == 200, answer.text
    message: dict[str, Any] = answer.json()
    MessageBody.model_validate(message)
    assert (await world.get(f"messages/{message['id']}", BEN)).json() == message
    events = (await world.get("events", BEN, after_seq=message["seq"] - 1)).json()["events"]
    assert events[0]["d"] == message
    return message


async def test_mentions_are_told_as_users(world: World) -> None:
    """Members as full users, roles that may be called as ids; strangers and everyone are text."""
    message = await sent(world, content=f"<@{BEN.id}> <@{EVE.id}> <@&31> <@&32> @everyone")
    assert [user["username"] for user in message["mentions"]] == ["ben"]
    assert message["mentions"][0].keys() == message["author"].keys()
    assert (message["mention_roles"], message["mention_everyone"]) == (["32"], False)
    world.permissions[ADA.id] = ALL
    message = await sent(world, content="<@&31> @here")
    assert (message["mention_roles"], message["mention_everyone"]) == (["31"], True)


async def test_allowed_mentions(world: World) -> None:
    """What is not allowed calls nobody; what makes no sense is told by its field."""
    content = f"<@{ADA.id}> <@{BEN.id}>"
    message = await sent(world, content=content, allowed_mentions={"users": [str(BEN.id)]})
    assert [user["id"] for user in message["mentions"]] == [str(BEN.id)]
    assert (await sent(world, content=content, allowed_mentions={"parse": []}))["mentions"] == []
    answer = await world.post(ADA, content="x", allowed_mentions={"parse": ["users"], "users": ["1"]})
    assert answer.json()["code"] == 50035
    assert "allowed_mentions" in answer.json()["errors"]


async def test_groups_are_asked_only_where_somebody_is_mentioned(world: World) -> None:
    """A message that calls nobody by id costs no look-up."""
    await sent(world, content="hello @everyone")
    assert world.questions == []
    await sent(world, content=f"<@{BEN.id}>")
    assert [question.user_ids for question in world.questions] == [(BEN.id,)]


async def test_embeds_and_flags_are_kept(world: World) -> None:
    """With or without content; flags that a sender can't set are not."""
    message = await sent(world, embeds=[{**EMBED, "nonsense": {"$where": "1"}}], flags=4 | 1 << 40)
    assert (message["content"], message["embeds"], message["flags"]) == ("", [EMBED], 4)
    answer = await world.post(ADA, content="x", embeds=[{"title": "x" * 257}])
    assert answer.json()["errors"]["embeds"]["0"]["title"]["_errors"][0]["code"] == "BASE_TYPE_MAX_LENGTH"


async def test_embeds_need_a_permission(world: World) -> None:
    """Without EMBED_LINKS they are refused, over the shard where there is a nonce."""
    world.permissions[ADA.id] = DEFAULT & ~Permission.EMBED_LINKS
    for body in ({}, {"nonce": "n", "enforce_nonce": True}):
        answer = await world.post(ADA, embeds=[EMBED], **body)
        assert (answer.status_code, answer.json()["code"]) == (403, 50013)
    assert (await world.get("messages", ADA)).json() == []


@pytest.mark.parametrize("body", [{"sticker_ids": ["1"]}, {"attachments": [{"id": 0}]}, {"components": [{}]}])
async def test_what_can_not_be_stored_is_an_empty_message(world: World, body: Any) -> None:
    """Stickers, attachments and components are nothing to see here."""
    assert (await world.post(ADA, **body)).json()["code"] == 50006
    assert (await world.post(ADA, content="x", tts=True, **body)).json()["tts"] is False


async def post_form(world: World, *, data: dict[str, str], files: Any = None) -> Any:
    """Send a form, as libraries do."""
    url = f"/api/v10/channels/{CHANNEL.id}/messages"
    if files is None:
        files = {name: (None, value) for name, value in data.items()}
        data = {}
    return await world.client.post(url, data=data, files=files, headers=world.token(ADA))


async def test_a_form_is_as_good_as_its_json(world: World) -> None:
    """Libraries send the JSON as `payload_json` when they could attach files."""
    answer = await post_form(world, data={"payload_json": '{"content": "hi", "nonce": "n", "enforce_nonce": true}'})
    assert answer.status_code == 200, answer.text
    again = await world.post(ADA, content="hi", nonce="n", enforce_nonce=True)
    assert again.json() == answer.json()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"payload_json": ""}, 50109),
        ({"payload_json": "{"}, 50109),
        ({"payload_json": '{"content": "\\u0000"}'}, 50109),
        ({"payload_json": '{"content": "\\ud800"}'}, 50109),
        ({"payload_json": "[]"}, 50035),
        ({"payload_json": '{"content": 5}'}, 50035),
        ({"x": "y"}, 50006),
    ],
)
async def test_forms_that_make_no_sense(world: World, data: dict[str, str], code: int) -> None:
    """They are refused as their JSON would be."""
    answer = await post_form(world, data=data)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert (await world.get("messages", ADA)).json() == []


async def test_files_are_refused_by_name(world: World) -> None:
    """They can not be stored yet, and are not dropped in silence."""
    answer = await post_form(world, data={"payload_json": '{"content": "hi"}'}, files={"files[0]": ("a.txt", b"hi")})
    assert (answer.status_code, answer.json()["code"]) == (400, 50035)
    assert answer.json()["errors"]["files[0]"]["_errors"][0]["code"] == "FILES_NOT_SUPPORTED"
    assert (await world.get("messages", ADA)).json() == []


@pytest.mark.parametrize("body", [b"", b"--x", b"--x\r\nContent-Disposition: form-data\r\n\r\nhi\r\n--x--\r\n"])
async def test_a_broken_form_is_told(world: World, body: bytes) -> None:
    """What is no form gets Discord's shape, too."""
    url = f"/api/v10/channels/{CHANNEL.id}/messages"
    headers = {**world.token(ADA), "Content-Type": "multipart/form-data; boundary=x"}
    answer = await world.client.post(url, content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["code"] in (50006, 50035)
    bare = await world.client.post(url, content=body, headers={**headers, "Content-Type": "multipart/form-data"})
    assert (bare.status_code, bare.json()["code"]) == (400, 50035)
