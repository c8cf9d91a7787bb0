"""When pushed frames are written: joined, in order, in slices, and nobody at another's cost."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from services.gateway.flushing import SLICE_S, Flusher, Pending


class Time:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """A connection whose flush takes `cost_s`, and that many turns. It has no socket of its own."""

    def __init__(
        self, flusher: Flusher, time: Time, log: list[Slow], *, cost_s: float = 0.00001, turns: int = 1
    ) -> None:
        self.pending: Pending = None
        self.fd = -1
        self._flusher = flusher
        self._time = time
        self._log = log
        self._cost_s = cost_s
        self._turns = turns

    def flush(self) -> None:
        self._time.now += self._cost_s
        self._log.append(self)
        self._turns -= 1
        if self._turns > 0:
            self._flusher.mark(self)


class Broken(Slow):
    """A connection whose flush fails."""

    def flush(self) -> None:
        super().flush()
        raise RuntimeError("broken")


class Sockets:
    """The system's `write`, which notes what went where. A socket takes `room` bytes, or says that it can't."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.got: list[tuple[int, bytes]] = []
        self.room = room

    def write(self, fd: int, data: bytes) -> int:
        if not self.room:
            raise BlockingIOError
        self.got.append((fd, data[: self.room]))
        return min(len(data), self.room)


class Direct(Slow):
    """A connection with a socket; its flush is what is done where the usual way does not do."""

    def __init__(self, flusher: Flusher, fd: int, pending: Pending) -> None:
        super().__init__(flusher, Time(), [])
        self.fd = fd
        self.pending = pending
        self.flushed: list[Pending] = []

    def flush(self) -> None:
        self.flushed.append(self.pending)
        self.pending = None


async def test_a_large_group_is_written_in_slices() -> None:
    """3,000 connections at 10 µs each: no piece of work is longer than a slice and one look, others run in between."""
    time, log = Time(), list[Slow]()
    flusher = Flusher(time)
    connections = [Slow(flusher, time, log) for _ in range(3_000)]
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
    assert max(pieces) <= SLICE_S + 64 * 0.00001 + 1e-9
    assert flusher.statistics() == {"turns": 3_000, "slices": len(pieces), "behind": 0}


async def test_who_needs_more_than_one_turn_waits_behind_the_others() -> None:
    """Turns go round: one with much to write does not keep the others from theirs."""
    time, log = Time(), list[Slow]()
    flusher = Flusher(time)
    long, short = Slow(flusher, time, log, turns=3), [Slow(flusher, time, log) for _ in range(40)]
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
        flusher.mark(Slow(flusher, time, log))
    waiting = asyncio.create_task(flusher.flushed())
    given_up = asyncio.create_task(flusher.flushed())
    await asyncio.sleep(0)
    given_up.cancel()
    while not waiting.done():
        flusher.mark(Slow(flusher, time, log))
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
    connections = [
        Slow(flusher, time, log),
        Broken(flusher, time, log),
        Slow(flusher, time, log),
        Broken(flusher, time, log),
    ]
    for connection in connections:
        flusher.mark(connection)
    await flusher.flushed()
    assert log == connections
    assert [str(error) for error in told] == ["broken", "broken"]


@pytest.mark.parametrize(("room", "left"), [(1 << 30, []), (3, [b"lo"]), (0, [b"hello"])])
async def test_one_frame_goes_straight_into_the_socket(room: int, left: list[Pending]) -> None:
    """What the socket takes is written there, once; what it does not take is left to the connection, in its turn."""
    sockets = Sockets(room)
    flusher = Flusher(Time(), sockets.write)
    direct = Direct(flusher, 7, b"hello")
    flusher.mark(direct)
    await flusher.flushed()
    assert b"".join(data for _, data in sockets.got) == b"hello"[:room]
    assert direct.flushed == left
    assert direct.pending is None


async def test_what_is_no_single_frame_for_an_open_socket_is_the_connections_own() -> None:
    """Joined frames, and whatever goes to who has no socket to write to, are flushed by the connection."""
    sockets = Sockets()
    flusher = Flusher(Time(), sockets.write)
    joined, closed, empty = (
        Direct(flusher, 7, [b"one", b"two"]),
        Direct(flusher, -1, b"one"),
        Direct(flusher, 8, None),
    )
    for one in (joined, closed, empty):
        flusher.mark(one)
    await flusher.flushed()
    assert sockets.got == []
    assert [one.flushed for one in (joined, closed, empty)] == [[[b"one", b"two"]], [b"one"], [None]]
