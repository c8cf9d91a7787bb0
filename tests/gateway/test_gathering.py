"""Gathering: what comes together is read together, nobody gets what was asked for before they came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping

import pytest

from services.gateway.gathering import Gathering
from shared.core.errors import Unavailable
from shared.lifecycle import Supervisor


class Source:
    """Answers with what is so when it is asked, once it is told to; leaves all above `room` of them for later."""

    def __init__(self) -> None:
        self.values = {number: f"value {number}" for number in range(1_000)}
        self.calls: list[tuple[int, ...]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.room = 1_000
        self.failures = 0

    async def read(self, ids: tuple[int, ...]) -> tuple[Mapping[int, str], Collection[int]]:
        """See `Gathering`."""
        self.calls.append(ids)
        found = {one: self.values[one] for one in ids[: self.room] if one in self.values}
        await self.go_on.wait()
        if self.failures:
            self.failures -= 1
            raise Unavailable
        return found, ids[self.room :]


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    """Open a supervisor."""
    async with Supervisor("test") as opened:
        yield opened


async def test_a_storm_is_few_calls(supervisor: Supervisor) -> None:
    """What comes in one turn goes in calls of the size allowed, each id once, and everybody is answered."""
    source = Source()
    gathering = Gathering(source.read, supervisor, most=100)
    asked = [*range(500), *range(500), 5_000]
    answers = await asyncio.gather(*(gathering.ask(one) for one in asked))
    assert answers == [source.values.get(one) for one in asked]
    assert [len(ids) for ids in source.calls] == [100] * 5 + [1]


async def test_what_comes_while_calls_are_on_their_way_goes_with_the_next(supervisor: Supervisor) -> None:
    """Alone when quiet, together under load, with never more than a few calls on their way."""
    source = Source()
    gathering = Gathering(source.read, supervisor, most=100)
    source.go_on.clear()
    answers = []
    for one in range(50):
        answers.append(gathering.ask(one))
        for _ in range(3):
            await asyncio.sleep(0)
    assert source.calls == [(0,), (1,), (2,)]
    source.go_on.set()
    await asyncio.gather(*answers)
    assert source.calls[3:] == [tuple(range(3, 50))]


async def test_at_a_pace_calls_wait_for_others(supervisor: Supervisor) -> None:
    """Who comes first is served at once; who comes just behind waits, but not once there are enough for a call."""
    source = Source()
    slow = Gathering(source.read, supervisor, most=3, pace_s=3600.0)
    assert await slow.ask(0) == "value 0"
    waiting = [slow.ask(one) for one in (1, 1, 2)]
    await asyncio.sleep(0.01)
    assert source.calls == [(0,)]
    waiting += [slow.ask(one) for one in (3, 4, 5, 6, 7)]
    await asyncio.gather(*waiting[:-1])
    assert source.calls == [(0,), (1, 2, 3), (4, 5, 6)]
    await asyncio.sleep(0.01)
    assert not waiting[-1].done()

    quick = Gathering(source.read, supervisor, most=3, pace_s=0.001)
    assert [await quick.ask(one) for one in range(4)] == [source.values[one] for one in range(4)]


async def test_an_answer_is_never_from_before_it_was_asked_for(supervisor: Supervisor) -> None:
    """Who asks for what is being read at this moment has it read again."""
    source = Source()
    gathering = Gathering(source.read, supervisor, most=100)
    source.go_on.clear()
    first = gathering.ask(7)
    while not source.calls:
        await asyncio.sleep(0)
    source.values[7] = "changed"
    second = gathering.ask(7)
    source.go_on.set()
    assert (await first, await second) == ("value 7", "changed")


async def test_what_did_not_fit_is_asked_for_again(supervisor: Supervisor) -> None:
    """An answer may leave some out; they are not lost, and an answer without any is no endless loop."""
    source = Source()
    source.room = 3
    gathering = Gathering(source.read, supervisor, most=10)
    answers = await asyncio.gather(*(gathering.ask(one) for one in range(10)))
    assert answers == [source.values[one] for one in range(10)]
    source.room = 0
    with pytest.raises(Unavailable):
        await gathering.ask(1)


async def test_a_failure_is_told_to_those_it_concerns(supervisor: Supervisor) -> None:
    """Those of the failed call get its error, who gave up gets nothing, and the next are served."""
    source = Source()
    source.failures = 1
    gathering = Gathering(source.read, supervisor, most=100)
    given_up, *failed = [gathering.ask(one) for one in range(3)]
    given_up.cancel()
    assert [type(outcome) for outcome in await asyncio.gather(*failed, return_exceptions=True)] == [Unavailable] * 2
    assert await gathering.ask(1) == "value 1"
