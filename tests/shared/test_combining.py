"""Combining: what comes while a write is under way goes together in the next, and each gets the results of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.combining import Combining
from shared.streams import StoreUnavailable


class Slow:
    """A store that answers when it is told to, with ten times what it is given."""

    def __init__(self) -> None:
        self.writes: list[Sequence[int]] = []
        self.open: list[asyncio.Future[None]] = []

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.writes.append(items)
        self.open.append(asyncio.get_running_loop().create_future())
        await self.open[-1]
        return [item * 10 for item in items]


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_who_comes_meanwhile_goes_in_the_next() -> None:
    """The first begin at once, together; who comes while they are written goes together, and no more than that."""
    slow = Slow()
    combining = Combining(slow, most=4, outage=StoreUnavailable)
    first = [asyncio.create_task(combining.ask([number])) for number in (1, 2)]
    await settle()
    second = [asyncio.create_task(combining.ask(items)) for items in ([3], [4, 5], [6, 7], [8])]
    await settle()
    assert slow.writes == [[1, 2]]
    slow.open[0].set_result(None)
    await settle()
    assert [await task for task in first] == [[10], [20]]
    assert slow.writes[1:] == [[3, 4, 5]]
    slow.open[1].set_result(None)
    await settle()
    assert slow.writes[2:] == [[6, 7, 8]]
    slow.open[2].set_result(None)
    assert [await task for task in second] == [[30], [40, 50], [60, 70], [80]]


async def test_what_one_brings_stays_together() -> None:
    """Also if it is more than goes together otherwise; nothing is nothing to write."""
    slow = Slow()
    combining = Combining(slow, most=2, outage=StoreUnavailable)
    assert await combining.ask([]) == ()
    task = asyncio.create_task(combining.ask([1, 2, 3]))
    await settle()
    assert slow.writes == [[1, 2, 3]]
    slow.open[0].set_result(None)
    assert await task == [10, 20, 30]


async def test_who_gives_up_leaves_the_others_theirs() -> None:
    """Before the write has begun nothing of theirs is written; after that it is, and the others get their results."""
    slow = Slow()
    combining = Combining(slow, most=10, outage=StoreUnavailable)
    tasks = [asyncio.create_task(combining.ask([number])) for number in (1, 2)]
    await settle()
    later = [asyncio.create_task(combining.ask([number])) for number in (3, 4)]
    await settle()
    tasks[0].cancel()
    later[0].cancel()
    slow.open[0].set_result(None)
    await settle()
    assert slow.writes == [[1, 2], [4]]
    slow.open[1].set_result(None)
    assert [await tasks[1], await later[1]] == [[20], [40]]


async def test_what_one_brought_fails_only_them() -> None:
    """Where it is no outage, each is written alone: who brought nothing wrong gets their results."""
    slow = Slow()
    combining = Combining(slow, most=10, outage=StoreUnavailable)
    tasks = [asyncio.create_task(combining.ask([number])) for number in (1, 2, 3)]
    await settle()
    slow.open[0].set_exception(ValueError("2 can't be written"))
    await settle()
    slow.open[1].set_result(None)
    await settle()
    slow.open[2].set_exception(ValueError("2 can't be written"))
    await settle()
    slow.open[3].set_result(None)
    assert slow.writes == [[1, 2, 3], [1], [2], [3]]
    assert await tasks[0] == [10]
    with pytest.raises(ValueError, match="2 can't"):
        await tasks[1]
    assert await tasks[2] == [30]


async def test_an_outage_is_told_to_all_who_went_along_and_forgotten() -> None:
    """It failed for all; who comes later is written anew."""
    slow = Slow()
    combining = Combining(slow, most=10, outage=StoreUnavailable)
    tasks = [asyncio.create_task(combining.ask([number])) for number in (1, 2)]
    await settle()
    later = asyncio.create_task(combining.ask([3]))
    await settle()
    slow.open[0].set_exception(StoreUnavailable("away"))
    for task in tasks:
        with pytest.raises(StoreUnavailable):
            await task
    await settle()
    slow.open[1].set_result(None)
    assert await later == [30]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans()), max_size=30), st.integers(1, 6))
def test_everybody_gets_the_results_of_their_own(steps: list[tuple[int, int, bool]], most: int) -> None:
    """However they come: each item of one who stays is written once, in the order of coming, `most` at a time."""

    async def body() -> None:
        slow = Slow()
        combining = Combining(slow, most=most, outage=StoreUnavailable)
        number = 0
        tasks: list[tuple[list[int], asyncio.Task[Sequence[int]]]] = []
        for count, pause, ends in steps:
            items = list(range(number, number + count))
            number += count
            tasks.append((items, asyncio.create_task(combining.ask(items))))
            for _ in range(pause):
                await asyncio.sleep(0)
            if ends and slow.open and not slow.open[-1].done():
                slow.open[-1].set_result(None)
        while not all(task.done() for _, task in tasks):
            await settle()
            if slow.open and not slow.open[-1].done():
                slow.open[-1].set_result(None)
        for items, task in tasks:
            assert list(await task) == [item * 10 for item in items]
        assert [item for write in slow.writes for item in write] == list(range(number))
        assert all(len(write) <= max(most, 3) for write in slow.writes)

    asyncio.run(body())
