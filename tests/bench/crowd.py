"""The load generator: thousands of clients in one thread, on raw epoll, counting what comes instead of decoding it.

It must cost less than any server under test. What arrives is read in small naps, so that no server pays for waking it
on each delivery; real clients sit on other machines.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Final

from deploy.load.frames import GOOD_BYE, frame_at, take_frame, take_head
from tests.bench.dialects import Conversation, Dialect, Refused

_BUFFER_BYTES: Final = 1 << 18
_NAP_S: Final = 0.001
_PER_ADDRESS: Final = 15_000
"""Connections from one source address: a system has about 28,000 ports for each."""
_BIND_ADDRESS_NO_PORT: Final = 24
_RESET: Final = struct.pack("ii", 1, 0)
_IN_FLIGHT: Final = 192
"""Joins at work at once: below every server's backlog."""
_REFUSALS: Final = 500
"""So many refused clients are a busy server's; more say that something is wrong."""
_SLACK: Final = 24
"""A dispatch's length varies with the digits of its numbers."""


class CrowdFailed(Exception):
    """A client was refused or dropped, or something did not happen in time."""


class Client:
    """One connection."""

    __slots__ = ("awaits_head", "conversation", "inbox", "skip", "sock", "token")

    def __init__(self, sock: socket.socket, token: str, conversation: Conversation, *, awaits_head: bool) -> None:
        self.sock = sock
        self.token = token
        self.conversation: Conversation | None = conversation
        self.awaits_head = awaits_head
        self.inbox: bytearray | None = bytearray()
        """What came and is not taken yet; None between two whole frames, once the client is in."""
        self.skip = 0
        """So many bytes of a frame that was counted are still to come."""


class Crowd:
    """Clients of one server at 127.0.0.1:`port`. `payload_bytes`: about how long the frames are that are counted."""

    def __init__(self, port: int, dialect: Dialect, payload_bytes: int) -> None:
        self.dialect = dialect
        self.deliveries = 0
        """Frames of about the size that is counted, over all clients, since the beginning."""
        self.clients: list[Client] = []
        self.refusals = 0
        """Ways in that the server ended; such a client comes again at once."""
        self._port = port
        self._low, self._high = payload_bytes - _SLACK, payload_bytes + _SLACK
        self._epoll = select.epoll()
        self._by_fd: dict[int, Client] = {}
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._joined = 0
        self._may_leave = False

    def close(self) -> None:
        """Drop all connections."""
        for client in self._by_fd.values():
            client.sock.close()
        self._by_fd.clear()
        self._epoll.close()

    def join(self, tokens: Iterable[str], deadline_s: float) -> float:
        """Let one client per token come in; return the seconds from the first connect to the last who is in."""
        waiting = list(tokens)
        begun = time.perf_counter()
        end = begun + deadline_s
        self._joined = 0
        started = 0
        while self._joined < len(waiting):
            while started < len(waiting) and started - self._joined < _IN_FLIGHT:
                self._connect(waiting[started])
                started += 1
            self._poll(end, f"{self._joined} of {len(waiting)} clients are in")
        return time.perf_counter() - begun

    def say(self, payload_bytes: int, times: int) -> None:
        """Have the first client send so many messages, in one write."""
        self.clients[0].sock.sendall(self.dialect.say(payload_bytes) * times)

    def wait_deliveries(self, count: int, deadline_s: float) -> None:
        """Read until so many have been counted. Raises `CrowdFailed` if there are not so many in time, or more."""
        end = time.perf_counter() + deadline_s
        while self.deliveries < count:
            self._poll(end, f"{self.deliveries} of {count} deliveries came")
        if self.deliveries > count:
            raise CrowdFailed(f"{self.deliveries} deliveries came instead of {count}")

    def leave(self, count: int, deadline_s: float) -> None:
        """Let the last `count` clients say good-bye and wait until the server has closed."""
        stays = len(self.clients) - count
        going, self.clients = self.clients[stays:], self.clients[:stays]
        self._may_leave = True
        end = time.perf_counter() + deadline_s
        before = len(self._by_fd)
        for client in going:
            if self.dialect.has_head:
                client.sock.send(GOOD_BYE)
            else:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                self._lose(client)
        while len(self._by_fd) > before - count:
            self._poll(end, f"{before - len(self._by_fd)} of {count} clients are out")
        self._may_leave = False

    def _connect(self, token: str) -> None:
        sock = socket.socket()
        sock.settimeout(5.0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if (more := len(self._by_fd) // _PER_ADDRESS) > 0:
            # The port is chosen in `connect`: `bind` would look for one that is free towards everybody.
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            sock.bind((f"127.0.0.{1 + more}", 0))
        sock.connect(("127.0.0.1", self._port))
        conversation = self.dialect.join(token)
        if first := next(conversation):
            sock.sendall(first)
        sock.setblocking(False)
        client = Client(sock, token, conversation, awaits_head=self.dialect.has_head)
        self._by_fd[sock.fileno()] = client
        self.clients.append(client)
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _poll(self, end: float, what: str) -> None:
        if time.perf_counter() > end:
            raise CrowdFailed(f"only {what} in time")
        time.sleep(_NAP_S)
        for fd, _ in self._epoll.poll(0.1, 8192):
            client = self._by_fd[fd]
            if client.conversation is not None:
                self._converse(client)
            else:
                self._count(client)

    def _converse(self, client: Client) -> None:
        """Go on with a client's way in."""
        conversation, inbox = client.conversation, client.inbox
        try:
            came = client.sock.recv(65536)
        except ConnectionError:
            came = b""
        if conversation is None or inbox is None or not came:
            self._come_again(client, "")
            return
        inbox += came
        while (message := self._take(client, inbox)) is not None:
            try:
                answer = conversation.send(message)
            except Refused as refused:
                self._come_again(client, str(refused))
                return
            except StopIteration:
                self._joined += 1
                client.conversation = client.inbox = None
                self._view[: len(inbox)] = inbox
                self._tally(client, len(inbox))
                return
            if answer:
                client.sock.sendall(answer)

    @staticmethod
    def _take(client: Client, inbox: bytearray) -> bytes | None:
        if client.awaits_head:
            head = take_head(inbox)
            client.awaits_head = head is None
            return head
        taken = take_frame(inbox)
        return None if taken is None else taken[1]

    def _come_again(self, client: Client, told: str) -> None:
        """Let a client that the server did not let in try once more. Raises `CrowdFailed` if that happens too often."""
        self.refusals += 1
        if self.refusals > _REFUSALS:
            raise CrowdFailed(f"the server refused {self.refusals} clients, the last with {told!r}")
        self._forget(client)
        self.clients.remove(client)
        self._connect(client.token)

    def _count(self, client: Client) -> None:
        kept = 0
        if client.inbox is not None:
            kept = len(client.inbox)
            self._view[:kept] = client.inbox
            client.inbox = None
        try:
            came = client.sock.recv_into(self._view[kept:] if kept else self._view)
        except ConnectionError:
            came = 0
        if not came:
            self._lose(client)
            return
        self._tally(client, kept + came)

    def _tally(self, client: Client, end: int) -> None:
        """Count the frames in the first `end` bytes of the buffer."""
        at = client.skip
        buffer, low, high = self._buffer, self._low, self._high
        while at < end:
            # The frames that are counted have two bytes of length; this is `frame_at`, without the call.
            if end - at >= 4 and buffer[at + 1] == 126:
                length = buffer[at + 2] << 8 | buffer[at + 3]
                if low <= length <= high:
                    self.deliveries += 1
                at += 4 + length
            elif (found := frame_at(buffer, at, end)) is not None:
                at = found[0] + found[1]
            else:
                client.inbox = buffer[at:end]
                client.skip = 0
                return
        client.skip = at - end

    def _lose(self, client: Client) -> None:
        if not self._may_leave:
            raise CrowdFailed("the server closed a connection")
        self._forget(client)

    def _forget(self, client: Client) -> None:
        fd = client.sock.fileno()
        self._epoll.unregister(fd)
        del self._by_fd[fd]
        client.sock.close()


def wait_until(condition: Callable[[], bool], deadline_s: float, what: str) -> None:
    """Ask until it is so. Raises `CrowdFailed`."""
    end = time.perf_counter() + deadline_s
    while not condition():
        if time.perf_counter() > end:
            raise CrowdFailed(f"{what} did not happen within {deadline_s:g} s")
        time.sleep(0.05)
