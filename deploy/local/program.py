"""One process of a local cluster, kept alive: started, watched, started again, ended for certain.

Deployment code. `Program` says what to run; `Member` runs it. `deploy.local.cluster` puts members together.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.local.door import say
from deploy.local.process import StartFailed, tail_of

ROOT: Final = Path(__file__).parent.parent.parent

_PROBE_INTERVAL_S = 0.1
_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 10.0
_STEADY_S = 30.0
"""Who lived so long was well: its next delay is the first again."""


@dataclass(frozen=True)
class Program:
    """What to run, where it answers, and what it needs.

    `answers` says whether it takes work; it may block for some seconds. `needs` names the programs that must answer
    before it is started. `env` replaces the environment. `grace_s` is from SIGTERM to SIGKILL.
    """

    kind: str
    name: str
    command: Sequence[str | Path]
    address: str
    answers: Callable[[], bool]
    env: Mapping[str, str]
    needs: tuple[str, ...] = ()
    grace_s: float = 8.0
    ready_s: float = 90.0


class Member:
    """A program and its process, one after the other. Without `restarts` one that dies stays dead."""

    def __init__(self, program: Program, log: Path, *, restarts: bool, changed: Callable[[], None]) -> None:
        self.program = program
        self.log = log
        self.ready = asyncio.Event()
        self._restarts = restarts
        self._changed = changed
        self._state = "waiting"
        self._starts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._gone = asyncio.Event()
        self._gone.set()
        self._asked = asyncio.Event()
        self._restarting = asyncio.Lock()
        self._was_ready = False
        self._ending = False

    def describe(self) -> dict[str, Any]:
        """Return its entry in cluster.json; `pid` is None while no process lives."""
        return {
            "kind": self.program.kind,
            "name": self.program.name,
            "pid": None if self._process is None else self._process.pid,
            "address": self.program.address,
            "log": str(self.log),
            "state": self._state,
            "starts": self._starts,
        }

    async def run(self, needs: Sequence[Member]) -> None:
        """Keep the program until `end`. Raises `StartFailed` when its first process does not come to answer."""
        delay = _FIRST_DELAY_S
        while not self._ending:
            self._asked.clear()
            for need in needs:
                await need.ready.wait()
            if self._ending:
                break
            begun = time.monotonic()
            how = await self._live()
            if self._ending or self._asked.is_set():
                continue
            if not self._was_ready:
                raise StartFailed(f"{self.program.name} {how}; the end of {self.log}:\n{tail_of(self.log)}")
            if not self._restarts:
                self._show("dead")
                say(f"{self.program.name} {how} and stays dead")
                await self._asked.wait()
                continue
            delay = _FIRST_DELAY_S if time.monotonic() - begun > _STEADY_S else delay
            say(f"{self.program.name} {how}; starts again in {delay:g} s")
            await _within(delay, self._asked.wait())
            delay = min(2 * delay, _LONGEST_DELAY_S)
        self._show("ended")

    async def restart(self) -> bool:
        """End the process as an operator does and start anew; return whether the new one answers in time."""
        async with self._restarting:
            self._asked.set()
            await self._terminate()
            return await _within(self.program.ready_s, self.ready.wait())

    async def end(self) -> None:
        """End the process for certain: SIGTERM, and SIGKILL for the whole group after the grace."""
        self._ending = True
        self._asked.set()
        await self._terminate()

    async def _live(self) -> str:
        """Run one process from start to end; return how it ended."""
        self._gone.clear()
        try:
            self._process = process = await _spawn(self.program, self.log)
            self._starts += 1
            self._show("starting")
            if self._ending:
                process.terminate()
            late = False
            async with asyncio.TaskGroup() as tasks:
                probing = tasks.create_task(self._probe(process))
                code = await process.wait()
                late = probing.done() and not probing.result()
                probing.cancel()
            # What the leader left behind in its group goes too, as nginx' workers after a kill -9.
            _signal_group(process, signal.SIGKILL)
            return f"did not answer within {self.program.ready_s:g} s" if late else f"ended with code {code}"
        finally:
            self._process = None
            self.ready.clear()
            self._show("waiting")
            self._gone.set()

    async def _probe(self, process: asyncio.subprocess.Process) -> bool:
        """Ask until it answers; return False, with the process killed, when it does not in time."""
        deadline = time.monotonic() + self.program.ready_s
        while not await asyncio.to_thread(self.program.answers):
            if time.monotonic() > deadline:
                _signal_group(process, signal.SIGKILL)
                return False
            await asyncio.sleep(_PROBE_INTERVAL_S)
        if self._was_ready:
            say(f"{self.program.name} is back, pid {process.pid}")
        self._was_ready = True
        self.ready.set()
        self._show("ready")
        return True

    async def _terminate(self) -> None:
        if self._process is not None:
            # The leader only: RabbitMQ's helpers and nginx' workers are their leaders' business.
            _signal(self._process, signal.SIGTERM)
        if not await _within(self.program.grace_s, self._gone.wait()):
            if self._process is not None:
                _signal_group(self._process, signal.SIGKILL)
            await self._gone.wait()

    def _show(self, state: str) -> None:
        self._state = state
        self._changed()


async def _spawn(program: Program, log: Path) -> asyncio.subprocess.Process:
    """Start a process in a group of its own, so that Ctrl-C in the terminal is not its business."""
    command = [str(part) for part in program.command]
    setpriv = shutil.which("setpriv")
    if setpriv is not None:
        # Where Linux offers it: it ends with us even when we are killed without a chance to end it.
        command = [setpriv, "--pdeathsig", "TERM", *command]
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env=program.env,
            cwd=ROOT,
            process_group=0,
        )


async def _within(seconds: float, condition: Awaitable[object]) -> bool:
    """Return whether the condition came true in time."""
    try:
        async with asyncio.timeout(seconds):
            await condition
    except TimeoutError:
        return False
    return True


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        process.send_signal(number)


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
