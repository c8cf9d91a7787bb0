"""Devices that keep their sessions: thousands of clients of Starling that resume when their connection breaks.

One thread on raw epoll. Each device knows its session, its last `s`, and the last seq that it saw of its one channel,
so that what is lost or comes twice is counted event by event. Read `tests.bench.failover` next.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from itertools import cycle
from typing import Final, Protocol

from deploy.load.frames import CLOSE, TEXT, take_frame, take_head, upgrade_of
from deploy.load.shapes import (
    decode_guild,
    decode_message,
    decode_ready,
    heartbeat_of,
    identify_of,
    resume_of,
    send_of,
)
from deploy.replay.frames import INVALID_SESSION, SEND_REJECT, decode_frame, decode_reject
from tests.bench.crowd import CrowdFailed

_NAP_S: Final = 0.001
_CONNECTING: Final = 1024
"""Devices on their way in at once: below the backlog of a node."""
_RETRY_S: Final = 0.25
"""How long a device that was refused waits: shorter than any real one's patience."""
_BEAT_S: Final = 40.0
"""A little less than what HELLO asks for."""
_PATH: Final = "/gateway?v=10&encoding=json"
_HELLO: Final = 10


class Ears(Protocol):
    """Who wants to know what devices hear."""

    def hear(self, device: Device, nonce: str) -> None:
        """Take in that a device got a message."""

    def refused(self, nonce: str) -> None:
        """Take in that a message was refused."""


class Phase(Enum):
    """How far a device is."""

    AWAY = "away"
    CONNECTING = "connecting"
    UPGRADING = "upgrading"
    GREETED = "greeted"
    IN = "in"


class Device:
    """One client and what it knows. `seq` is None until a body of its group has told where its channel is."""

    __slots__ = (
        "back_at",
        "beat_at",
        "channel_id",
        "doubled",
        "inbox",
        "last_nonce",
        "lost",
        "phase",
        "resumed",
        "s",
        "seq",
        "session_id",
        "sock",
        "tells_positions",
        "token",
        "unread",
    )

    def __init__(self, token: str, *, tells_positions: bool = False) -> None:
        self.token = token
        self.tells_positions = tells_positions
        """Whether its RESUMEs carry the seq that it has of its channel."""
        self.channel_id = ""
        self.beat_at = 0.0
        self.phase = Phase.AWAY
        self.sock: socket.socket | None = None
        self.inbox = bytearray()
        self.session_id = ""
        self.s = 0
        self.seq: int | None = None
        self.lost = 0
        """Events that never came, though later ones of the channel did."""
        self.doubled = 0
        """Events that came more than once."""
        self.unread = 0
        """Events that a new session did not tell again: the client reads them by REST."""
        self.back_at = 0.0
        self.resumed = False
        """Whether its last way in was a RESUME."""


class Devices:
    """All devices of a run. `ports`: the nodes they come to, in turn."""

    ears: Ears

    def __init__(self, ports: Iterable[int]) -> None:
        self.refusals = 0
        """Ways in that ended before the session was there."""
        self.invalid = 0
        """RESUMEs answered by INVALID_SESSION."""
        self._epoll = select.epoll()
        self._by_fd: dict[int, Device] = {}
        self._waiting: deque[Device] = deque()
        self._later: deque[tuple[float, Device]] = deque()
        self._beating: deque[Device] = deque()
        self._coming = 0
        self._ports: Iterator[int] = cycle(())
        self.go_to(ports)

    def go_to(self, ports: Iterable[int]) -> None:
        """Let devices connect to these nodes from now on, in turn."""
        self._ports = cycle(tuple(ports))

    def bring(self, devices: Iterable[Device]) -> None:
        """Let these devices come."""
        self._waiting.extend(devices)

    def close(self) -> None:
        """Drop all connections."""
        for device in self._by_fd.values():
            if device.sock is not None:
                device.sock.close()
        self._epoll.close()

    def say(self, device: Device, channel_id: int, content: str, nonce: str) -> None:
        """Send a message as this device."""
        self._send(device, send_of(str(channel_id), content, nonce))

    def wait(self, condition: Callable[[], bool], deadline_s: float, what: str, each: Callable[[], None]) -> None:
        """Go on until it is so, with `each` between the steps. Raises `CrowdFailed` after the deadline."""
        end = time.perf_counter() + deadline_s
        while not condition():
            if time.perf_counter() > end:
                raise CrowdFailed(f"{what} did not happen within {deadline_s:g} s")
            each()
            self.step()

    def step(self) -> None:
        """Connect who may, and take what came."""
        now = time.perf_counter()
        while self._later and self._later[0][0] <= now:
            self._waiting.append(self._later.popleft()[1])
        self._beat(now)
        while self._waiting and self._coming < _CONNECTING:
            self._connect(self._waiting.popleft())
        time.sleep(_NAP_S)
        for fd, mask in self._epoll.poll(0.01, 4096):
            device = self._by_fd.get(fd)
            if device is None:
                continue
            if device.phase is Phase.CONNECTING and mask & select.EPOLLOUT:
                device.phase = Phase.UPGRADING
                self._epoll.modify(fd, select.EPOLLIN)
                self._send(device, upgrade_of(_PATH))
            elif mask & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self._read(device)

    # Parts of the above.

    def _connect(self, device: Device) -> None:
        device.sock = sock = socket.socket()
        device.phase = Phase.CONNECTING
        device.inbox = bytearray()
        self._coming += 1
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._by_fd[sock.fileno()] = device
        self._epoll.register(sock.fileno(), select.EPOLLOUT | select.EPOLLIN)
        if sock.connect_ex(("127.0.0.1", next(self._ports))) not in (0, errno.EINPROGRESS):
            self._drop(device)

    def _drop(self, device: Device) -> None:
        """Close a device's connection and let it come again."""
        if device.sock is None:
            return
        fd = device.sock.fileno()
        self._epoll.unregister(fd)
        del self._by_fd[fd]
        device.sock.close()
        device.sock = None
        if device.phase is Phase.IN:
            self._waiting.append(device)
        else:
            self._coming -= 1
            self.refusals += 1
            self._later.append((time.perf_counter() + _RETRY_S, device))
        device.phase = Phase.AWAY

    def _send(self, device: Device, data: bytes) -> None:
        try:
            if device.sock is not None:
                device.sock.sendall(data)
        except OSError:
            self._drop(device)

    def _read(self, device: Device) -> None:
        try:
            came = device.sock.recv(1 << 18) if device.sock is not None else b""
        except BlockingIOError:
            return
        except OSError:
            came = b""
        if not came:
            self._drop(device)
            return
        device.inbox += came
        if device.phase is Phase.UPGRADING:
            head = take_head(device.inbox)
            if head is None:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._drop(device)
                return
            device.phase = Phase.GREETED
        while device.sock is not None and (frame := take_frame(device.inbox)) is not None:
            if frame[0] == TEXT:
                self._take(device, frame[1])
            elif frame[0] == CLOSE:
                self._drop(device)

    def _take(self, device: Device, payload: bytes) -> None:
        frame = decode_frame(payload)
        if frame.s is not None:
            device.s = frame.s
        match frame.op, frame.t:
            case op, _ if op == _HELLO:
                self._introduce(device)
            case op, _ if op == INVALID_SESSION:
                self.invalid += 1
                device.session_id, device.s = "", 0
                self._introduce(device)
            case _, "READY":
                device.session_id = decode_ready(frame.d).session_id
                self._is_in(device, resumed=False)
            case _, "RESUMED":
                self._is_in(device, resumed=True)
            case _, "GUILD_CREATE":
                (channel,) = decode_guild(frame.d).channels
                if device.seq is not None:
                    device.unread += channel.last_seq - device.seq
                device.channel_id, device.seq = channel.id, channel.last_seq
            case _, "MESSAGE_CREATE":
                message = decode_message(frame.d)
                self._count(device, message.seq)
                if message.nonce:
                    self.ears.hear(device, str(message.nonce))
            case op, _ if op == SEND_REJECT:
                self.ears.refused(decode_reject(frame.d).nonce)

    def _introduce(self, device: Device) -> None:
        if device.session_id:
            positions = {device.channel_id: device.seq} if device.tells_positions and device.seq is not None else None
            self._send(device, resume_of(device.token, device.session_id, device.s, positions))
        else:
            self._send(device, identify_of(device.token))

    def _is_in(self, device: Device, *, resumed: bool) -> None:
        if device.phase is not Phase.IN:
            self._coming -= 1
        device.phase = Phase.IN
        device.resumed = resumed
        device.back_at = device.beat_at = time.perf_counter()
        self._beating.append(device)

    def _beat(self, now: float) -> None:
        """Send the heartbeats that are due. Who came first is the first again."""
        while self._beating and self._beating[0].beat_at + _BEAT_S <= now:
            device = self._beating.popleft()
            if device.phase is Phase.IN and device.beat_at + _BEAT_S <= now:
                device.beat_at = now
                self._send(device, heartbeat_of(device.s))
                self._beating.append(device)

    @staticmethod
    def _count(device: Device, seq: int) -> None:
        if device.seq is None or seq <= device.seq:
            device.doubled += 1
            return
        device.lost += seq - device.seq - 1
        device.seq = seq
