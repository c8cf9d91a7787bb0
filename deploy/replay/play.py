"""The replay: users are registered and connected, every log is played, and what came of it is held to the account.

A client's shell. All logs are played side by side; within one, the order of its lines is the order of what happens:
a line is sent when the line before was acknowledged (`in_flight` = 1), or with so many unanswered at most, and then
a line still waits for the one before of its own author, and joins and leaves wait for all before them.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from deploy.replay.account import Account, Paged, Verdict
from deploy.replay.frames import Message
from deploy.replay.member import Member, Room
from deploy.replay.rest import Addresses, Counts, GaveUp, Rest, new_http_client
from deploy.replay.script import OWNER, Join, Leave, Say, Script, username_of
from deploy.replay.session import BEAT_S, Ways

_REGISTERING: Final = 8
_CONNECTING: Final = 32
_COMING_BACK: Final = 256
"""How many connect at the same time when a node that had them all is gone."""
_READERS: Final = ((100, True), (50, False), (37, True))
"""Who reads all pages at the end: page size, and whether from the newest back."""
_QUIET_S: Final = 30.0
"""Without a delivery for so long, what has not come is lost."""
_LISTEN_S: Final = 1.0
"""How long members go on listening when all is there, for what comes twice."""
_LOOK_S: Final = 0.1
_NONCE: Final = "{run}.{log}.{line}"


@dataclass(frozen=True)
class Options:
    """How to replay. `lines_per_s` is per log, 0 as fast as acks come."""

    at: Addresses
    ways: Ways
    lines_per_s: float = 0.0
    in_flight: int = 1
    line_s: float = 120.0
    run_s: float = 3600.0


@dataclass
class Report:
    """What came of it, by log. `seconds`: from the first line to the last ack; `heard_s`: to the last delivery."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    users: int = 0
    joins: int = 0
    leaves: int = 0
    seconds: float = 0.0
    heard_s: float = 0.0
    acks_s: list[float] = field(default_factory=list)
    deliveries_s: list[float] = field(default_factory=list)

    @property
    def total(self) -> Verdict:
        """All logs together."""
        return sum(self.verdicts.values(), Verdict())

    @property
    def is_good(self) -> bool:
        """Whether everything was proved."""
        return bool(self.verdicts) and not self.problems and all(one.is_good for one in self.verdicts.values())


@dataclass
class _Part:
    """One log while it is played."""

    index: int
    script: Script
    room: Room
    members: list[Member] = field(default_factory=list)
    is_played: bool = False


class Replay:
    """One run. `phase`, `done`, `wanted` and `deliveries` may be looked at while it runs."""

    def __init__(
        self,
        scripts: Sequence[Script],
        options: Options,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._options = options
        self._clock = clock
        self._run = secrets.token_hex(3)
        self._report = Report()
        self._parts = [
            _Part(index, script, Room(f"replay {self._run} {script.name}"[:100], Account(script.messages)))
            for index, script in enumerate(scripts)
        ]
        self.phase = "begin"
        self.done = 0
        self.wanted = 0

    @property
    def deliveries(self) -> int:
        """How many messages members have received so far."""
        return sum(part.room.account.deliveries for part in self._parts)

    @property
    def retries(self) -> int:
        """How often something was asked again so far, by whoever was told to or heard nothing."""
        return self._report.counts.retries

    async def run(self) -> Report:
        """Replay all logs and judge. What could not be done is in the report's `problems`."""
        try:
            async with AsyncExitStack() as stack, asyncio.timeout(self._options.run_s):
                client = await stack.enter_async_context(new_http_client())
                rest = Rest(client, self._options.at, self._report.counts, self._options.line_s)
                await self._register(rest)
                members = [member for part in self._parts for member in part.members]
                tasks = await stack.enter_async_context(asyncio.TaskGroup())
                living = [tasks.create_task(member.session.run()) for member in members]
                living.append(tasks.create_task(_beat(members)))
                try:
                    await self._play(rest, members)
                finally:
                    for task in living:
                        task.cancel()
        except* GaveUp as failures:
            self._report.problems += [str(one) for one in leaves_of(failures)]
        except* TimeoutError:
            self._report.problems.append(f"the run took longer than {self._options.run_s:g} s")
        self._judge()
        return self._report

    async def _register(self, rest: Rest) -> None:
        password = secrets.token_urlsafe(12)
        gate = asyncio.Semaphore(_COMING_BACK)
        wanted = [(part, number) for part in self._parts for number in range(len(part.script.nicks))]
        members: dict[tuple[int, int], Member] = {}

        async def register(unique: int, part: _Part, number: int) -> None:
            user = await rest.register(username_of(part.script.nicks[number], self._run, unique), password)
            part.room.numbers[str(user.id)] = number
            members[part.index, number] = Member(
                number, user, part.room, rest, self._report.counts,
                home=unique, ways=self._options.ways, gate=gate, line_s=self._options.line_s, clock=self._clock,
            )  # fmt: skip

        works = (register(unique, part, number) for unique, (part, number) in enumerate(wanted))
        await self._each("registering", _REGISTERING, works, len(wanted))
        for part, number in wanted:
            part.members.append(members[part.index, number])
        self._report.users = len(wanted)

    async def _play(self, rest: Rest, members: Sequence[Member]) -> None:
        await self._each("connecting", _CONNECTING, (member.wait_ready() for member in members), len(members))
        await self._each(
            "creating groups", 4, (part.members[OWNER].create_group(part.room.name) for part in self._parts),
            len(self._parts),
        )  # fmt: skip
        self.phase, self.done, self.wanted = "playing", 0, sum(part.script.messages for part in self._parts)
        began = self._clock()
        async with asyncio.TaskGroup() as tasks:
            for part in self._parts:
                tasks.create_task(self._play_part(part))
        self._report.seconds = self._clock() - began
        await self._settle(began)
        played = [part for part in self._parts if part.is_played]
        self.phase, self.done, self.wanted = "reading pages", 0, len(played) * len(_READERS)
        async with asyncio.TaskGroup() as tasks:
            for part in played:
                tasks.create_task(self._read_pages(rest, part))
        await self._each("hanging up", _CONNECTING, (member.session.hang_up() for member in members), len(members))

    async def _play_part(self, part: _Part) -> None:
        pending: dict[int, asyncio.Task[None]] = {}
        lines = 0
        due = self._clock()
        try:
            async with asyncio.TaskGroup() as tasks:
                for step in part.script.steps:
                    match step:
                        case Say(person, content):
                            await _wait_room(pending, person, self._options.in_flight)
                            if self._options.lines_per_s:
                                due = max(due + 1 / self._options.lines_per_s, self._clock() - 1)
                                await asyncio.sleep(due - self._clock())
                            nonce = _NONCE.format(run=self._run, log=part.index, line=lines)
                            lines += 1
                            pending[person] = tasks.create_task(self._say(part.members[person], nonce, content))
                        case Join(person):
                            await _wait_all(pending)
                            await part.members[person].join()
                            self._report.joins += 1
                        case Leave(person):
                            await _wait_all(pending)
                            await part.members[person].leave()
                            self._report.leaves += 1
            part.is_played = True
        except* GaveUp as failures:
            self._report.problems += [f"{part.script.name}: {one}" for one in leaves_of(failures)]

    async def _say(self, member: Member, nonce: str, content: str) -> None:
        await member.say(nonce, content)
        self.done += 1

    async def _settle(self, began: float) -> None:
        """Wait until every member has seen everything, or nothing comes any more."""
        self.phase = "listening"
        inside = [(member, part.room.account) for part in self._parts for member in part.members if member.is_inside]
        heard, heard_at = self.deliveries, self._clock()
        while any(member.position < account.last_seq for member, account in inside):
            await asyncio.sleep(_LOOK_S)
            if self.deliveries != heard:
                heard, heard_at = self.deliveries, self._clock()
            elif self._clock() - heard_at > _QUIET_S:
                break
        self._report.heard_s = heard_at - began
        await asyncio.sleep(_LISTEN_S)

    async def _read_pages(self, rest: Rest, part: _Part) -> None:
        channel_id = part.room.require_group().channel_id
        inside = [member for member in part.members if member.is_inside]
        for index, (limit, is_backward) in enumerate(_READERS):
            reader = inside[index * (len(inside) - 1) // max(len(_READERS) - 1, 1)]
            page = await rest.read_pages(reader.user, channel_id, limit, is_backward=is_backward)
            messages = msgspec.convert(page, list[Message])
            part.room.account.paged(
                [Paged(int(one.id), one.seq, part.room.number_of(one.author), one.content) for one in messages]
            )
            self.done += 1

    def _judge(self) -> None:
        self.phase = "judging"
        report = self._report
        for part in self._parts:
            account = part.room.account
            report.verdicts[part.script.name] = account.verdict(is_strict=self._options.in_flight == 1)
            report.problems += [f"{part.script.name}: {example}" for example in account.examples]
            report.acks_s += account.acks_s
            report.deliveries_s += account.deliveries_s
            for why, count in part.script.skipped.items():
                report.skipped[why] = report.skipped.get(why, 0) + count

    async def _each(self, phase: str, at_once: int, works: Iterable[Coroutine[Any, Any, None]], wanted: int) -> None:
        """Do all of it, so many at the same time."""
        self.phase, self.done, self.wanted = phase, 0, wanted
        gate = asyncio.Semaphore(at_once)

        async def one(work: Coroutine[Any, Any, None]) -> None:
            async with gate:
                await work
            self.done += 1

        async with asyncio.TaskGroup() as tasks:
            for work in works:
                tasks.create_task(one(work))


async def _wait_room(pending: dict[int, asyncio.Task[None]], person: int, in_flight: int) -> None:
    """Wait until this author has nothing unanswered and there is room for one more."""
    if person in pending:
        await asyncio.wait((pending[person],))
    while True:
        for other in [other for other, task in pending.items() if task.done()]:
            del pending[other]  # if it failed, the group of tasks ends all
        if len(pending) < in_flight:
            return
        await asyncio.wait(pending.values(), return_when=asyncio.FIRST_COMPLETED)


async def _wait_all(pending: dict[int, asyncio.Task[None]]) -> None:
    while pending:
        await _wait_room(pending, next(iter(pending)), len(pending))


async def _beat(members: Sequence[Member]) -> None:
    """Let all members send their heartbeats, some in each second, for ever."""
    while True:
        for some in range(BEAT_S):
            await asyncio.sleep(1)
            for member in members[some::BEAT_S]:
                await member.session.beat()


def leaves_of(failures: BaseExceptionGroup[Any]) -> Iterable[BaseException]:
    """Yield what failed, one by one, however deep the groups are."""
    for one in failures.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from leaves_of(one)
        else:
            yield one
