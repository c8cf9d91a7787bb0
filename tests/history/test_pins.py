"""Pins: at most fifty, newest first, in two queries; told as a changed message and by a message of the system."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.history.bodies import PinsBody
from services.history.core.marks import PutMarks, ReadPins
from services.history.core.pinning import MAX_PINS
from shared.core.commands import MessageCommand, PinMessage, UnpinMessage
from shared.core.message_events import MessagePinned, MessageUnpinned
from shared.core.permissions import ALL, DEFAULT, Permission
from shared.core.writing import Amend, Commit, Publish, RaiseHeads, Together
from tests.history.bench import CHANNEL as BENCH_CHANNEL
from tests.history.bench import NOW, Bench, command, deletion, edit, sent
from tests.history.world import ADA, BEN, CHANNEL, EVE, GROUP, World, open_world

MAY_PIN = DEFAULT | Permission.PIN_MESSAGES


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return a history service in memory."""
    async with open_world() as opened:
        yield opened


def pin(number: int, message_id: int, permissions: int = MAY_PIN) -> PinMessage:
    """Return a pin by Ada, numbered."""
    fields = {name: getattr(edit(number, 0), name) for name in MessageCommand.__struct_fields__}
    return PinMessage(**{**fields, "permissions": permissions}, message_id=message_id)


def unpin(number: int, message_id: int, permissions: int = MAY_PIN) -> UnpinMessage:
    """Return the withdrawal of a pin by Ada, numbered."""
    fields = {name: getattr(edit(number, 0), name) for name in MessageCommand.__struct_fields__}
    return UnpinMessage(**{**fields, "permissions": permissions}, message_id=message_id)


def pins_of(bench: Bench) -> list[int]:
    """Return the ids of the pinned messages, newest pin first."""
    (pins,) = bench.perform(ReadPins((BENCH_CHANNEL,)))
    return [one.message_id for one in pins]


def test_a_pin_is_stored_then_projected_then_told() -> None:
    """Onto the message and as a mark, then published with the whole message."""
    bench = Bench()
    (first,) = sent(bench, 1)
    settled = bench.settle(pin(2, first))
    assert settled is not None
    assert [type(effect) for effect in bench.effects] == [Together, ReadPins, Commit, Together, RaiseHeads, Publish]
    assert [type(effect) for effect in bench.effects[3].effects] == [Amend, PutMarks]
    body = bench.published[-1].record.body
    assert isinstance(body, MessagePinned)
    assert (body.message.pinned, body.message.content, body.at) == (True, "message 1", NOW)
    assert pins_of(bench) == [first]


def test_pins_are_decided_one_after_the_other() -> None:
    """Repeats are no events; what is deleted is pinned no more, and takes no place."""
    bench = Bench()
    first, second = sent(bench, 1, 2)
    settled = bench.settle(pin(3, first), pin(4, first), pin(5, second), unpin(6, first), unpin(7, first))
    assert settled is not None
    assert [settled.replies[index].seq for index in range(5)] == [3, 0, 4, 5, 0]
    body = bench.published[-1].record.body
    assert isinstance(body, MessageUnpinned)
    assert (body.message.pinned, body.last_at) == (False, NOW)
    bench.settle(edit(8, second), deletion(9, second))
    assert pins_of(bench) == []


def test_pins_are_bounded() -> None:
    """Fifty; one more is refused until one is gone, by whatever way."""
    bench = Bench()
    ids = sent(bench, *range(1, MAX_PINS + 3))
    settled = bench.settle(*(pin(100 + number, one) for number, one in enumerate(ids[: MAX_PINS + 1])))
    assert settled is not None
    assert [settled.replies[index].error for index in (MAX_PINS - 1, MAX_PINS)] == ["", "TooManyPins"]
    for number, gone in ((200, deletion(200, ids[0])), (210, unpin(210, ids[1]))):
        settled = bench.settle(gone, pin(number + 1, ids[-1]), pin(number + 2, ids[-2]))
        assert settled is not None
        assert not settled.replies[0].error
    assert len(pins_of(bench)) == MAX_PINS


def test_what_a_pin_needs() -> None:
    """One of two permissions, a message that there is, and that a person wrote."""
    bench = Bench()
    (first,) = sent(bench, 1)
    (notice,) = sent(bench, 2, content="", kind=6, reference_id=first)
    cases: tuple[tuple[Any, str], ...] = (
        (pin(3, first, DEFAULT), "MissingPermissions"),
        (unpin(4, first, DEFAULT), "MissingPermissions"),
        (pin(5, first, DEFAULT | Permission.MANAGE_MESSAGES), ""),
        (pin(6, first - 1), "UnknownMessage"),
        (unpin(7, first - 1), "UnknownMessage"),
        (pin(8, notice), "CannotActOnSystemMessage"),
        (edit(9, notice), "CannotActOnSystemMessage"),
        (command(10, reference_id=notice, reference_required=True), "SystemReference"),
        (deletion(11, notice), ""),
    )
    for asked, error in cases:
        settled = bench.settle(asked)
        assert settled is not None
        assert settled.replies[0].error == error, asked


def test_a_death_between_commit_and_projection_loses_no_pin() -> None:
    """Whoever takes over projects what was stored before it decides."""
    bench = Bench()
    first, second = sent(bench, 1, 2)
    assert bench.settle(pin(3, first), stop_at=RaiseHeads) is None
    bench.marks = type(bench.marks)()  # as if nothing had been put
    settled = bench.settle(pin(3, first), pin(4, second))
    assert settled is not None
    assert sorted(pins_of(bench)) == [first, second]


async def call(world: World, method: str, path: str, user: Any = ADA) -> httpx.Response:
    """Ask for a change below the channel."""
    url = f"/api/v10/channels/{CHANNEL.id}/{path}"
    return await world.client.request(method, url, headers=world.token(user))


@pytest.mark.parametrize("paths", ["pins", "messages/pins"])
async def test_pins_over_rest(world: World, paths: str) -> None:
    """Put, list in both shapes, take back; the channel is told by a message of type 6."""
    world.permissions[ADA.id] = ALL
    ids = [(await world.post(BEN, content=str(number))).json()["id"] for number in range(3)]
    for one in (*ids, ids[0]):
        world.now += 1
        assert (await call(world, "PUT", f"{paths}/{one}")).status_code == 204
    plain = (await world.get("pins", BEN)).json()
    assert [message["content"] for message in plain] == ["2", "1", "0"]
    assert all(message["pinned"] for message in plain)
    body = (await world.get("messages/pins", BEN, limit=2)).json()
    PinsBody.model_validate(body)
    assert ([one["message"] for one in body["items"]], body["has_more"]) == (plain[:2], True)
    rest = (await world.get("messages/pins", BEN, before=body["items"][-1]["pinned_at"])).json()
    assert ([one["message"]["id"] for one in rest["items"]], rest["has_more"]) == ([ids[0]], False)
    assert (await call(world, "DELETE", f"{paths}/{ids[1]}")).status_code == 204
    assert [message["id"] for message in (await world.get("pins", BEN)).json()] == [ids[2], ids[0]]
    events = (await world.get("events", BEN, after_seq=3)).json()["events"]
    assert [event["t"] for event in events] == ["MESSAGE_UPDATE", "MESSAGE_CREATE"] * 3 + ["MESSAGE_UPDATE"]
    told, notice = events[0]["d"], events[1]["d"]
    assert (told["id"], told["pinned"], told["content"], told["edited_timestamp"]) == (ids[0], True, "0", None)
    assert (notice["type"], notice["content"], notice["author"]["id"]) == (6, "", str(ADA.id))
    reference = {"type": 0, "message_id": ids[0], "channel_id": str(CHANNEL.id), "guild_id": str(GROUP)}
    assert notice["message_reference"] == reference
    assert "referenced_message" not in notice
    assert events[-1]["d"]["pinned"] is False


async def test_a_deleted_message_is_pinned_no_more(world: World) -> None:
    """It is in no list, and the list is still two queries."""
    world.permissions[ADA.id] = ALL
    ids = [(await world.post(ADA, content=str(number))).json()["id"] for number in range(2)]
    for one in ids:
        await call(world, "PUT", f"pins/{one}")
    await call(world, "DELETE", f"messages/{ids[0]}")
    assert [message["id"] for message in (await world.get("pins", BEN)).json()] == [ids[1]]


async def test_who_may_not_read_sees_no_pins(world: World) -> None:
    """Who sees the channel, but not what was written before, is told that there are none."""
    message_id = (await world.post(ADA, content="x")).json()["id"]
    world.permissions[ADA.id] = MAY_PIN
    assert (await call(world, "PUT", f"pins/{message_id}")).status_code == 204
    world.permissions[BEN.id] = DEFAULT & ~Permission.READ_MESSAGE_HISTORY
    for path in ("pins", "messages/pins"):
        assert (await world.get(path, BEN)).json() in ([], {"items": [], "has_more": False})
        assert (await world.get(path, ADA)).json() not in ([], {"items": [], "has_more": False})


async def test_who_may_not_pin_is_told(world: World) -> None:
    """And a stranger sees no list."""
    message_id = (await world.post(ADA, content="x")).json()["id"]
    for method in ("PUT", "DELETE"):
        assert (await call(world, method, f"pins/{message_id}")).json()["code"] == 50013
        assert (await call(world, method, f"pins/{message_id}", EVE)).json()["code"] == 50001
    for path in ("pins", "messages/pins"):
        assert (await world.get(path, EVE)).json()["code"] == 50001
        assert (await world.get(path, ADA)).json() in ([], {"items": [], "has_more": False})
    for query in ({"limit": 0}, {"limit": 51}, {"before": "soon"}):
        assert (await world.get("messages/pins", ADA, **query)).json()["code"] == 50035
