"""Replies: what they reply to is looked up when they are decided, and told as it stands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from services.history.core.deciding import Verdict
from services.history.handlers import handlers_of
from services.history.memory_markers import MemoryMarkers
from services.history.pages import Pages
from services.history.telling import Telling
from shared.core.calls import EventPage, ReadChannelEvents
from shared.core.message_events import MessageCreated, MessageEdited
from shared.core.permissions import ALL, DEFAULT, Permission
from shared.core.stream import CHANNEL_LIMITS, Event, Limits, Record
from shared.core.wire.dispatches import dispatch_of
from shared.core.writing import Commit, FindBucket, Publish, RaiseHeads, ReadBucket, Together
from tests.history.bench import ADA, BEN, CHANNEL, Bench, command, deletion, edit, sent
from tests.history.world import ADA as ANN
from tests.history.world import BEN as BOB
from tests.history.world import World, open_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a history service in memory."""
    async with open_world() as opened:
        yield opened


def referenced(event: Event) -> Any:
    """Return the content of what an event's message replies to; None: deleted, UNSET: it is no reply."""
    if not isinstance(event.referenced, Record):
        return event.referenced
    assert isinstance(event.referenced.body, MessageCreated)
    return event.referenced.body.content


def body_of(event: Event) -> MessageCreated:
    """Return the message of an event."""
    assert isinstance(event.record.body, MessageCreated)
    return event.record.body


def test_a_reply_costs_one_read_of_what_is_near() -> None:
    """The tail is read once for the batch; what it replies to goes with the event and is called."""
    bench = Bench()
    (first,) = sent(bench, 1)
    sent(bench, 2, author=BEN, reference_id=first, reference_required=True, mention_replied=True)
    assert [type(effect) for effect in bench.effects] == [Together, Commit, RaiseHeads, Publish]
    (read,) = bench.effects[0].effects
    assert isinstance(read, ReadBucket)
    event = bench.published[-1]
    assert referenced(event) == "message 1"
    assert (body_of(event).reference_id, body_of(event).reference_place) == (first, 1)
    assert body_of(event).mentions == (ADA,)
    assert bench.published[0].referenced is msgspec.UNSET


def test_an_old_message_is_found_where_it_stands() -> None:
    """In a bucket before, with the bucket's name kept for readers."""
    bench = Bench(Limits(messages=2, window_ms=CHANNEL_LIMITS.window_ms))
    ids = [sent(bench, number)[0] for number in range(1, 6)]
    sent(bench, 6, reference_id=ids[2], reference_required=True)
    read = [one for effect in bench.effects if isinstance(effect, Together) for one in effect.effects]
    assert any(isinstance(one, FindBucket) for one in read)
    assert (body_of(bench.published[-1]).reference_place, referenced(bench.published[-1])) == (3, "message 3")


def test_a_reply_to_nothing_is_refused_or_no_reply() -> None:
    """As `fail_if_not_exists` says; a deleted message is none, and so is one to come."""
    bench = Bench()
    first, second = sent(bench, 1, 2)
    bench.settle(deletion(3, first))
    for number, missing in ((4, first), (6, first - 1), (8, second << 1)):
        settled = bench.settle(
            command(number, reference_id=missing, reference_required=True), command(number + 1, reference_id=missing)
        )
        assert settled is not None
        assert (settled.replies[0].error, settled.replies[1].error) == ("UnknownReference", "")
        assert body_of(bench.published[-1]).reference_id == 0
        assert bench.published[-1].referenced is msgspec.UNSET


def test_who_is_called_by_a_reply() -> None:
    """Its author once, not oneself, and nobody where that is not wanted."""
    bench = Bench()
    (first,) = sent(bench, 1)
    told = []
    for number, fields in enumerate(
        (
            {"author": BEN, "mention_replied": True, "mentions": (ADA,)},
            {"author": BEN, "mention_replied": False},
            {"author": ADA, "mention_replied": True},
        ),
        2,
    ):
        sent(bench, number, reference_id=first, **fields)
        told.append(body_of(bench.published[-1]).mentions)
    assert told == [(ADA,), (), ()]


def test_an_edited_reply_is_told_whole() -> None:
    """With what it replies to, from the tail or from far behind; and whom it calls only as a reply it calls still."""
    bench = Bench(limits=Limits(messages=2))
    (first,) = sent(bench, 1)
    reply: dict[str, Any] = {"author": BEN, "reference_id": first, "mention_replied": True}
    (second,) = sent(bench, 2, **reply)
    (named,) = sent(bench, 3, mentions=(ADA,), **reply)
    for number, message_id, called in ((4, second, (ADA,)), (5, named, ())):
        bench.settle(msgspec.structs.replace(edit(number, message_id, "better"), user_id=BEN.id))
        changed = bench.published[-1]
        assert isinstance(changed.record.body, MessageEdited)
        assert (changed.record.body.message.mentions, referenced(changed)) == (called, "message 1")
        t, d = dispatch_of(changed)
        assert (t, d and d["referenced_message"]["content"]) == ("MESSAGE_UPDATE", "message 1")
    bench.settle(msgspec.structs.replace(edit(6, second, "again"), user_id=BEN.id, mentions=(ADA, BEN)))
    assert bench.published[-1].record.body.message.mentions == (ADA, BEN)  # type: ignore[union-attr]
    bench.settle(deletion(7, first))
    bench.settle(msgspec.structs.replace(edit(8, second, "at last"), user_id=BEN.id))
    assert referenced(bench.published[-1]) is None


def test_changes_before_a_reply_in_its_batch_are_seen() -> None:
    """An edit of what it replies to shows; what is deleted behind it is told as deleted."""
    bench = Bench()
    first, second = sent(bench, 1, 2)
    bench.settle(
        edit(3, first, "better"),
        command(4, reference_id=first),
        command(5, reference_id=second),
        deletion(6, second),
    )
    by_seq = {event.record.seq: event for event in bench.published}
    assert (referenced(by_seq[4]), referenced(by_seq[5])) == ("better", None)


def test_a_successor_tells_what_was_not_told_with_what_it_replies_to() -> None:
    """What was stored and not published is completed from the bucket."""
    bench = Bench()
    (first,) = sent(bench, 1)
    assert bench.settle(command(2, reference_id=first, nonce="n"), stop_at=Publish) is None
    bench.settle(command(3))
    assert [referenced(event) for event in bench.published if event.record.seq == 2] == ["message 1"]
    bench.settle(command(2, reference_id=first, nonce="n"))
    assert referenced(bench.published[-1]) == "message 1"


def test_permissions_are_looked_at_again() -> None:
    """Under newer facts a reply, embeds and everyone are judged by those."""
    bench = Bench()
    (first,) = sent(bench, 1)
    bench.shard.note_group_seq(9, 6)
    bench.verdict = Verdict(DEFAULT & ~Permission.READ_MESSAGE_HISTORY & ~Permission.EMBED_LINKS)
    settled = bench.settle(
        command(2, reference_id=first),
        command(3, embeds=({"type": "rich", "title": "t"},)),
        command(4, mention_everyone=True),
    )
    assert settled is not None
    assert [settled.replies[index].error for index in range(3)] == ["CannotReply", "MissingPermissions", ""]
    assert not body_of(bench.published[-1]).mention_everyone
    bench.verdict = Verdict(ALL)
    bench.settle(command(5, mention_everyone=True))
    assert body_of(bench.published[-1]).mention_everyone


def test_calls_of_the_gateway_tell_it_too() -> None:
    """What a node repairs is what it would have got."""
    bench = Bench()
    (first,) = sent(bench, 1)
    sent(bench, 2, reference_id=first)
    read = handlers_of(Pages(bench.store), Telling(bench.store, bench.marks), MemoryMarkers())[ReadChannelEvents](
        ReadChannelEvents(CHANNEL, 0)
    )

    async def ask() -> EventPage:
        page: EventPage = await read
        return page

    assert list(asyncio.run(ask()).events) == bench.published


async def test_replies_over_rest(world: World) -> None:
    """Answer, page, single message and events tell the other message inside, without what that replies to."""
    first = (await world.post(ANN, content="one")).json()
    second = (await world.post(BOB, content="two", message_reference={"message_id": first["id"]})).json()
    third = (await world.post(ANN, content="three", message_reference={"message_id": second["id"]})).json()
    assert (second["type"], second["referenced_message"]) == (19, first)
    assert [user["id"] for user in second["mentions"]] == [str(ANN.id)]
    inner = {key: value for key, value in second.items() if key != "referenced_message"}
    assert third["referenced_message"] == inner
    assert third["message_reference"]["message_id"] == second["id"]
    page = (await world.get("messages", BOB)).json()
    assert page == [third, second, first]
    assert (await world.get(f"messages/{third['id']}", BOB)).json() == third
    events = (await world.get("events", BOB)).json()["events"]
    assert [event["d"] for event in events] == [first, second, third]
    assert "referenced_message" not in first


async def test_a_reply_that_is_refused(world: World) -> None:
    """In Discord's shape; what is not required is sent as no reply."""
    answer = await world.post(ANN, content="x", message_reference={"message_id": "5"})
    assert (answer.status_code, answer.json()["code"]) == (400, 50035)
    assert answer.json()["errors"]["message_reference"]["_errors"][0]["code"] == "REPLIES_UNKNOWN_MESSAGE"
    reference = {"message_id": "5", "fail_if_not_exists": False}
    told = (await world.post(ANN, content="x", message_reference=reference)).json()
    assert (told["type"], "message_reference" in told) == (0, False)
    world.permissions[ANN.id] = DEFAULT & ~Permission.READ_MESSAGE_HISTORY
    refused = await world.post(ANN, content="x", message_reference={"message_id": told["id"]})
    assert (refused.status_code, refused.json()["code"]) == (403, 160002)
