"""A library's bot as a process: asked by lines on stdin, telling by lines on stdout (bots/lines.py)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

Fact = dict[str, Any]

_LINE_BYTES: Final = 1 << 22
_END_S: Final = 5.0


class BotFailed(Exception):
    """A bot did not do what it was asked for, or did not tell in time what it should have heard."""


class Bot:
    """A running bot. `told` is all that it told so far, in order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._news = asyncio.Condition()
        self._number = 0
        self.told: list[Fact] = []

    async def read(self) -> None:
        """Take in what the bot tells, until it ends."""
        out = self._process.stdout
        while out is not None and (line := await out.readline()):
            fact = json.loads(line)
            if (answer := self._asked.pop(fact.get("id", 0), None)) is not None:
                if not answer.done():
                    failed = BotFailed(fact["error"]) if "error" in fact else None
                    answer.set_exception(failed) if failed else answer.set_result(fact["ok"])
                continue
            async with self._news:
                self.told.append(fact)
                self._news.notify_all()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(BotFailed("the bot ended"))

    async def ask(self, verb: str, *, timeout_s: float = 30.0, **arguments: Any) -> Any:
        """Let the bot do something; return what it answers. Raises `BotFailed`."""
        self._number += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[self._number] = answer
        line = json.dumps({"id": self._number, "do": verb, **arguments}) + "\n"
        if self._process.stdin is None or self._process.returncode is not None:
            raise BotFailed("the bot has ended")
        self._process.stdin.write(line.encode())
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as error:
            raise BotFailed(f"no answer to {verb} in {timeout_s:g} s") from error

    async def wait(self, what: str, accept: Callable[[list[Fact]], bool], *, timeout_s: float = 30.0) -> None:
        """Wait until `accept` takes what was told. Raises `BotFailed` with `what`."""
        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(lambda: accept(self.told))
        except TimeoutError as error:
            raise BotFailed(f"{what}: not in {timeout_s:g} s") from error

    def heard(self, since: int, t: str = "MESSAGE_CREATE") -> list[Fact]:
        """Return the dispatches of a kind, from place `since` of `told` on."""
        return [fact for fact in self.told[since:] if fact["event"] == "dispatch" and fact["t"] == t]


@asynccontextmanager
async def open_bot(command: list[str], folder: Path, log: Path) -> AsyncIterator[Bot]:
    """Run a bot in its library's folder until the end; what it writes to stderr goes to `log`."""
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=_LINE_BYTES,
        )
        bot = Bot(process)
        reading = asyncio.create_task(bot.read())
        try:
            yield bot
        finally:
            if process.returncode is None:
                process.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()
            await reading
