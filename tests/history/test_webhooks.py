"""What is written by webhooks: by the token alone, in the webhook's name, and nothing once it is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from shared.core.limits import Budgets
from shared.core.message_errors import UnknownMessage
from shared.core.stream import Head, channel_stream
from tests.history.world import ADA, BEN, CHANNEL, GROUP, HOOK, OPEN_ROLES, OTHER_HOOK, World, open_world

EMBED = {"title": "Build 5", "url": "https://ci.example/5", "color": 3_066_993, "fields": [{"name": "a", "value": "b"}]}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a history service in memory, with two webhooks of its channel."""
    async with open_world() as opened:
        yield opened


def code_of(answer: httpx.Response) -> int:
    """Return an answer's error code."""
    return int(answer.json()["code"])


async def stored(world: World) -> int:
    """Return how many events the channel has."""
    head: Head = await world.streams.read_head(channel_stream(CHANNEL.id))
    return head.seq


async def test_a_message_by_a_webhook(world: World) -> None:
    """With `wait` the message is answered, without 204; both are stored, and dispatched as the webhook's."""
    told = await world.write(content="Build 5 is green", embeds=[EMBED])
    assert told.status_code == 200, told.text
    message = told.json()
    assert message["author"] == {
        "id": str(HOOK.id),
        "username": "deploys",
        "discriminator": "0000",
        "global_name": None,
        "avatar": None,
        "bot": True,
        "public_flags": 0,
    }
    assert (message["webhook_id"], message["content"], message["type"]) == (str(HOOK.id), "Build 5 is green", 0)
    assert (message["guild_id"], message["channel_id"]) == (str(GROUP), str(CHANNEL.id))
    assert message["embeds"][0]["title"] == "Build 5"
    quiet = await world.write(wait=False, content="Build 6 is green")
    assert (quiet.status_code, quiet.content) == (204, b"")
    page = (await world.get("messages", ADA)).json()
    assert page[1] == message
    assert [one["content"] for one in page] == ["Build 6 is green", "Build 5 is green"]
    events = (await world.get("events", ADA)).json()["events"]
    assert [(event["t"], event["d"]["webhook_id"]) for event in events] == [("MESSAGE_CREATE", str(HOOK.id))] * 2


async def test_a_message_may_have_a_name_and_picture_of_its_own(world: World) -> None:
    """They are the message's, not the webhook's; who replies to it calls nobody."""
    told = (await world.write(content="x", username=" Grafana ", avatar_url="https://x.example/a.png")).json()
    assert (told["author"]["username"], told["author"]["avatar_url"]) == ("Grafana", "https://x.example/a.png")
    plain = (await world.write(content="x", username="", avatar_url=None)).json()
    assert plain["author"]["username"] == "deploys"
    assert "avatar_url" not in plain["author"]
    reply = (await world.post(ADA, content="thanks", message_reference={"message_id": told["id"]})).json()
    assert (reply["type"], reply["mentions"], reply["referenced_message"]["webhook_id"]) == (19, [], str(HOOK.id))


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, 50006, None),
        ({"content": " "}, 50006, None),
        ({"content": "x" * 2001}, 50035, "content"),
        ({"content": "x", "username": "x" * 81}, 50035, "username"),
        ({"content": "x", "username": "\u200b"}, 50035, "username"),
        ({"content": "x", "avatar_url": "javascript:alert(1)"}, 50035, "avatar_url"),
        ({"content": "x", "avatar_url": "https:///a"}, 50035, "avatar_url"),
        ({"content": "x", "thread_name": "x"}, 50035, "thread_name"),
        ({"content": "x", "allowed_mentions": {"parse": ["all"]}}, 50035, "allowed_mentions"),
        ({"embeds": [{"title": "x" * 257}]}, 50035, "embeds"),
        ({"embeds": [{"title": "x"}] * 11}, 50035, "embeds"),
    ],
)
async def test_what_is_wrong_is_named(world: World, body: dict[str, Any], code: int, field: str | None) -> None:
    """The same limits as for anybody's message, and nothing is stored."""
    answer = await world.write(**body)
    assert (answer.status_code, code_of(answer)) == (400, code)
    assert [*answer.json().get("errors", {})] == ([field] if field else [])
    assert await stored(world) == 0


async def test_threads_are_refused_by_name(world: World) -> None:
    """Better than to write elsewhere than the program means."""
    for path in ("", "/slack", "/messages/5"):
        method = "GET" if path.startswith("/m") else "POST"
        answer = await world.client.request(method, world.hook() + path, params={"thread_id": "5"}, json={"text": "x"})
        assert (answer.status_code, [*answer.json()["errors"]]) == (400, ["thread_id"])


async def test_whom_it_calls_is_within_what_is_allowed(world: World) -> None:
    """A webhook may call everybody, as with Discord; `allowed_mentions` holds it to less."""
    content = f"@everyone <@{BEN.id}> <@&{min(OPEN_ROLES)}> <@999>"
    told = (await world.write(content=content)).json()
    assert (told["mention_everyone"], [user["id"] for user in told["mentions"]]) == (True, [str(BEN.id)])
    assert told["mention_roles"] == [str(min(OPEN_ROLES))]
    quiet = (await world.write(content=content, allowed_mentions={"parse": []})).json()
    assert (quiet["mention_everyone"], quiet["mentions"], quiet["mention_roles"]) == (False, [], [])


async def test_only_its_token_lets_anybody_write(world: World) -> None:
    """Another webhook's token, a user's, a guess: refused before anything is asked of groups, and nothing is stored."""
    good = world.tokens.webhook_token(HOOK.id)
    user = world.token(ADA)["Authorization"]
    guesses = [world.tokens.webhook_token(OTHER_HOOK.id), good[:-1], good.swapcase(), "x", user]
    for webhook_id, tokens in ((HOOK.id, guesses), (5, [good, "x"]), (ADA.id, [good, user])):
        for token in tokens:
            for method, path in (("POST", ""), ("POST", "/slack"), *((one, "/messages/5") for one in ("GET", "PATCH"))):
                where = f"/api/v10/webhooks/{webhook_id}/{token}{path}"
                answer = await world.client.request(method, where, json={"content": "x"}, headers=world.token(ADA))
                assert (answer.status_code, code_of(answer)) == (401, 50027)
    assert world.webhooks_read == []
    assert await stored(world) == 0


async def test_a_webhook_that_is_gone_is_unknown(world: World) -> None:
    """With its right token, whatever is asked."""
    del world.webhooks[HOOK.id]
    asked = (
        ("POST", ""),
        ("POST", "/slack"),
        ("GET", "/messages/5"),
        ("PATCH", "/messages/5"),
        ("DELETE", "/messages/5"),
    )
    for method, path in asked:
        answer = await world.client.request(method, world.hook() + path, json={"content": "x"})
        assert (answer.status_code, code_of(answer)) == (404, 10015)


async def test_nothing_is_sequenced_after_the_deletion(world: World) -> None:
    """What was permitted under older facts the shard asks about again: then no message is written, changed, deleted."""
    sent = (await world.write(content="before")).json()["id"]
    world.deleted_webhooks.add(HOOK.id)
    await world.invalidate(GROUP, world.group_seq + 1)
    before = await stored(world)
    for method, path in (
        ("POST", ""),
        ("POST", "/slack"),
        *((one, f"/messages/{sent}") for one in ("PATCH", "DELETE")),
    ):
        answer = await world.client.request(method, world.hook() + path, json={"content": "after", "text": "after"})
        assert (answer.status_code, code_of(answer)) == (404, 10015)
    assert await stored(world) == before
    assert (await world.get(f"messages/{sent}", ADA)).json()["content"] == "before"


async def test_a_webhook_reads_changes_and_deletes_its_own_messages_only(world: World) -> None:
    """Not those of another webhook, of a user, or of nobody: those are unknown to it."""
    own = (await world.write(content="one", username="CI")).json()
    foreign = [
        (await world.write(webhook=OTHER_HOOK, content="other's")).json()["id"],
        (await world.post(ADA, content="a user's")).json()["id"],
        "5",
    ]
    path = f"{world.hook()}/messages/"
    assert (await world.client.get(path + own["id"])).json() == own
    for message_id in foreign:
        for method in ("GET", "PATCH", "DELETE"):
            answer = await world.client.request(method, path + message_id, json={"content": "mine"})
            assert (answer.status_code, code_of(answer)) == (404, UnknownMessage.code)
    edited = (await world.client.patch(path + own["id"], json={"content": "two", "embeds": [EMBED]})).json()
    assert (edited["content"], edited["author"], edited["webhook_id"]) == ("two", own["author"], own["webhook_id"])
    assert edited["edited_timestamp"] is not None
    assert (await world.get(f"messages/{own['id']}", ADA)).json() == edited
    assert (await world.client.delete(path + own["id"])).status_code == 204
    assert code_of(await world.client.get(path + own["id"])) == UnknownMessage.code
    told = [event["t"] for event in (await world.get("events", ADA)).json()["events"]]
    assert told == [None, "MESSAGE_CREATE", "MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE"]


async def test_users_may_delete_a_webhooks_message_as_any_other(world: World) -> None:
    """Moderators delete it, nobody edits it, members react to it."""
    own = (await world.write(content="one")).json()["id"]
    path = f"/api/v10/channels/{CHANNEL.id}/messages/{own}"
    assert code_of(await world.client.patch(path, json={"content": "x"}, headers=world.token(ADA))) == 50005
    assert code_of(await world.client.delete(path, headers=world.token(ADA))) == 50013
    reacted = await world.client.put(f"{path}/reactions/👍/@me", headers=world.token(ADA))
    assert reacted.status_code == 204


async def test_a_repeat_of_an_enforced_nonce_is_the_first_message(world: World) -> None:
    """Discord has no nonce for webhooks; here a program may try again safely."""
    first, again = [(await world.write(content="x", nonce="job 5", enforce_nonce=True)).json() for _ in range(2)]
    assert again == first
    assert (await world.write(webhook=OTHER_HOOK, content="x", nonce="job 5", enforce_nonce=True)).json()[
        "id"
    ] != first["id"]


async def test_each_webhook_has_a_budget_which_comes_before_any_work() -> None:
    """Five messages in two seconds; then 429 with what libraries need, and nothing is asked of groups."""
    async with open_world(webhook_budgets=Budgets(2.5, 5)) as world:
        for _ in range(5):
            assert (await world.write(content="x")).status_code == 200
        asked = len(world.webhooks_read)
        for path in ("", "/slack"):
            refused = await world.client.post(world.hook() + path, json={"content": "x", "text": "x"})
            assert refused.status_code == 429
            assert 0 < refused.json()["retry_after"] <= 0.4
            assert {"retry-after", "via", "x-ratelimit-scope"} <= set(refused.headers)
        assert len(world.webhooks_read) == asked
        assert (await world.write(webhook=OTHER_HOOK, content="x")).status_code == 200


async def test_guesses_spend_nothing_of_the_budget() -> None:
    """Who has not the token can't keep the webhook from writing."""
    async with open_world(webhook_budgets=Budgets(0.1, 1)) as world:
        for _ in range(5):
            guessed = await world.client.post(f"/api/v10/webhooks/{HOOK.id}/guess", json={"content": "x"})
            assert code_of(guessed) == 50027
        assert (await world.write(content="x")).status_code == 200


async def test_slack_speaks(world: World) -> None:
    """As JSON, or as the form that Slack's own examples send; answered by `ok`, as Slack does."""
    body = {
        "text": "<!here> Build <https://ci.example/5|#5> failed &amp; burned",
        "username": "CI",
        "icon_url": "https://ci.example/icon.png",
        "attachments": [{"color": "danger", "title": "log", "title_link": "https://ci.example/5/log", "text": "boom"}],
    }
    sent = [
        await world.client.post(f"{world.hook()}/slack", json=body),
        await world.client.post(
            f"{world.hook()}/slack", data={"payload": httpx.Request("POST", "/", json=body).content.decode()}
        ),
    ]
    assert [(answer.status_code, answer.text) for answer in sent] == [(200, "ok")] * 2
    assert sent[0].headers["content-type"].startswith("text/plain")
    for message in (await world.get("messages", ADA)).json():
        assert message["content"] == "@here Build [#5](https://ci.example/5) failed & burned"
        assert (message["author"]["username"], message["author"]["avatar_url"]) == ("CI", body["icon_url"])
        assert (message["mention_everyone"], message["webhook_id"]) == (True, str(HOOK.id))
        (embed,) = message["embeds"]
        assert (embed["title"], embed["description"], embed["color"]) == ("log", "boom", 0xA30200)


async def test_what_slack_allows_and_we_do_not(world: World) -> None:
    """A message of blocks alone shows nothing here, and is refused; wrong types are named."""
    blocks = {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x"}}]}
    assert code_of(await world.client.post(f"{world.hook()}/slack", json=blocks)) == 50006
    for body, field in (
        ({"text": ["x"]}, "text"),
        ({"attachments": {}}, "attachments"),
        ({"attachments": ["x"]}, "attachments"),
        ({"attachments": [{"fields": "x"}]}, "attachments"),
    ):
        answer = await world.client.post(f"{world.hook()}/slack", json=body)
        assert (code_of(answer), [*answer.json()["errors"]]) == (50035, [field])
    bad = await world.client.post(f"{world.hook()}/slack", data={"payload": "{"})
    assert (bad.status_code, code_of(bad)) == (400, 50109)
    assert await stored(world) == 0


async def test_githubs_own_shape_is_a_clear_404(world: World) -> None:
    """It says what to do instead."""
    answer = await world.client.post(f"{world.hook()}/github", json={"zen": "x"})
    assert answer.status_code == 404
    assert "GitHub" in answer.json()["message"]
