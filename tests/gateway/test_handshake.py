"""The opening handshake: judged as websockets judges it, whatever a client sends."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.http11 import Request
from websockets.server import ServerProtocol

from services.gateway.core.handshake import MAX_HEADERS, MAX_LINE_BYTES, Refusal, answer_of, target_of
from shared.core.upgrade import Upgrade

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
SOUND = (
    (b"host", b"x"),
    (b"connection", b"keep-alive, Upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", KEY),
)
ORIGINS = ("https://ours.test", "https://theirs.test")

_quiet = logging.getLogger("tests.websocket")
_quiet.setLevel(logging.CRITICAL)


def judged_by_websockets(upgrade: Upgrade, origins: tuple[str, ...]) -> tuple[int, str | None]:
    """Return the status and the accepted key with which websockets answers the same request."""
    lines = [b"%s %s HTTP/1.1" % (upgrade.method, upgrade.target), *(b"%s: %s" % field for field in upgrade.headers)]
    server = ServerProtocol(origins=cast(Any, origins or None), extensions=None, logger=_quiet)
    server.receive_data(b"\r\n".join((*lines, b"", b"")))
    request = next(iter(server.events_received()), None)
    if not isinstance(request, Request):
        return 400, None
    response = server.accept(request)
    return response.status_code, response.headers.get("Sec-WebSocket-Accept")


def judged(upgrade: Upgrade, origins: tuple[str, ...]) -> tuple[int, str | None]:
    """Return the status and the accepted key of our answer."""
    answer = answer_of(upgrade, origins)
    encoded = answer.encoded() if isinstance(answer, Refusal) else answer
    head, end, _ = encoded.decode("ascii").partition("\r\n\r\n")
    assert end
    status, *fields = head.split("\r\n")
    told = dict(field.split(": ", 1) for field in fields)
    return int(status.split(" ")[1]), told.get("Sec-WebSocket-Accept")


names = st.sampled_from(
    [b"connection", b"upgrade", b"sec-websocket-version", b"sec-websocket-key", b"origin", b"x-forwarded-for"]
)
values = st.sampled_from(
    [
        b"Upgrade",
        b"upgrade",
        b"close",
        b"keep-alive,UPGRADE",
        b"websocket",
        b"WebSocket",
        b"h2c",
        b"13",
        b"8",
        KEY,
        b"AAAA",
        b"AAAAAAAAAAAAAAAAAAAAAA",
        b"====",
        b"\xff",
        *(origin.encode() for origin in ORIGINS),
    ]
)
fields = st.tuples(names, values)


@st.composite
def requests(draw: st.DrawFn) -> Upgrade:
    """Return a sound request with some headers more, fewer or changed."""
    headers = list(SOUND)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(headers)))
        match draw(st.integers(0, 2)):
            case 0:
                headers.insert(at, draw(fields))
            case 1 if at < len(headers):
                headers[at] = (headers[at][0], draw(values))
            case _:
                del headers[at : at + 1]
    return Upgrade(draw(st.sampled_from([b"GET", b"GET", b"GET", b"POST"])), b"/gateway", headers)


@given(requests(), st.sampled_from([(), ORIGINS[:1], ORIGINS]))
def test_who_may_come_in_is_who_websockets_lets_in(upgrade: Upgrade, origins: tuple[str, ...]) -> None:
    """Status and accepted key are those of websockets, for what is sound and for what is not."""
    status, accepted = judged(upgrade, origins)
    expected, key = judged_by_websockets(upgrade, origins)
    assert accepted == key
    # It calls some malformed lists of tokens a bad request, where we say what is missing.
    assert status == expected or {status, expected} == {400, 426}


def test_the_key_of_the_standard() -> None:
    """RFC 6455 section 1.3 names a key and what accepts it."""
    assert judged(Upgrade(b"GET", b"/gateway", SOUND), ()) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")


@pytest.mark.parametrize("value", [b"====", b"\xff", b"upgrade upgrade", b"a;b"])
@pytest.mark.parametrize("name", [b"connection", b"upgrade"])
def test_what_is_no_token_refuses(name: bytes, value: bytes) -> None:
    """A list with something in it that is no token counts as none, also where the right word is in it."""
    upgrade = Upgrade(b"GET", b"/gateway", (*SOUND, (name, value)))
    assert judged(upgrade, ()) == (426, None)
    assert judged_by_websockets(upgrade, ())[1] is None


@pytest.mark.parametrize(
    "upgrade",
    [
        Upgrade(b"GET", b"/gateway", (*SOUND, *[(b"x", b"y")] * MAX_HEADERS)),
        Upgrade(b"GET", b"/gateway", (*SOUND, (b"x", b"y" * MAX_LINE_BYTES))),
        Upgrade(b"GET", b"/gateway?" + b"y" * MAX_LINE_BYTES, SOUND),
    ],
    ids=["headers", "a header", "the target"],
)
def test_a_request_is_bounded(upgrade: Upgrade) -> None:
    """Too many headers, one that is too long, or a long target: 400."""
    assert judged(upgrade, ()) == (400, None)


def test_what_a_target_asks_for() -> None:
    """Version, encoding and compression by the last of each; what is garbage asks for nothing."""
    assert target_of(b"/gateway") == (True, "json", "", "10")
    assert target_of(b"/gateway/s/17/?v=8&v=9&encoding=etf&compress=zlib-stream") == (True, "etf", "zlib-stream", "9")
    assert target_of(b"/gateway?" + b"&".join([b"v=9"] * 50)) == (True, "json", "", "10")
    assert not target_of(b"/\xff\x00").is_gateway
