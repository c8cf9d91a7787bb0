"""Read markers: forward only, told to one's own other sessions, and unread counts that nothing can make wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.history.bodies import AckBody, ReadStateBody
from services.history.handlers import MOST_BYTES, handlers_of
from services.history.memory_markers import MemoryMarkers
from services.history.memory_marks import MemoryMarks
from services.history.pages import Pages
from services.history.rest_markers import MOST_UNREAD
from services.history.telling import Telling
from shared.bus import Batch
from shared.core.calls import MARKERS_TOLD, Marker, Markers, ReadAccess, ReadMarkers
from shared.core.commands import Acked, Acks, decode_for_node
from shared.core.model import User
from shared.core.permissions import DEFAULT, Permission
from shared.memory_streams import MemoryStreams
from shared.topology import Binding
from tests.history.world import ADA, BEN, CHANNEL, EVE, NOW, TOPOLOGY, World, open_world

STEPS = st.lists(
    st.tuples(st.sampled_from(("write", "write", "edit", "delete", "ack")), st.integers(0, 30)), min_size=1, max_size=30
)


async def write(world: World, content: str = "hello") -> int:
    """Write a message; return its id."""
    return int((await world.post(BEN, content=content)).json()["id"])


async def call(world: World, method: str, path: str, body: Any = None, user: Any = BEN) -> Any:
    """Call a route below the channel."""
    url = f"/api/v10/channels/{CHANNEL.id}/{path}"
    return await world.client.request(method, url, json=body, headers=world.token(user))


async def unread(world: World, user: Any = ADA) -> tuple[int, bool]:
    """Return how much is unread, and whether there is more."""
    told = (await world.get("read-state", user)).json()
    ReadStateBody.model_validate(told, extra="forbid")
    return told["unread_count"], told["has_more"]


async def test_it_goes_forward_and_is_told_once() -> None:
    """What moves it goes to the user's key and nobody else's; what is not above it is nothing new."""
    async with (
        open_world() as world,
        world.bus.subscribe(TOPOLOGY.node_queue("ada"), (Binding(TOPOLOGY.events, f"u.{ADA.id}"),)) as ears,
    ):
        first, second = await write(world), await write(world)
        for message in (first, second, first, second):
            answer = await call(world, "POST", f"messages/{message}/ack", {"token": None}, ADA)
            assert answer.status_code == 200
            AckBody.model_validate(answer.json(), extra="forbid")
        told = (await world.get("read-state", ADA)).json()
        assert told == {"id": str(CHANNEL.id), "last_message_id": str(second), "unread_count": 0, "has_more": False}
        async with asyncio.timeout(5):
            heard: Batch = await ears.take(10)
        acked = [decode_for_node(one.body) for one in heard.deliveries]
        assert acked == [Acks((Acked(ADA.id, CHANNEL.id, one),)) for one in (first, second)]


async def test_who_may() -> None:
    """Who does not see the channel, or reads nothing of before, has no marker; and none stands before it is written."""
    async with open_world() as world:
        message = await write(world)
        assert (await call(world, "POST", f"messages/{message}/ack", None, EVE)).json()["code"] == 50001
        assert (await world.get("read-state", EVE)).json()["code"] == 50001
        assert (await call(world, "POST", f"messages/{message + 1}/ack", None, ADA)).json()["code"] == 10008
        assert (await world.client.get(f"/api/v10/channels/{CHANNEL.id}/read-state")).status_code == 401
        world.permissions[ADA.id] = DEFAULT & ~int(Permission.READ_MESSAGE_HISTORY)
        assert (await call(world, "POST", f"messages/{message}/ack", None, ADA)).json()["code"] == 50013
        assert (await world.get("read-state", ADA)).json()["code"] == 50013
        assert await world.markers.read(ADA.id, CHANNEL.id) is None


async def test_it_is_one_question_of_groups() -> None:
    """What the caller may do, and since when it is there, is told by one answer."""
    async with open_world() as world:
        await write(world)
        world.accesses.clear()
        assert await unread(world) == (1, False)
        assert world.accesses == [ReadAccess(CHANNEL.id, ADA.id)]


async def test_without_a_marker_it_begins_with_the_access() -> None:
    """Who has just come has nothing unread of what was said before; the marker counts once there is one."""
    async with open_world() as world:
        first = await write(world)
        assert await unread(world) == (1, False)
        world.joined[ADA.id] = NOW + 1
        assert await unread(world) == (0, False)
        await write(world)
        await call(world, "POST", f"messages/{first}/ack", None, ADA)
        assert await unread(world) == (1, False)


async def test_what_is_too_much_for_an_answer_is_left_to_be_asked_for() -> None:
    """Each answer is small, and who goes on asking for what is left has all, of each user the newest."""
    markers, readers = MemoryMarkers(), tuple(range(1, 31))
    for user_id in readers:
        for number in range(1, MARKERS_TOLD + 2):
            await markers.advance(user_id, Marker(number, (1 << 62) + number))
    streams = MemoryStreams()
    read_markers = handlers_of(Pages(streams), Telling(streams, MemoryMarks()), markers)[ReadMarkers]
    told: dict[int, tuple[Marker, ...]] = {}
    left = readers
    while left:
        answer: Markers = await read_markers(ReadMarkers(left))
        assert len(msgspec.msgpack.encode(answer)) < MOST_BYTES
        assert answer.of
        assert not told.keys() & answer.of.keys()
        told |= answer.of
        left = answer.left
    assert tuple(told) == readers
    assert {len(its) for its in told.values()} == {MARKERS_TOLD}
    assert {its[-1].channel_id for its in told.values()} == {2}


async def test_bots_have_none() -> None:
    """They neither read as people do, nor are they asked."""
    async with open_world() as world:
        bot = world.members[104] = User(104, "helper", bot=True)
        message = await write(world)
        assert (await call(world, "POST", f"messages/{message}/ack", None, bot)).json()["code"] == 20001
        assert (await world.get("read-state", bot)).json()["code"] == 20001
        assert await world.markers.read(bot.id, CHANNEL.id) is None


async def test_more_than_a_hundred_are_not_counted() -> None:
    """They are told as a hundred, and more."""
    async with open_world() as world:
        first = await write(world)
        await call(world, "POST", f"messages/{first}/ack", None, ADA)
        await asyncio.gather(*(write(world) for _ in range(MOST_UNREAD)))
        assert await unread(world) == (MOST_UNREAD, False)
        await write(world)
        assert await unread(world) == (MOST_UNREAD, True)


@settings(max_examples=25)
@given(STEPS)
def test_unread_is_what_a_plain_list_says(steps: list[Any]) -> None:
    """Whatever is written, edited, deleted and read, in any order: what stands above the marker, and no more."""
    asyncio.run(go_through(steps))


async def go_through(steps: list[Any]) -> None:
    """Compare after each step."""
    async with open_world() as world:
        written: list[int] = []
        there: set[int] = set()
        marker = 0
        for what, number in steps:
            one = written[number % len(written)] if written else 0
            match what:
                case "write":
                    written.append(await write(world))
                    there.add(written[-1])
                case "edit" if one in there:
                    await call(world, "PATCH", f"messages/{one}", {"content": "again"})
                case "delete" if one in there:
                    assert (await call(world, "DELETE", f"messages/{one}")).status_code == 204
                    there.discard(one)
                case "ack" if one:
                    assert (await call(world, "POST", f"messages/{one}/ack", None, ADA)).status_code == 200
                    marker = max(marker, one)
            assert await unread(world) == (sum(message > marker for message in there), False)
