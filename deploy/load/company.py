"""The company: all workers of a run, led from one asyncio program. This is what other programs drive load with.

    async with open_company(Setup(people, ("http://127.0.0.1:8080",))) as company:
        await company.wait_online(120)
        company.do(stage)
        await asyncio.sleep(stage.seconds)      # `company.mark("kill -9 gateway-1")` meanwhile
        behind = await company.hush(30)         # `deploy.load.run.play` does these three and sums up
        await company.end()
    company.record.tally                        # lost, doubled, unordered, astray: all 0?

Each second what the workers tell becomes one `Second` of `company.record`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, cast

import msgspec

from deploy.load.plan import (
    Begin,
    Behind,
    Compare,
    Do,
    End,
    Ended,
    FromWorker,
    Heads,
    Hush,
    People,
    Report,
    Stage,
    ToWorker,
)
from deploy.load.record import Record, Second
from deploy.load.session import now_us
from deploy.load.usage import Meter

_LONGEST: Final = 1 << 28
_ANSWER_S: Final = 60.0
_END_S: Final = 10.0
_LOOK_S: Final = 0.5
_LEAD_US: Final = 200_000
"""From being told until the begin, so that all workers begin at once."""


class LoadFailed(Exception):
    """A worker ended or did not answer, or something did not come about in time."""


class Setup(msgspec.Struct, frozen=True):
    """Who takes part, and where. `rest`: for pages, where that is another place than the first gateway."""

    people: People
    gateways: tuple[str, ...]
    rest: str = ""
    workers: int = 2
    opening: int = 256
    tells_positions: bool = True
    seed: int = 0


class _Hand:
    """One worker's process, from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._stdin = cast(asyncio.StreamWriter, process.stdin)  # they were asked for
        self._stdout = cast(asyncio.StreamReader, process.stdout)
        self.last: Report | None = None
        self.fresh: list[Report] = []
        self._answers: asyncio.Queue[Heads | Behind | Ended] = asyncio.Queue()

    def tell(self, what: ToWorker) -> None:
        self._stdin.write(msgspec.json.encode(what) + b"\n")

    async def listen(self) -> None:
        """Take in what the worker tells, until it has ended. Raises `LoadFailed` if that was not asked for."""
        decode = msgspec.json.Decoder(FromWorker).decode
        while line := await self._stdout.readline():
            told = decode(line)
            if isinstance(told, Report):
                self._report(told)
            else:
                if isinstance(told, Ended):
                    self._report(told.report)
                self._answers.put_nowait(told)
                if isinstance(told, Ended):
                    return
        raise LoadFailed(f"a worker ended with code {await self._process.wait()}")

    async def answer(self) -> Heads | Behind | Ended:
        """Return the next answer. Raises `LoadFailed`."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await self._answers.get()
        except TimeoutError:
            raise LoadFailed(f"a worker did not answer within {_ANSWER_S:g} s") from None

    async def end(self) -> None:
        """Let the process end."""
        self._stdin.close()
        try:
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _report(self, report: Report) -> None:
        self.last = report
        self.fresh.append(report)


class Company:
    """All workers. `pids`: processes by name, whose use is noted; asked each second, since they may change."""

    def __init__(self, hands: list[_Hand], pids: Callable[[], Mapping[str, int]]) -> None:
        self.record = Record()
        self.on_second: Callable[[Second], None] = lambda _: None
        """Called with each second's figures."""
        self._hands = hands
        self._pids = pids
        self._meter = Meter()
        self._begun = time.monotonic()

    @property
    def online(self) -> int:
        """How many sessions are there."""
        return sum(hand.last.online for hand in self._hands if hand.last is not None)

    async def wait_online(self, deadline_s: float) -> float:
        """Wait until all sessions are there; return the seconds since the begin. Raises `LoadFailed`."""
        try:
            async with asyncio.timeout(deadline_s):
                while not self._all_online():  # noqa: ASYNC110 (they tell each second)
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise LoadFailed(f"{self.online} sessions are online after {deadline_s:g} s") from None
        return time.monotonic() - self._begun

    def do(self, stage: Stage) -> None:
        """Begin a stage, in place of the one before."""
        begin_us = now_us() + _LEAD_US
        for hand in self._hands:
            hand.tell(Do(stage, begin_us))

    def mark(self, text: str) -> None:
        """Note that something happened now: a fault, a stage. Plots show it."""
        self.record.marks.append((time.monotonic() - self._begun, text))

    async def hush(self, deadline_s: float) -> int:
        """Let nobody do anything, and wait until all that was said was heard; return how many events were not."""
        end = time.monotonic() + deadline_s
        while True:
            heads, unanswered = await self._heads()
            behind = await self._behind(heads)
            if (not behind and not unanswered) or time.monotonic() > end:
                self.record.unanswered = unanswered
                self._tick()
                return behind
            await asyncio.sleep(_LOOK_S)

    async def end(self) -> None:
        """Count what was lost and end the workers."""
        heads, _ = await self._heads()
        for hand in self._hands:
            hand.tell(End(heads))
        for hand in self._hands:
            await hand.answer()
        self._tick()

    def _all_online(self) -> bool:
        return all(hand.last is not None and hand.last.online == hand.last.here for hand in self._hands)

    async def watch(self) -> None:
        """Make a `Second` of what the workers tell, each second, until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            self._tick()

    async def _heads(self) -> tuple[dict[str, int], int]:
        for hand in self._hands:
            hand.tell(Hush())
        heads: dict[str, int] = {}
        unanswered = 0
        for hand in self._hands:
            match await hand.answer():
                case Heads() as told:
                    unanswered += told.unanswered
                    for channel_id, last in told.heads.items():
                        heads[channel_id] = max(last, heads.get(channel_id, 0))
                case other:
                    raise LoadFailed(f"a worker answered {other!r}")
        return heads, unanswered

    async def _behind(self, heads: dict[str, int]) -> int:
        for hand in self._hands:
            hand.tell(Compare(heads))
        behind = 0
        for hand in self._hands:
            match await hand.answer():
                case Behind(events=events):
                    behind += events
                case other:
                    raise LoadFailed(f"a worker answered {other!r}")
        return behind

    def _tick(self) -> None:
        reports = [report for hand in self._hands for report in hand.fresh]
        for hand in self._hands:
            hand.fresh.clear()
        lasts = [hand.last for hand in self._hands if hand.last is not None]
        used = self._meter.read(self._pids())
        self.on_second(self.record.take(time.monotonic() - self._begun, reports, lasts, used))


@asynccontextmanager
async def open_company(setup: Setup, pids: Callable[[], Mapping[str, int]] = dict) -> AsyncIterator[Company]:
    """Start the workers; they begin to bring the people online. All are gone when this is left.

    Raises `LoadFailed`, alone or in an `ExceptionGroup`, when a worker ends by itself.
    """
    command = (sys.executable, "-m", "deploy.load.worker")
    hands: list[_Hand] = []
    try:
        for number in range(setup.workers):
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LONGEST,
                process_group=0,
            )
            hands.append(_Hand(process))
            hands[-1].tell(_begin_of(setup, number))
        company = Company(hands, pids)
        async with asyncio.TaskGroup() as tasks:
            listening = [tasks.create_task(hand.listen()) for hand in hands]
            watching = tasks.create_task(company.watch())
            try:
                yield company
            finally:
                watching.cancel()
                for task in listening:
                    task.cancel()
    finally:
        await asyncio.gather(*(hand.end() for hand in hands), return_exceptions=True)


def _begin_of(setup: Setup, number: int) -> Begin:
    rest = setup.rest or setup.gateways[0]
    return Begin(
        number,
        setup.workers,
        setup.gateways,
        rest,
        setup.people,
        setup.opening,
        setup.tells_positions,
        setup.seed,
    )
