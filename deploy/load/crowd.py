"""All sessions of one process: how they come in, come back, stay alive, and what they count together.

A client's shell. So many come in at a time as `opening` says; who is refused waits longer each time.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Final
from urllib.parse import urlsplit

from deploy.load.counts import Counts
from deploy.load.heard import Tally
from deploy.load.histogram import Histogram
from deploy.load.session import Session, now_us

_COME_S: Final = 60.0
"""For one way in; then the connection is dropped."""
_ANSWER_S: Final = 30.0
"""For the answer to a message; then the connection is dropped, and the message sent again over the next one."""
_FIRST_WAIT_S: Final = 0.25
_LAST_WAIT_S: Final = 10.0
_TICK_S: Final = 1.0
_BEAT_SHARE: Final = 0.9
"""Of the interval that the server asks for."""
_PER_ADDRESS: Final = 14_000
"""Connections from one local address: a system has about 28,000 ports for each, and what was closed keeps its own."""


class Crowd:
    """Sessions of users at `gateways` (http://host:port, in turn). `tokens` by the user's place among all."""

    def __init__(
        self, gateways: Sequence[str], tokens: dict[int, str], *, opening: int, tells_positions: bool, seed: int
    ) -> None:
        self.counts = Counts()
        self.tally = Tally()
        self.deliveries = Histogram()
        self.acks = Histogram()
        self.joins = Histogram()
        self.beat_s = 40.0
        self.tells_positions = tells_positions
        self.sessions = {number: Session(self, number, token) for number, token in tokens.items()}
        self.online = 0
        self._marks = count(1)
        self._places = [(urlsplit(url).hostname or "", urlsplit(url).port or 80) for url in gateways]
        self._opening = opening
        self._chance = random.Random(seed)  # noqa: S311 (spreads clients, no secret)
        self._waiting: asyncio.Queue[Session] = asyncio.Queue()
        self._beating: deque[tuple[float, int, Session]] = deque()
        self._stays = True

    def next_mark(self) -> int:
        """Return a number that no other message of this process has."""
        self.counts.sent += 1
        return next(self._marks)

    def bring(self, sessions: Iterable[Session]) -> None:
        """Let these come."""
        for session in sessions:
            self._waiting.put_nowait(session)

    @property
    def unanswered(self) -> int:
        """How many messages wait for an answer."""
        return sum(len(session.unanswered) for session in self.sessions.values())

    def heads(self) -> dict[str, int]:
        """Return the last seq that anybody here was told, by channel id."""
        heads: dict[str, int] = {}
        for session in self.sessions.values():
            for channel_id, last in session.heard.last.items():
                if last > heads.get(channel_id, 0):
                    heads[channel_id] = last
        return heads

    def behind(self, heads: dict[str, int]) -> int:
        """Return how many events sessions have still to hear."""
        return sum(
            max(0, heads.get(channel_id, 0) - last)
            for session in self.sessions.values()
            for channel_id, last in session.heard.last.items()
        )

    def end(self, heads: dict[str, int]) -> None:
        """Count what never came."""
        for session in self.sessions.values():
            session.heard.end(heads, self.tally)

    async def run(self) -> None:
        """Let them come and stay, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._opening):
                tasks.create_task(self._let_in())
            tasks.create_task(self._keep_alive())

    def close(self) -> None:
        """Drop all connections for good."""
        self._stays = False
        for session in self.sessions.values():
            session.cut()

    # What sessions tell.

    def has_come(self, session: Session) -> None:
        """Take in that a session is there."""
        self.online += 1
        self.joins.record(now_us() - session.begun_us)
        at = asyncio.get_running_loop().time() + _BEAT_SHARE * self.beat_s
        self._beating.append((at, session.begun_us, session))

    def has_lost(self, session: Session, *, was_in: bool) -> None:
        """Take in that a session's connection is gone."""
        if not self._stays:
            return
        if was_in:
            self.online -= 1
            self.counts.lost += 1
        else:
            self.counts.refused += 1
            session.wait_s = min(max(_FIRST_WAIT_S, 2 * session.wait_s), _LAST_WAIT_S)
        self._come_again(session)

    def _come_again(self, session: Session) -> None:
        if session.is_gone:
            self.counts.expelled += 1
            return
        wait_s = session.wait_s * self._chance.uniform(0.5, 1)
        asyncio.get_running_loop().call_later(wait_s, self._waiting.put_nowait, session)

    # Tasks.

    async def _let_in(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            session = await self._waiting.get()
            session.begun_us = now_us()
            session.entered = loop.create_future()
            # With many sessions from one address the ports run out; every address of 127/8 is ours.
            host, port = self._places[session.number % len(self._places)]
            block = session.number // _PER_ADDRESS
            local = (f"127.0.0.{1 + block}", 0) if block and host == "127.0.0.1" else None
            try:
                async with asyncio.timeout(_COME_S):
                    await loop.create_connection(lambda one=session: one, host, port, local_addr=local)
                    await session.entered
            except OSError:  # a TimeoutError is one
                if session.is_connected:
                    session.cut()
                else:
                    self.has_lost(session, was_in=False)

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK_S)
            now = loop.time()
            while self._beating and self._beating[0][0] <= now:
                _, begun_us, session = self._beating.popleft()
                if session.is_in and session.begun_us == begun_us:  # it is the same connection
                    session.beat()
                    self._beating.append((now + _BEAT_SHARE * self.beat_s, begun_us, session))
            late_us = now_us() - int(_ANSWER_S * 1e6)
            for session in self.sessions.values():
                if session.is_in and session.begun_us < late_us and session.waits_since(late_us):
                    session.cut()
