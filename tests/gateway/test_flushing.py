"""When pushed frames are written: joined, in order, in slices, and nobody at another's cost."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from services.gateway.flushing import SLICE_S, Flusher


class Time:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """A connection whose flush takes `cost_s`, and that many turns."""

    def __init__(self, time: Time, log: list[Slow], cost_s: float = 0.00001, turns: int = 1) -> None:
        self._time = time
        self._log = log
        self._cost_s = cost_s
        self._turns = turns

    def flush(self) -> bool:
        self._time.now += self._cost_s
        self._log.append(self)
        self._turns -= 1
        return self._turns > 0


class Broken(Slow):
    """A connection whose flush fails."""

    def flush(self) -> bool:
        super().flush()
        raise RuntimeError("broken")


async def test_a_large_group_is_written_in_slices() -> None:
    """3,000 connections at 10 µs each: no piece of work is longer than a slice and one look, others run in between."""
    time, log = Time(), list[Slow]()
    flusher = Flusher(time)
    connections = [Slow(time, log) for _ in range(3_000)]
    for connection in connections:
        flusher.mark(connection)
    assert log == []
    pieces = []
    while len(log) < len(connections):
        before = time.now
        await asyncio.sleep(0)
        pieces.append(time.now - before)
    assert log == connections
    assert len([piece for piece in pieces if piece]) >= 6
    assert max(pieces) <= SLICE_S + 32 * 0.00001 + 1e-9
    assert flusher.statistics() == {"turns": 3_000, "slices": len(pieces), "behind": 0}


async def test_who_needs_more_than_one_turn_waits_behind_the_others() -> None:
    """Turns go round: one with much to write does not keep the others from theirs."""
    time, log = Time(), list[Slow]()
    flusher = Flusher(time)
    long, short = Slow(time, log, turns=3), [Slow(time, log) for _ in range(40)]
    for connection in (long, *short):
        flusher.mark(connection)
    await flusher.flushed()
    while flusher.statistics()["behind"]:
        await asyncio.sleep(0)
    assert Counter(log) == {long: 3, **dict.fromkeys(short, 1)}
    assert log.index(short[-1]) < len(log) - 1 - log[::-1].index(long)


async def test_waiting_ends_once_all_before_had_their_turn() -> None:
    """`flushed` returns at once when nothing waits, else after those marked before it, not after later ones."""
    time, log = Time(), list[Slow]()
    flusher = Flusher(time)
    await flusher.flushed()
    for _ in range(2_000):
        flusher.mark(Slow(time, log))
    waiting = asyncio.create_task(flusher.flushed())
    given_up = asyncio.create_task(flusher.flushed())
    await asyncio.sleep(0)
    given_up.cancel()
    while not waiting.done():
        flusher.mark(Slow(time, log))
        await asyncio.sleep(0)
    assert len(log) >= 2_000
    await flusher.flushed()


@pytest.mark.filterwarnings("ignore")
async def test_a_connection_that_breaks_costs_the_others_nothing() -> None:
    """A failure is told to the loop's handler; everyone else is flushed, and whoever waits goes on."""
    time, log = Time(), list[Slow]()
    flusher = Flusher(time)
    told: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    connections = [Slow(time, log), Broken(time, log), Slow(time, log), Broken(time, log)]
    for connection in connections:
        flusher.mark(connection)
    await flusher.flushed()
    assert log == connections
    assert [str(error) for error in told] == ["broken", "broken"]
