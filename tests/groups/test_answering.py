"""Answers of many views: full, in time, and no more at once than can be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from services.groups.answering import ANSWER_BYTES, ANSWER_S, Answers
from shared.core.errors import Busy


class Store:
    """Views by id, each of which takes `seconds` to read."""

    def __init__(self, views: Mapping[int, str], seconds: float = 0.0) -> None:
        self.views = views
        self.seconds = seconds
        self.now = 0.0
        self.reads: list[int] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def read(self, ids: Sequence[int]) -> Mapping[int, str]:
        """Return the views that there are."""
        self.reads.append(len(ids))
        await self.go_on.wait()
        self.now += self.seconds * len(ids)
        return {one: self.views[one] for one in ids if one in self.views}


def answers_of(store: Store) -> Answers:
    """Return answers made of a store, by its clock."""
    return Answers(store.read, clock=lambda: store.now)


async def test_an_answer_is_bounded() -> None:
    """As many views as fit, at least one; the ids of the others are told, and of nothing there is none."""
    large = "x" * (ANSWER_BYTES // 2)
    told = await answers_of(Store({1: "small", 2: large, 3: large, 4: "small"})).answer((1, 2, 3, 4))
    assert (len(told.views), told.left) == (2, (3, 4))
    told = await answers_of(Store({1: 3 * large, 2: "small"})).answer((1, 2))
    assert (len(told.views), told.left) == (1, (2,))
    told = await answers_of(Store({1: "small", 3: "small"})).answer((1, 2, 2, 3))
    assert (len(told.views), told.left) == (2, ())


async def test_nothing_is_read_for_nothing() -> None:
    """Once it is known how large views are, no more of them are read than fit."""
    store = Store(dict.fromkeys(range(100), "x" * (ANSWER_BYTES // 8)))
    answers, left = answers_of(store), tuple(range(100))
    while left:
        left = (await answers.answer(left)).left
    assert sum(store.reads) < 125


async def test_a_slow_store_gives_small_answers_in_time() -> None:
    """However slow reading gets, an answer holds something, and does not take much longer than it may."""
    store = Store(dict.fromkeys(range(1_000), "x"), seconds=0.3)
    answers = answers_of(store)
    await answers.answer(range(100))  # which shows how slow it is
    for _ in range(10):
        began = store.now
        told = await answers.answer(range(100))
        assert told.views
        assert store.now - began <= 2 * ANSWER_S
    store.seconds = 0.0
    for _ in range(10):
        told = await answers.answer(range(100))
    assert told.left == ()


async def test_a_store_that_is_too_slow_for_anybody_to_wait_for_is_asked_for_less() -> None:
    """What was given up half-way is not asked for again as it was, which would be given up again, for ever."""
    store = Store(dict.fromkeys(range(100), "x"))
    answers = answers_of(store)
    assert (await answers.answer(range(100))).left == ()  # which shows how quick it is
    store.go_on.clear()
    begun = len(store.reads)
    asked = asyncio.ensure_future(answers.answer(range(100)))
    await asyncio.sleep(0)
    store.now += 5.0
    asked.cancel()
    await asyncio.wait((asked,))
    store.go_on.set()
    await answers.answer(range(100))
    assert store.reads[begun] == 100
    assert store.reads[begun + 1] <= 20


async def test_some_wait_and_others_hear_that_all_are_busy() -> None:
    """A bounded line: who is not in it is refused at once, and nothing is read for them or who gave up."""
    store = Store({1: "one"})
    store.go_on.clear()
    answers = answers_of(store)
    asked = [asyncio.ensure_future(answers.answer((1,))) for _ in range(12)]
    await asyncio.sleep(0)
    with pytest.raises(Busy) as refused:
        await answers.answer((1,))
    assert refused.value.retry_after == ANSWER_S
    assert len(store.reads) == 4
    asked[-1].cancel()
    store.go_on.set()
    assert [len((await one).views) for one in asked[:-1]] == [1] * 11
    assert len(store.reads) == 11
