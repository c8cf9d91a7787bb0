"""Group DMs in their shard: each event goes to those who are in it then, whoever knows of the stream since when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.history.core.marks import PutMarks, ReadDirects
from services.history.core.sequencer import Settled, sequence
from services.history.core.shard import Shard
from services.history.memory_marks import MemoryMarks
from shared.core.commands import (
    COMMAND_LIFETIME_MS,
    AddRecipient,
    AnyCommand,
    DeleteMessage,
    OpenDirect,
    RemoveRecipient,
    RenameDirect,
    SendMessage,
)
from shared.core.ids import IdSource
from shared.core.message_events import MessageCreated
from shared.core.model import Channel, ChannelType, User
from shared.core.stream import Event, Head
from shared.core.writing import Publish
from shared.memory_streams import MemoryStreams
from shared.streams import drive

NOW = 1_790_000_000_000
USERS = tuple(User(number, f"user{number}") for number in range(1, 5))
CHANNEL = Channel(900, ChannelType.GROUP_DIRECT, recipients=USERS[:3], owner_id=1)
EVERYONE = st.sampled_from(USERS)
STEPS = st.lists(
    st.tuples(st.sampled_from(("say", "add", "remove", "rename")), EVERYONE, EVERYONE), min_size=1, max_size=12
)


class LaggingStreams(MemoryStreams):
    """A store whose heads never say that anything was projected or published: whoever takes over does it again."""

    async def raise_heads(self, heads: Sequence[Head]) -> None:
        """Raise them, but for that."""
        await super().raise_heads([msgspec.structs.replace(head, projected=0, published=0) for head in heads])


class World:
    """A store, and a shard that is a new one with each batch if it `forgets`."""

    def __init__(self, *, forgets: bool) -> None:
        self.streams, self.marks, self.ids = LaggingStreams(), MemoryMarks(), IdSource(1)
        self.shard = Shard()
        self.forgets = forgets
        self.heard: dict[int, Event] = {}
        self.commands = 0

    def common(self) -> tuple[int, int, str, int]:
        """Return what all commands have."""
        self.commands += 1
        return self.commands, CHANNEL.id, "node", NOW + COMMAND_LIFETIME_MS

    async def settle(self, *commands: AnyCommand) -> Settled:
        """Sequence a batch."""

        async def perform(effect: Any) -> Any:
            match effect:
                case Publish(events):
                    for event in events:
                        assert self.heard.setdefault(event.record.seq, event) == event
                case PutMarks(marks):
                    await self.marks.put(marks)
                case ReadDirects(channel_ids):
                    return await self.marks.read_directs(channel_ids)
            return None

        if self.forgets:
            self.shard = Shard()
        return await drive(sequence(self.shard, commands, NOW, self.ids), self.streams, perform)


def command_of(world: World, step: tuple[str, User, User]) -> AnyCommand:
    """Return what a step asks for."""
    what, user, other = step
    common = world.common()
    match what:
        case "say":
            return SendMessage(*common, user, "hello", to=tuple(one.id for one in USERS))
        case "add":
            return AddRecipient(*common, user, other)
        case "remove":
            return RemoveRecipient(*common, user, other)
        case _:
            return RenameDirect(*common, user, f"by {common[0]}")


@settings(max_examples=60)
@given(STEPS, st.booleans(), st.integers(1, 4))
@example([("add", USERS[0], USERS[3]), ("say", USERS[3], USERS[3])], False, 2)
@example([("remove", USERS[0], USERS[1]), ("say", USERS[1], USERS[1])], False, 2)
def test_each_event_goes_to_those_who_are_there(steps: list[Any], forgets: bool, at_once: int) -> None:
    """Whatever the order, however they come in batches, and whether or not the shard changes hands between them."""
    asyncio.run(go_through(steps, World(forgets=forgets), at_once))


async def go_through(steps: list[Any], world: World, at_once: int) -> None:
    """Take steps in batches, and compare with a plain list of who is there."""
    await world.settle(OpenDirect(*world.common(), CHANNEL))
    there, owner = [1, 2, 3], 1
    expected: list[tuple[int, ...]] = [(1, 2, 3)]
    outcomes: list[str] = []
    for start in range(0, len(steps), at_once):
        batch = steps[start : start + at_once]
        settled = await world.settle(*(command_of(world, step) for step in batch))
        outcomes += [settled.replies[index].error for index in range(len(batch))]
    for (what, user, other), error in zip(steps, outcomes, strict=True):
        if user.id not in there:
            assert error == "UnknownChannel"
        elif what == "add":
            assert not error
            if other.id not in there:
                there.append(other.id)
                expected.append(tuple(there))
        elif what == "remove":
            is_allowed = other.id in there and (other == user or owner == user.id)
            assert bool(error) != is_allowed
            if is_allowed:
                expected.append(tuple(there))
                there.remove(other.id)
                owner = owner if owner != other.id else there[0] if there else 0
        else:
            assert not error
            expected.append(tuple(there))
    assert [set(world.heard[seq].to) for seq in sorted(world.heard)] == [set(to) for to in expected]
    (channel,) = await world.marks.read_directs((CHANNEL.id,))
    assert channel is not None
    assert ([user.id for user in channel.recipients], channel.owner_id) == (there, owner)


async def test_opening_once_more_projects_once_more() -> None:
    """A channel whose first event an older release has stored is projected by whoever opens it next."""
    world = World(forgets=False)
    opened = OpenDirect(*world.common(), CHANNEL)
    await world.settle(opened)
    world.marks = MemoryMarks()  # as that release left it
    assert not (await world.settle(opened)).replies[0].error
    assert await world.marks.read_directs((CHANNEL.id,)) == [msgspec.structs.replace(CHANNEL, as_of=1)]


async def test_a_change_is_never_deleted() -> None:
    """Neither its author nor anybody else deletes the message that a change is; its projection stays."""
    world = World(forgets=False)
    settled = await world.settle(
        OpenDirect(*world.common(), CHANNEL), AddRecipient(*world.common(), USERS[0], USERS[3])
    )
    message = settled.replies[1].id
    command_id, channel_id, reply_to, until = world.common()
    deletion = DeleteMessage(command_id, channel_id, reply_to, until, 1, (1 << 53) - 1, message_id=message)
    assert (await world.settle(deletion)).replies[0].error == "CannotActOnSystemMessage"
    body = world.heard[2].record.body
    assert isinstance(body, MessageCreated)
    assert body.channel is not None
    assert len(body.channel.recipients) == 4
