"""The opening handshake (RFC 6455 section 4): what makes a request an upgrade, what it asks for, what answers it.

Ring 1 (core). The HTTP parser has split the request already. Judged as websockets judges it, to which a test holds it
equal; without a library because each session begins with one, and parsing the request anew cost as much as READY.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Collection, Iterable
from functools import lru_cache
from hashlib import sha1
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import parse_qs

from services.gateway.core.steering import is_gateway
from shared.core.upgrade import Upgrade

MAX_HEADERS: Final = 128
MAX_LINE_BYTES: Final = 8192

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES: Final = 16
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_MOST_PARAMETERS: Final = 20
_ONCE: Final = frozenset({b"origin", b"sec-websocket-key", b"sec-websocket-version"})
"""Headers that may stand there once."""
_SWITCHING: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
)
_REFUSING: Final = (
    "HTTP/1.1 {0.value} {0.phrase}\r\n{1}Connection: close\r\nContent-Length: {2}\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n\r\n{3}"
)


class Refusal(NamedTuple):
    """What refuses an upgrade. `text` is a sentence; `more` are header lines of the answer."""

    status: HTTPStatus
    text: str
    more: str = ""

    def encoded(self) -> bytes:
        """Return the whole answer; the connection ends behind it."""
        body = f"{self.text}\n"
        return _REFUSING.format(self.status, self.more, len(body), body).encode("ascii")


class Target(NamedTuple):
    """What a request's target asks for; the last of several parameters of a name counts."""

    is_gateway: bool
    encoding: str
    compress: str
    version: str


@lru_cache(maxsize=256)
def target_of(target: bytes) -> Target:
    """Return what a target asks for. Clients have few of them, so most are known."""
    path, _, query = target.decode("latin-1").partition("?")
    asked = parse_qs(query, max_num_fields=_MOST_PARAMETERS) if query.count("&") < _MOST_PARAMETERS else {}

    def last(name: str, otherwise: str) -> str:
        return asked.get(name, [otherwise])[-1]

    return Target(is_gateway(path), last("encoding", "json"), last("compress", ""), last("v", "10"))


def answer_of(upgrade: Upgrade, origins: Collection[str]) -> bytes | Refusal:
    """Return the answer that accepts an upgrade, or what refuses it. `origins`: those allowed; none given: all."""
    if len(upgrade.headers) > MAX_HEADERS or len(upgrade.target) > MAX_LINE_BYTES:
        return Refusal(HTTPStatus.BAD_REQUEST, "The request is too large.")
    if upgrade.method != b"GET":
        return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "The method must be GET.", "Allow: GET\r\n")
    found: dict[bytes, bytes] = {}
    doubled = False
    for name, value in upgrade.headers:
        if len(name) + len(value) > MAX_LINE_BYTES:
            return Refusal(HTTPStatus.BAD_REQUEST, "A header is too large.")
        if (before := found.get(name)) is not None:
            doubled |= name in _ONCE
            found[name] = b"%s,%s" % (before, value)
        else:
            found[name] = value
    connection, protocols = _tokens(found.get(b"connection", b"")), _tokens(found.get(b"upgrade", b""))
    if b"upgrade" not in connection or protocols != [b"websocket"]:
        text = "This is a WebSocket: a client for those is needed."
        return Refusal(HTTPStatus.UPGRADE_REQUIRED, text, "Upgrade: websocket\r\n")
    key = found.get(b"sec-websocket-key", b"")
    if doubled or not _is_key(key):
        return Refusal(
            HTTPStatus.BAD_REQUEST, "A Sec-WebSocket-Key of 16 bytes in base64 is needed, and no header of these twice."
        )
    if found.get(b"sec-websocket-version") != b"13":
        return Refusal(HTTPStatus.BAD_REQUEST, "Sec-WebSocket-Version must be 13.", "Sec-WebSocket-Version: 13\r\n")
    if origins and found.get(b"origin", b"").decode("latin-1") not in origins:
        return Refusal(HTTPStatus.FORBIDDEN, "Pages of this origin may not connect here.")
    return _SWITCHING % b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def forwarded_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the addresses that proxies tell, of all X-Forwarded-For."""
    return ",".join(value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for")


def _tokens(value: bytes) -> list[bytes]:
    """Return a list of tokens in lower case (RFC 9110 section 5.6); none where something else stands among them."""
    tokens = [token for part in value.lower().split(b",") if (token := part.strip(b" \t"))]
    return tokens if all(map(_TOKEN.fullmatch, tokens)) else []


def _is_key(key: bytes) -> bool:
    try:
        return len(b64decode(key, validate=True)) == _KEY_BYTES
    except NotBase64:
        return False
