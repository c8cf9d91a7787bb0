"""The history routes as client libraries use them: shapes, doors, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.history.bodies import EventsBody, MessageBody
from shared.core.limits import Budgets
from shared.core.permissions import Permission
from shared.core.revocation import NOTHING_REVOKED
from shared.core.user_events import TokensRevoked
from tests.history.world import ADA, BEN, CHANNEL, EVE, GROUP, World, open_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a history service in memory."""
    async with open_world() as opened:
        yield opened


async def test_a_message_is_answered_as_it_is_paged(world: World) -> None:
    """The answer of a send is the message of the page, in the declared shape."""
    sent = await world.post(ADA, content="hello", nonce=17)
    assert sent.status_code == 200
    assert sent.headers["Content-Type"] == "application/json"
    message = sent.json()
    MessageBody.model_validate(message)
    assert (message["content"], message["nonce"], message["seq"]) == ("hello", "17", 1)
    assert message["guild_id"] == str(GROUP)
    assert message["author"]["id"] == str(ADA.id)
    page = (await world.get("messages", BEN)).json()
    assert page == [message]
    assert (await world.get(f"messages/{message['id']}", BEN)).json() == message


async def test_a_revoked_token(world: World) -> None:
    """Whose token was revoked is nobody here either; where groups can't say so, nobody comes in."""
    bearer = world.tokens.verify(world.token(ADA)["Authorization"])
    world.revocations[ADA.id] = NOTHING_REVOKED.after(TokensRevoked(bearer.issued + 1))
    assert (await world.get("messages", ADA)).status_code == 401
    world.groups_away = True
    assert (await world.get("messages", BEN)).status_code == 503
    world.groups_away = False
    assert (await world.get("messages", BEN)).status_code == 200


async def test_who_may_not_read_what_was_written_before(world: World) -> None:
    """Without that permission pages are empty, as Discord has them, and what names a message or a seq is refused."""
    message = (await world.post(ADA, content="before")).json()
    world.permissions[BEN.id] = int(Permission.VIEW_CHANNEL | Permission.SEND_MESSAGES)
    assert (await world.get("messages", BEN)).json() == []
    for path in (f"messages/{message['id']}", "events"):
        answer = await world.get(path, BEN)
        assert (answer.status_code, answer.json()["code"]) == (403, 50013)


async def test_pages_by_cursor(world: World) -> None:
    """Pages are newest first; `after` gives the ones next after the cursor, `around` a window."""
    ids = [(await world.post(ADA, content=str(number))).json()["id"] for number in range(7)]

    async def told(**query: Any) -> list[int]:
        return [int(message["content"]) for message in (await world.get("messages", BEN, **query)).json()]

    assert await told(limit=3) == [6, 5, 4]
    assert await told(before=ids[3], limit=2) == [2, 1]
    assert await told(after=ids[3], limit=2) == [5, 4]
    assert await told(around=ids[3], limit=4) == [4, 3, 2, 1]
    assert await told(after=0, limit=2) == [1, 0]


async def test_events_after_seq(world: World) -> None:
    """`events` gives what was dispatched, in order, and says whether there is more."""
    for number in range(3):
        await world.post(ADA, content=str(number))
    body = (await world.get("events", BEN, after_seq=1, limit=1)).json()
    EventsBody.model_validate(body)
    (event,) = body["events"]
    assert (event["seq"], event["t"], event["d"]["content"], body["has_more"]) == (2, "MESSAGE_CREATE", "1", True)
    body = (await world.get("events", BEN, after_seq=3)).json()
    assert body == {"events": [], "has_more": False}


async def test_enforce_nonce(world: World) -> None:
    """A repeat with `enforce_nonce` is the first message; without it, or by another author, a new one."""
    first = (await world.post(ADA, content="one", nonce="n", enforce_nonce=True)).json()
    again = (await world.post(ADA, content="changed", nonce="n", enforce_nonce=True)).json()
    other = (await world.post(BEN, content="two", nonce="n", enforce_nonce=True)).json()
    loose = (await world.post(ADA, content="three", nonce="n")).json()
    assert again == first
    assert len({first["id"], other["id"], loose["id"]}) == 3


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, 50006),
        ({"content": ""}, 400, 50006),
        ({"content": " \n"}, 400, 50006),
        ({"content": "x" * 2001}, 400, 50035),
        ({"content": 5}, 400, 50035),
        ({"content": {"$ne": ""}}, 400, 50035),
        ({"content": "x", "nonce": "y" * 26}, 400, 50035),
        ({"content": "x", "message_reference": {"message_id": "abc"}}, 400, 50035),
        ({"content": "nul \0"}, 400, 50109),
    ],
)
async def test_bad_messages_are_refused_and_harm_nothing(world: World, body: Any, status: int, code: int) -> None:
    """Each wrong body gets Discord's error, and nothing is stored."""
    answer = await world.post(ADA, **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await world.get("messages", ADA)).json() == []


async def test_unknown_fields_are_ignored(world: World) -> None:
    """Libraries send more than we know."""
    answer = await world.post(ADA, content="x", tts=False, components=[], allowed_mentions={"parse": []}, flags=0)
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["messages", "messages/1", "events"])
async def test_who_is_no_member_reads_nothing(world: World, path: str) -> None:
    """Each door asks: no token, no access, no such channel."""
    assert (await world.get(path, EVE)).json()["code"] == 50001
    unknown = await world.client.get(f"/api/v10/channels/77/{path}", headers=world.token(ADA))
    assert (unknown.status_code, unknown.json()["code"]) == (404, 10003)
    assert (await world.client.get(f"/api/v10/channels/{CHANNEL.id}/{path}")).status_code == 401


async def test_who_is_no_member_writes_nothing(world: World) -> None:
    """Refused at once, and with a nonce by the shard's word; nothing is stored either way."""
    for body in ({"content": "x"}, {"content": "x", "nonce": "n", "enforce_nonce": True}):
        answer = await world.post(EVE, **body)
        assert (answer.status_code, answer.json()["code"]) == (403, 50001)
    assert (await world.get("messages", ADA)).json() == []


@pytest.mark.parametrize(
    "query",
    [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"before": "x"}, {"before": "1", "after": "1"}, {"before": -1}],
)
async def test_bad_cursors_are_told(world: World, query: Any) -> None:
    """Bounds of a page are checked, with the field's name in the answer."""
    answer = await world.get("messages", ADA, **query)
    assert (answer.status_code, answer.json()["code"]) == (400, 50035)
    assert set(query) <= set(answer.json()["errors"])


async def test_an_unknown_message_is_told() -> None:
    """404 with Discord's code."""
    async with open_world() as world:
        answer = await world.get("messages/5", ADA)
        assert (answer.status_code, answer.json()["code"]) == (404, 10008)


async def test_over_budget_is_told_when_to_come_again() -> None:
    """429 with `retry_after`; another user is not concerned."""
    async with open_world(budgets=Budgets(1.0, 2.0)) as world:
        answers = [await world.post(ADA, content="x") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].json()["retry_after"] == 1.0
        told = [
            [answer.headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset-after", "bucket")]
            for answer in answers
        ]
        assert told == [
            ["2", left, reset, "writes"] for left, reset in (("1", "1.000"), ("0", "2.000"), ("0", "2.000"))
        ]
        assert [answer.headers.get("x-ratelimit-scope") for answer in answers] == [None, None, "user"]
        assert all(float(answer.headers["x-ratelimit-reset"]) > 1_700_000_000 for answer in answers)
        assert "x-ratelimit-limit" not in (await world.get("messages", ADA)).headers
        assert (await world.post(BEN, content="x")).status_code == 200


async def test_a_store_that_is_away_is_told_as_retryable() -> None:
    """The sender gets 503 at the deadline; the same nonce later makes one message."""
    async with open_world(send_timeout_s=0.1) as world:
        world.streams.away = 4
        answer = await world.post(ADA, content="x", nonce="n", enforce_nonce=True)
        assert answer.status_code == 503
        async with asyncio.timeout(10):
            while (again := await world.post(ADA, content="x", nonce="n", enforce_nonce=True)).status_code != 200:
                pass
        page = (await world.get("messages", ADA)).json()
        assert [message["id"] for message in page] == [again.json()["id"]]
