"""What users may do, as history asks it: groups once, then the head of the group's stream while it says the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec
import pytest

from services.history.access import AccessReader
from shared.core.calls import Access, ReadAccess
from shared.core.errors import Unavailable
from shared.core.permissions import DEFAULT
from shared.core.stream import Head, group_stream
from shared.kept_access import KeptAccess
from shared.memory_bus import MemoryBus
from shared.rpc import Rpc, serve_calls
from tests.history.world import ADA, CHANNEL, EVE, GROUP, TOPOLOGY, FaultyStreams
from tests.waiting import running


@dataclass
class Scene:
    """A reader in history, and groups that answer it under today's seq."""

    reader: AccessReader
    kept: KeptAccess
    streams: FaultyStreams
    seq: int = 0
    lasts: bool = True
    members: set[int] = field(default_factory=lambda: {ADA.id})
    asked: int = 0

    async def move(self) -> None:
        """Let something change in the group."""
        self.seq += 1
        await self.streams.raise_heads([Head(group_stream(GROUP), seq=self.seq, projected=self.seq)])

    async def answer(self, call: ReadAccess) -> Access:
        """Answer as groups does."""
        self.asked += 1
        return Access(CHANNEL, ADA, self.seq, DEFAULT if call.user_id in self.members else 0, lasts=self.lasts)

    async def read(self, user_id: int = ADA.id) -> tuple[bool, int]:
        """Return whether a user may see the channel, and how often groups was asked for that."""
        before = self.asked
        access = await self.reader.read(CHANNEL.id, user_id)
        return access.can_view, self.asked - before


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Yield one with a group that has begun."""
    bus, streams = MemoryBus(), FaultyStreams()
    kept = KeptAccess(streams, 1 << 16)
    made = Scene(AccessReader(Rpc(bus, TOPOLOGY), kept), kept, streams)
    await made.move()
    async with running(serve_calls(bus, TOPOLOGY, "groups", {ReadAccess: made.answer})):
        await asyncio.sleep(0)
        yield made


async def test_groups_is_asked_once_until_something_changes(scene: Scene) -> None:
    """Also when the answer was no; and whoever asks after a change hears of it, though nobody told this process."""
    assert [await scene.read() for _ in range(3)] == [(True, 1), (True, 0), (True, 0)]
    assert [await scene.read(EVE.id) for _ in range(3)] == [(False, 1), (False, 0), (False, 0)]
    scene.members = {EVE.id}
    await scene.move()
    assert [await scene.read() for _ in range(2)] == [(False, 1), (False, 0)]
    assert [await scene.read(EVE.id) for _ in range(2)] == [(True, 1), (True, 0)]


async def test_answers_that_say_no_word_of_lasting_are_not_kept(scene: Scene) -> None:
    """Those of a release that knew nothing of it, of direct channels, of members in a timeout."""
    scene.lasts = False
    assert [await scene.read() for _ in range(2)] == [(True, 1), (True, 1)]
    older = msgspec.to_builtins(Access(CHANNEL, ADA, 1, DEFAULT))
    del older["lasts"]
    assert not msgspec.convert(older, Access).lasts


async def test_an_outage_of_the_database_is_told_as_one(scene: Scene) -> None:
    """Nothing that is kept is used while the head can't be read: try again."""
    await scene.read()
    scene.streams.away = 1
    with pytest.raises(Unavailable):
        await scene.read()
    assert await scene.read() == (True, 0)
