"""Reactions: counted once each, whoever asks how often; who reacted is listed by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest

from services.history.bodies import MessageBody
from services.history.core.marks import PutMarks, ReadReactors
from shared.core.commands import COMMAND_LIFETIME_MS, AddReaction, ClearReactions, MessageCommand, RemoveReaction
from shared.core.message_events import MessageCreated, Reaction
from shared.core.model import User
from shared.core.permissions import ALL, DEFAULT, Permission
from shared.core.writing import Amend, Commit, Publish, RaiseHeads, Together
from tests.history.bench import ADA as ANN
from tests.history.bench import BEN as BOB
from tests.history.bench import NOW, Bench, deletion, edit, sent
from tests.history.world import ADA, BEN, CHANNEL, EVE, GROUP, World, open_world

THUMB, HEART = "👍", "❤️"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a history service in memory."""
    async with open_world() as opened:
        yield opened


def common(number: int, user_id: int, permissions: int = DEFAULT) -> dict[str, Any]:
    """Return the fields of a command about messages."""
    fields = {name: getattr(edit(number, 0), name) for name in MessageCommand.__struct_fields__}
    return {**fields, "user_id": user_id, "permissions": permissions}


def react(
    number: int, message_id: int, user: User = ANN, emoji: str = THUMB, permissions: int = DEFAULT
) -> AddReaction:
    """Return a reaction, numbered."""
    return AddReaction(**common(number, user.id, permissions), message_id=message_id, emoji=emoji, user=user)


def withdraw(
    number: int, message_id: int, user: User = ANN, of: User = ANN, emoji: str = THUMB, permissions: int = DEFAULT
) -> RemoveReaction:
    """Return the withdrawal of a reaction, numbered."""
    return RemoveReaction(**common(number, user.id, permissions), message_id=message_id, emoji=emoji, of=of.id)


def counts(bench: Bench) -> list[tuple[str, int]]:
    """Return the counts that the last event told."""
    body: Any = bench.published[-1].record.body
    return [(one.emoji, one.count) for one in body.reactions]


def test_a_reaction_is_stored_then_projected_then_told() -> None:
    """Onto the message and as a mark; by the time of the answer both are done."""
    bench = Bench()
    (first,) = sent(bench, 1)
    settled = bench.settle(react(2, first))
    assert settled is not None
    assert [type(effect) for effect in bench.effects] == [Together, ReadReactors, Commit, Together, RaiseHeads, Publish]
    assert [type(effect) for effect in bench.effects[3].effects] == [Amend, PutMarks]
    assert settled.replies[0].seq == 2
    assert counts(bench) == [(THUMB, 1)]


def test_repeats_are_no_events() -> None:
    """The same reaction again, also in one batch, and the withdrawal of none, change nothing and have no seq."""
    bench = Bench()
    (first,) = sent(bench, 1)
    settled = bench.settle(
        react(2, first), react(3, first), react(4, first, BOB), withdraw(5, first, emoji=HEART), withdraw(6, first)
    )
    assert settled is not None
    assert [settled.replies[index].seq for index in range(5)] == [2, 0, 3, 0, 4]
    assert counts(bench) == [(THUMB, 1)]
    again = bench.settle(react(7, first, BOB), withdraw(8, first), withdraw(9, first, BOB, BOB))
    assert again is not None
    assert [again.replies[index].seq for index in range(3)] == [0, 0, 5]
    assert counts(bench) == []


def test_what_was_cleared_does_not_count_again() -> None:
    """After a clearing everybody may react anew, and nobody's old reaction is there."""
    bench = Bench()
    (first,) = sent(bench, 1)
    clear = ClearReactions(**common(4, BOB.id, ALL), message_id=first, emoji=THUMB)
    settled = bench.settle(react(2, first), react(3, first, BOB), clear, withdraw(5, first), react(6, first))
    assert settled is not None
    assert [settled.replies[index].seq for index in range(5)] == [2, 3, 4, 0, 5]
    assert counts(bench) == [(THUMB, 1)]
    later = bench.settle(withdraw(7, first, BOB, BOB), react(8, first, BOB))
    assert later is not None
    assert [later.replies[index].seq for index in range(2)] == [0, 6]
    assert counts(bench) == [(THUMB, 2)]


def test_what_each_reaction_needs() -> None:
    """A new emoji ADD_REACTIONS, any READ_MESSAGE_HISTORY, what is of others MANAGE_MESSAGES; and the message."""
    bench = Bench()
    first, second = sent(bench, 1, 2)
    bench.settle(react(3, first), deletion(4, second))
    plain = DEFAULT & ~Permission.ADD_REACTIONS
    cases = (
        (react(10, first, BOB, HEART, plain), "MissingPermissions"),
        (react(11, first, BOB, THUMB, plain & ~Permission.READ_MESSAGE_HISTORY), "MissingPermissions"),
        (react(12, first, BOB, THUMB, plain), ""),
        (react(13, second), "UnknownMessage"),
        (react(14, first - 1), "UnknownMessage"),
        (withdraw(15, first, BOB, ANN), "MissingPermissions"),
        (withdraw(16, first, BOB, ANN, permissions=ALL), ""),
        (ClearReactions(**common(17, ANN.id), message_id=first), "MissingPermissions"),
        (ClearReactions(**common(18, ANN.id, ALL), message_id=first), ""),
        (react(19, first, permissions=0), "MissingAccess"),
    )
    for asked, error in cases:
        settled = bench.settle(asked)
        assert settled is not None
        assert settled.replies[0].error == error, asked


def test_different_emoji_are_bounded() -> None:
    """Twenty; one more is refused, the same once more is not."""
    bench = Bench()
    (first,) = sent(bench, 1)
    emoji = [chr(0x1F600 + number) for number in range(21)]
    settled = bench.settle(*(react(10 + number, first, emoji=one) for number, one in enumerate(emoji)))
    assert settled is not None
    assert [settled.replies[index].error for index in (19, 20)] == ["", "TooManyReactions"]
    more = bench.settle(react(50, first, BOB, emoji[0]))
    assert more is not None
    assert more.replies[0].error == ""
    assert len(counts(bench)) == 20


def test_an_edit_keeps_reactions() -> None:
    """What changes the content leaves the counts, in a batch and after it."""
    bench = Bench()
    (first,) = sent(bench, 1)
    bench.settle(react(2, first), edit(3, first), react(4, first, BOB))
    bench.settle(edit(5, first, "best"))
    body: Any = bench.published[-1].record.body
    assert isinstance(body.message, MessageCreated)
    assert body.message.reactions == (Reaction(THUMB, 2, 2),)


def test_a_death_between_commit_and_projection_loses_no_count() -> None:
    """Whoever takes over projects what was stored before it decides."""
    bench = Bench()
    (first,) = sent(bench, 1)
    for number, stop_at in ((2, Amend), (3, PutMarks), (4, RaiseHeads), (5, Publish)):
        user = User(number, f"u{number}")
        assert (
            bench.settle(react(number, first, user), stop_at=Together if stop_at in (Amend, PutMarks) else stop_at)
            is None
        )
        settled = bench.settle(
            msgspec.structs.replace(react(number, first, user), expires_at=NOW + COMMAND_LIFETIME_MS)
        )
        assert settled is not None
        assert not settled.replies[0].error
    bench.settle(react(9, first, User(9, "u9")))
    assert counts(bench) == [(THUMB, 5)]


async def path(world: World, emoji: str = THUMB, message_id: str = "", **body: Any) -> str:
    """Return the path of a message's reactions with an emoji, percent-encoded; a new message without an id."""
    found = message_id or (await world.post(ADA, content="x", **body)).json()["id"]
    return f"messages/{found}/reactions/{quote(emoji)}"


async def call(world: World, method: str, path: str, user: User) -> httpx.Response:
    """Ask for a change below the channel."""
    url = f"/api/v10/channels/{CHANNEL.id}/{path}"
    return await world.client.request(method, url, headers=world.token(user))


async def test_reactions_over_rest(world: World) -> None:
    """Put, see the count and one's own, list who did, take back; each told as an event with Discord's fields."""
    where = await path(world)
    message_id = where.split("/")[1]
    for user in (ADA, BEN, BEN):
        assert (await call(world, "PUT", f"{where}/@me", user)).status_code == 204
    heart = await path(world, "❤", message_id)
    assert (await call(world, "PUT", f"{heart}/@me", BEN)).status_code == 204
    message = (await world.get(f"messages/{message_id}", ADA)).json()
    MessageBody.model_validate(message)
    assert [(one["emoji"]["name"], one["count"], one["me"]) for one in message["reactions"]] == [
        (THUMB, 2, True),
        (HEART, 1, False),
    ]
    (paged,) = (await world.get("messages", BEN)).json()
    assert [one["me"] for one in paged["reactions"]] == [True, True]
    listed = (await world.get(where, BEN)).json()
    assert [user["username"] for user in listed] == ["ada", "ben"]
    assert (await world.get(where, BEN, limit=1, after=ADA.id)).json() == listed[1:]
    assert (await call(world, "DELETE", f"{where}/@me", ADA)).status_code == 204
    assert [user["username"] for user in (await world.get(where, BEN)).json()] == ["ben"]
    events = (await world.get("events", BEN)).json()["events"]
    assert [event["t"] for event in events] == [
        "MESSAGE_CREATE",
        *["MESSAGE_REACTION_ADD"] * 3,
        "MESSAGE_REACTION_REMOVE",
    ]
    assert "reactions" not in events[0]["d"]
    assert events[1]["d"] == {
        "user_id": str(ADA.id),
        "channel_id": str(CHANNEL.id),
        "guild_id": str(GROUP),
        "message_id": message_id,
        "message_author_id": str(ADA.id),
        "emoji": {"id": None, "name": THUMB, "animated": False},
        "type": 0,
        "burst": False,
        "member": events[1]["d"]["member"],
        "seq": 2,
    }
    assert events[1]["d"]["member"]["user"]["id"] == str(ADA.id)
    assert (events[4]["d"]["user_id"], events[4]["d"]["seq"]) == (str(ADA.id), 5)


async def test_moderators_clear(world: World) -> None:
    """One user's, one emoji's, or all; who may not is told, and a stranger sees nothing."""
    where = await path(world)
    message_id = where.split("/")[1]
    heart = await path(world, HEART, message_id)
    for one, user in ((where, ADA), (where, BEN), (heart, ADA)):
        await call(world, "PUT", f"{one}/@me", user)
    every = f"messages/{message_id}/reactions"
    for one in (f"{where}/{ADA.id}", where, every):
        assert (await call(world, "DELETE", one, BEN)).json()["code"] == 50013
        assert (await call(world, "DELETE", one, EVE)).json()["code"] == 50001
    world.permissions[BEN.id] = ALL
    for one in (f"{where}/{ADA.id}", where, every, every):
        assert (await call(world, "DELETE", one, BEN)).status_code == 204
    assert "reactions" not in (await world.get(f"messages/{message_id}", ADA)).json()
    assert (await world.get(where, ADA)).json() == []
    events = (await world.get("events", BEN, after_seq=4)).json()["events"]
    assert [event["t"] for event in events] == [
        "MESSAGE_REACTION_REMOVE",
        "MESSAGE_REACTION_REMOVE_EMOJI",
        "MESSAGE_REACTION_REMOVE_ALL",
    ]
    assert events[1]["d"]["emoji"]["name"] == THUMB


@pytest.mark.parametrize("emoji", ["x", "party:41771983429993937", "👍👍", "%00", "🇩"])
async def test_what_is_no_emoji(world: World, emoji: str) -> None:
    """Told as Discord does, also a group's own."""
    where = await path(world, emoji)
    for method, one in (("PUT", f"{where}/@me"), ("DELETE", f"{where}/@me"), ("GET", where), ("DELETE", where)):
        answer = await call(world, method, one, ADA)
        assert (answer.status_code, answer.json()["code"]) in ((404, 10014), (400, 50035))


async def test_reactions_of_no_message(world: World) -> None:
    """404 with Discord's code, whatever is asked."""
    where = await path(world, message_id="5")
    for method, one in (("PUT", f"{where}/@me"), ("DELETE", f"{where}/@me"), ("GET", where)):
        answer = await call(world, method, one, ADA)
        assert (answer.status_code, answer.json()["code"]) == (404, 10008)


async def test_a_page_asks_once_for_own_reactions(world: World) -> None:
    """However many messages have some; a page without any asks nothing."""
    asked: list[int] = []
    marks: Any = world.marks
    listing = marks.list_own

    async def list_own(user_id: int, message_ids: Any, epochs: Any) -> Any:
        asked.append(len(message_ids))
        return await listing(user_id, message_ids, epochs)

    marks.list_own = list_own
    await world.post(ADA, content="x")
    assert len((await world.get("messages", ADA)).json()) == 1
    assert asked == []
    for _ in range(3):
        await call(world, "PUT", f"{await path(world)}/@me", BEN)
    page = (await world.get("messages", BEN)).json()
    assert [one["reactions"][0]["me"] for one in page[:3]] == [True] * 3
    assert asked == [3]
