"""Couples who talk across two nodes, in one thread on plain sockets: how long a message takes, how many go a second."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from deploy.load.frames import take_frame, take_head
from tests.bench.crowd import CrowdFailed
from tests.bench.dialects import PairDialect
from tests.bench.pairs import Couple, Pair

_STEP_S: Final = 30.0
_TEXT: Final = "x" * 72
_KEPT: Final = 64
"""Bytes of what came that are looked at again: a mark may come in two halves."""


class Talk:
    """One couple, both connected."""

    def __init__(self, pair: Pair, couple: Couple) -> None:
        self.speaker = connect(pair.ports[0], pair.dialect, couple.speaker)
        self.listener = connect(pair.ports[1], pair.dialect, couple.listener)
        self.speaker.setblocking(False)  # so little is said that the buffer always takes it
        self._direct = pair.dialect.direct
        self._name = couple.name
        self._number = 0
        self._mark = b""
        self._kept = b""

    def say(self) -> None:
        """Have the next message sent."""
        self._number += 1
        self._mark = b"#%08d#" % self._number
        self.speaker.sendall(self._direct(self._name, f"{_TEXT}{self._mark.decode()}"))

    def hears(self) -> bool:
        """Read what is there for the listener; return whether the last message is in it."""
        came = self.listener.recv(65536)
        if not came:
            raise CrowdFailed("a node closed a connection")
        looked, self._kept = self._kept + came, came[-_KEPT:]
        return self._mark in looked

    def drain(self) -> None:
        """Throw away what is there for the speaker."""
        with suppress(BlockingIOError):
            self.speaker.recv(1 << 18)

    def close(self) -> None:
        """End both."""
        self.speaker.close()
        self.listener.close()


def connect(port: int, dialect: PairDialect, token: str) -> socket.socket:
    """Return a connection whose client is in. Raises `OSError`, `Refused`, `CrowdFailed`."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=_STEP_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    conversation, inbox, take = dialect.join(token), bytearray(), take_head
    answer = next(conversation)
    while True:
        if answer:
            sock.sendall(answer)
        while (message := take(inbox)) is None:
            if not (came := sock.recv(65536)):
                raise CrowdFailed("a node closed a connection")
            inbox += came
        take = _take_text
        try:
            answer = conversation.send(message)
        except StopIteration:
            return sock


def _take_text(inbox: bytearray) -> bytes | None:
    taken = take_frame(inbox)
    return None if taken is None else taken[1]


def measure_waits(talks: Sequence[Talk], times: int) -> list[float]:
    """Send so many messages one after the other, each by the next couple; return their ms, in order of size."""
    waits = []
    for number in range(times):
        talk = talks[number % len(talks)]
        began = time.perf_counter()
        talk.say()
        while not talk.hears():
            pass
        waits.append((time.perf_counter() - began) * 1000)
        talk.drain()
    return sorted(waits)


def measure_rate(talks: Sequence[Talk], seconds: float) -> tuple[int, float]:
    """Let all couples talk at once, each its next message when the last is heard; return how many, and the seconds."""
    poll = select.epoll()
    by_fd = {talk.listener.fileno(): talk for talk in talks}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    began = time.perf_counter()
    heard, open_ones = 0, len(talks)
    for talk in talks:
        talk.say()
    while open_ones:
        ready = poll.poll(_STEP_S)
        if not ready:
            raise CrowdFailed(f"{open_ones} messages were not heard within {_STEP_S:g} s")
        for fd, _ in ready:
            talk = by_fd[fd]
            if talk.hears():
                heard += 1
                talk.drain()
                if time.perf_counter() - began < seconds:
                    talk.say()
                else:
                    open_ones -= 1
    poll.close()
    return heard, time.perf_counter() - began
