"""How a client speaks to each server of the comparison: what it says to be in the room, and how it sends a message.

Pure. A conversation is a generator: it yields bytes to send (`b""`: none) and is sent each message that comes; where
it ends the client is in.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Final

from deploy.load.frames import text_of, upgrade_of
from deploy.load.shapes import identify_of
from deploy.replay.frames import MESSAGE_SEND, encode_frame

Conversation = Generator[bytes, bytes, None]


@dataclass(frozen=True)
class Dialect:
    """One server's manners. `join(token)` is the conversation; `say(payload_bytes)` is one message.

    `say`: the bytes by which a client has one message sent to all, so that each gets a frame of about so many bytes.
    `has_head`: the first that comes is the head of an HTTP response.
    """

    join: Callable[[str], Conversation]
    say: Callable[[int], bytes]
    has_head: bool = True


@dataclass(frozen=True)
class PairDialect(Dialect):
    """The same of two nodes. `direct(name, text)`: the bytes by which a client has one user told a text."""

    direct: Callable[[str, str], bytes] = field(kw_only=True)


class Refused(Exception):
    """The server said something else than what lets a client in."""


def _require(message: bytes, beginning: bytes) -> None:
    if not message.startswith(beginning):
        raise Refused(message[:200].decode(errors="replace"))


def _join_raw(_: str) -> Conversation:
    _require((yield b""), b"")


def _join_plain(_: str) -> Conversation:
    _require((yield upgrade_of("/")), b"HTTP/1.1 101")
    _require((yield b""), b"joined")


def _join_socket_io(_: str) -> Conversation:
    _require((yield upgrade_of("/socket.io/?EIO=4&transport=websocket")), b"HTTP/1.1 101")
    _require((yield b""), b"0{")
    _require((yield text_of(b"40")), b"40{")
    _require((yield b""), b'42["joined"')


def _join_plain_as(name: str) -> Conversation:
    _require((yield upgrade_of(f"/?user={name}")), b"HTTP/1.1 101")
    _require((yield b""), b"joined")


def _join_socket_io_as(name: str) -> Conversation:
    _require((yield upgrade_of(f"/socket.io/?EIO=4&transport=websocket&user={name}")), b"HTTP/1.1 101")
    _require((yield b""), b"0{")
    _require((yield text_of(b"40")), b"40{")
    _require((yield b""), b'42["joined"')


def _join_python_socketio_as(name: str) -> Conversation:
    _require((yield upgrade_of(f"/socket.io/?EIO=4&transport=websocket&user={name}")), b"HTTP/1.1 101")
    _require((yield b""), b"0{")
    _require((yield text_of(b"40")), b"40{")
    _require((yield text_of(b'42["ready"]')), b'42["joined"')


def join_starling(token: str) -> Conversation:
    """Identify, up to READY; the group is shown behind it."""
    _require((yield upgrade_of("/gateway?v=10&encoding=json")), b"HTTP/1.1 101")
    _require((yield b""), b'{"op":10,')
    _require((yield identify_of(token)), b'{"t":"READY"')


def say_starling(channel_id: int, overhead: int) -> Callable[[int], bytes]:
    """Return `say` for a channel, where a dispatch is `overhead` bytes longer than the content in it."""

    def say(payload_bytes: int) -> bytes:
        return _send_of(channel_id, "x" * (payload_bytes - overhead))

    return say


def direct_starling(channels: Mapping[str, int]) -> Callable[[str, str], bytes]:
    """Return `direct` for users whose direct channels with the one who speaks are known."""

    def direct(name: str, text: str) -> bytes:
        return _send_of(channels[name], text)

    return direct


def _send_of(channel_id: int, content: str) -> bytes:
    return text_of(encode_frame(MESSAGE_SEND, {"channel_id": str(channel_id), "content": content}))


def _direct_plain(name: str, text: str) -> bytes:
    return text_of(f"@{name} {text}".encode())


def _direct_socket_io(name: str, text: str) -> bytes:
    return text_of(f'42["direct","{name}","{text}"]'.encode())


def _say_socket_io(payload_bytes: int) -> bytes:
    empty = len(b'42["message",""]')
    return text_of(b'42["message","%s"]' % (b"x" * (payload_bytes - empty)))


RAW: Final = Dialect(_join_raw, lambda _: b"x", has_head=False)
PLAIN: Final = Dialect(_join_plain, lambda payload_bytes: text_of(b"x" * payload_bytes))
SOCKET_IO: Final = Dialect(_join_socket_io, _say_socket_io)
PLAIN_PAIR: Final = PairDialect(_join_plain_as, PLAIN.say, direct=_direct_plain)
SOCKET_IO_PAIR: Final = PairDialect(_join_socket_io_as, _say_socket_io, direct=_direct_socket_io)
PYTHON_SOCKETIO_PAIR: Final = PairDialect(_join_python_socketio_as, _say_socket_io, direct=_direct_socket_io)
