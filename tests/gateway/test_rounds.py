"""Rounds: what is asked for one by one is done together, and full rounds overlap."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.gateway.rounds import Rounds
from shared.lifecycle import Supervisor


async def test_a_full_round_waits_for_no_other() -> None:
    """Fewer than fill a round wait for the one under way; rounds are bounded, who is left goes with the last."""
    gate = asyncio.Event()
    begun: list[tuple[int, ...]] = []

    async def work(some: Sequence[int]) -> None:
        begun.append(tuple(some))
        await gate.wait()

    async def go_on() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async with Supervisor("rounds") as supervisor:
        rounds = Rounds(work, supervisor, most=2)
        for one in (1, 2, 3):
            rounds.add(one)
        await go_on()
        assert begun == [(1, 2)]
        for one in range(4, 12):
            rounds.add(one)
            await go_on()
        assert begun == [(1, 2), (3, 4), (5, 6), (7, 8)]
        gate.set()
        await go_on()
        assert begun[4:] == [(9, 10), (11,)]


async def test_what_comes_at_once_begins_at_once() -> None:
    """As many full rounds as there are, not one after the other; what does not fill one waits."""
    gate = asyncio.Event()
    begun: list[tuple[int, ...]] = []

    async def work(some: Sequence[int]) -> None:
        begun.append(tuple(some))
        await gate.wait()

    async with Supervisor("rounds") as supervisor:
        rounds = Rounds(work, supervisor, most=2)
        for one in range(5):
            rounds.add(one)
        for _ in range(20):
            await asyncio.sleep(0)
        assert begun == [(0, 1), (2, 3)]
        gate.set()
