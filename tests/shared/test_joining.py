"""Joining: one query for any number of readers, and none that began before its reader came."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.joining import Joining
from shared.streams import StoreUnavailable


class Slow:
    """A query that answers when it is told to. It answers with its number, from 1."""

    def __init__(self) -> None:
        self.began = 0
        self.open: list[asyncio.Future[int]] = []

    async def __call__(self) -> int:
        self.began += 1
        number = self.began
        self.open.append(asyncio.get_running_loop().create_future())
        await self.open[-1]
        return number


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_many_readers_make_one_query() -> None:
    """A hundred who ask at once share one; a hundred more who come while it is on its way share the next."""
    joining, slow = Joining[int](), Slow()
    first = [asyncio.create_task(joining.ask("page", slow)) for _ in range(100)]
    await settle()
    second = [asyncio.create_task(joining.ask("page", slow)) for _ in range(100)]
    await settle()
    assert slow.began == 1
    slow.open[0].set_result(0)
    await settle()
    assert slow.began == 2
    assert all(task.done() for task in first)
    assert not any(task.done() for task in second)
    slow.open[1].set_result(0)
    assert {await task for task in first} == {1}
    assert {await task for task in second} == {2}
    assert (joining.asked, joining.queries) == (200, 2)


async def test_who_gives_up_leaves_the_others_theirs() -> None:
    """The one that queries goes away: the next of those who wait queries for them. All go away: nothing is left."""
    joining, slow = Joining[int](), Slow()
    tasks = [asyncio.create_task(joining.ask("page", slow)) for _ in range(3)]
    await settle()
    tasks[0].cancel()
    await settle()
    assert slow.began == 2
    slow.open[1].set_result(0)
    assert [await task for task in tasks[1:]] == [2, 2]
    last = asyncio.create_task(joining.ask("page", slow))
    await settle()
    last.cancel()
    await settle()
    fresh = asyncio.create_task(joining.ask("page", slow))
    await settle()
    slow.open[3].set_result(0)
    assert await fresh == 4


async def test_an_error_is_shared_and_then_forgotten() -> None:
    """All who wait for a query that fails are told so at once; who comes later gets a query of its own."""
    joining, slow = Joining[int](), Slow()
    tasks = [asyncio.create_task(joining.ask("page", slow)) for _ in range(3)]
    await settle()
    slow.open[0].set_exception(StoreUnavailable("away"))
    for task in tasks:
        with pytest.raises(StoreUnavailable):
            await task
    assert slow.began == 1
    again = asyncio.create_task(joining.ask("page", slow))
    await settle()
    slow.open[1].set_result(0)
    assert await again == 2


async def test_keys_do_not_wait_for_each_other() -> None:
    """Another page is another query."""
    joining, one, other = Joining[int](), Slow(), Slow()
    tasks = [asyncio.create_task(joining.ask(key, slow)) for key, slow in (("a", one), ("b", other))]
    await settle()
    assert (one.began, other.began) == (1, 1)
    other.open[0].set_result(0)
    assert await tasks[1] == 1
    one.open[0].set_result(0)
    assert await tasks[0] == 1


@settings(max_examples=200)
@given(st.lists(st.one_of(st.just("ask"), st.just("write"), st.just("answer"), st.integers(0, 9)), max_size=40))
def test_nobody_misses_what_was_stored_before(program: list[str | int]) -> None:
    """Readers, writes, answers of a slow store and readers who go away, in any order.

    Each gets a value that was stored when it asked or later; never more than one query is on its way.
    """

    async def run() -> None:
        joining = Joining[tuple[int, int]]()
        stored, queries, busiest = 0, 0, 0
        running: list[asyncio.Future[None]] = []
        readers: list[tuple[int, asyncio.Task[tuple[int, int]]]] = []

        async def query() -> tuple[int, int]:
            nonlocal queries, busiest
            queries += 1
            seen = stored  # the store answers as of the moment when it was asked
            running.append(asyncio.get_running_loop().create_future())
            busiest = max(busiest, len(running))
            mine = running[-1]
            try:
                await mine
            finally:
                running.remove(mine)
            return seen, queries

        for step in program:
            if step == "ask":
                readers.append((stored, asyncio.create_task(joining.ask("page", query))))
            elif step == "write":
                stored += 1
            elif step == "answer":
                for future in running:
                    if not future.done():
                        future.set_result(None)
            elif isinstance(step, int) and step < len(readers):
                readers[step][1].cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        while any(not task.done() for _, task in readers):
            for future in running:
                if not future.done():
                    future.set_result(None)
            await asyncio.sleep(0)
        for before, task in readers:
            if not task.cancelled():
                assert (await task)[0] >= before
        assert busiest <= 1

    asyncio.run(run())
