"""`python -m deploy.load.worker`: one process of the load, which `deploy.load.company` starts and speaks with.

It reads `deploy.load.plan.ToWorker` from standard input and writes `FromWorker` to standard output, a JSON text in a
line each. When standard input ends, so does it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import resource
import sys
import time
from contextlib import suppress
from typing import Final

import msgspec
import uvloop

from deploy.load.crowd import Crowd
from deploy.load.pages import Readers
from deploy.load.plan import Begin, Behind, Compare, Do, End, Ended, FromWorker, Heads, Hush, Report, ToWorker
from deploy.load.talk import Talk
from deploy.load.usage import resident_bytes

_REPORT_S: Final = 1.0
_LONGEST: Final = 1 << 28
_OTHER_FILES: Final = 128
_decode = msgspec.json.Decoder(ToWorker).decode
_encode = msgspec.json.Encoder().encode


class Worker:
    """One process's part of the company."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._tokens = {
            number: token for number, token in enumerate(begin.people.tokens) if number % begin.workers == begin.number
        }
        seed = begin.seed * begin.workers + begin.number
        self._chance = random.Random(seed)  # noqa: S311 (no secret)
        self._seed = seed
        self.crowd = Crowd(
            begin.gateways,
            self._tokens,
            opening=max(1, begin.opening // begin.workers),
            tells_positions=begin.tells_positions,
            seed=seed,
        )
        self._readers: Readers | None = None
        self._doing: asyncio.Task[None] | None = None

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Do as told until `End`, or until nobody is there to tell."""
        crowd = self.crowd
        async with asyncio.TaskGroup() as tasks:
            living = [tasks.create_task(crowd.run()), tasks.create_task(self._report())]
            crowd.bring(crowd.sessions.values())
            while line := await reader.readline():
                match _decode(line):
                    case Do(stage=stage, begin_us=begin_us):
                        await self._stop()
                        self._doing = tasks.create_task(self._do(Do(stage, begin_us)))
                    case Hush():
                        await self._stop()
                        tell(self._told())
                        tell(Heads(crowd.heads(), crowd.unanswered))
                    case Compare(heads=heads):
                        tell(Behind(crowd.behind(heads)))
                    case End(heads=heads):
                        crowd.end(heads)
                        tell(Ended(self._told()))
                        break
                    case Begin():
                        raise ValueError("told to begin twice")
            await self._stop()
            crowd.close()
            for task in living:
                task.cancel()

    async def _stop(self) -> None:
        if self._doing is not None:
            self._doing.cancel()
            with suppress(asyncio.CancelledError):
                await self._doing
        self._doing = None

    async def _do(self, told: Do) -> None:
        begin, stage = self._begin, told.stage
        places = begin.people.places
        talk = Talk(self.crowd, places, zipf=stage.zipf, is_bursty=stage.is_bursty, seed=self._seed)
        part = 1 / begin.workers
        async with asyncio.TaskGroup() as tasks:
            if stage.messages.count(stage.seconds):
                tasks.create_task(talk.run(stage.messages.share(part), told.begin_us))
            if stage.pages.count(stage.seconds):
                read = [
                    (place.channel_id, begin.people.tokens[member])
                    for place in places[: stage.readers_places]
                    for member in place.members[:10]
                ]
                self._readers = Readers(begin.rest, read, self.crowd)
                tasks.create_task(self._readers.run(stage.pages.share(part), told.begin_us))
            if stage.churn_per_s:
                tasks.create_task(self._churn(stage.churn_per_s * part))
            if stage.storm_s:
                tasks.create_task(self._storm(stage.storm_s))

    async def _churn(self, per_s: float) -> None:
        """Let one session after the other break off, or leave, and come again."""
        sessions = list(self.crowd.sessions.values())
        while True:
            await asyncio.sleep(1 / per_s)
            session = self._chance.choice(sessions)
            if self._chance.random() < 0.5:
                session.cut()
            else:
                session.leave()

    async def _storm(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            for session in self.crowd.sessions.values():
                session.cut()

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_S)
            tell(self._told())

    def _told(self) -> Report:
        crowd = self.crowd
        return Report(
            crowd.online,
            len(crowd.sessions),
            crowd.unanswered,
            crowd.counts,
            crowd.tally,
            crowd.deliveries.take(),
            crowd.acks.take(),
            crowd.joins.take(),
            self._readers.latencies.take() if self._readers is not None else {},
            time.process_time(),
            resident_bytes(os.getpid()),
        )


def tell(what: FromWorker) -> None:
    """Write a line. The other side reads all the time, so this does not wait long."""
    sys.stdout.buffer.write(_encode(what) + b"\n")
    sys.stdout.buffer.flush()


async def _work() -> None:
    reader = asyncio.StreamReader(limit=_LONGEST)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    line = await reader.readline()
    if not line:
        return
    begin = _decode(line)
    if not isinstance(begin, Begin):
        raise TypeError("told something before how to begin")
    await Worker(begin).run(reader)


def main() -> None:
    """Work until told to end."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.set_threshold(50_000, 20, 100)  # what is made for each event is gone with its last name
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, suppress(KeyboardInterrupt):
        runner.run(_work())


if __name__ == "__main__":
    main()
