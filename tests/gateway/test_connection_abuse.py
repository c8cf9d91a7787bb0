"""What strangers do to a node on real sockets: each thing ends in its code within its deadline, and harms nobody.

The manner is Autobahn's. Behind each there is a healthy client who still talks, and a node that keeps nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest

from shared.core.model import Channel, User
from shared.settings import LimitSettings
from tests.gateway.raw import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    RawClient,
    frame_of,
    head_of,
    masked,
    open_raw,
    upgrade_of,
)
from tests.gateway.world import Client, ServedNode, World, open_client, open_node, open_world, settings_of

HEARTBEAT = b'{"op":1,"d":null}'
SHORT = timedelta(seconds=0.5)


class Scene:
    """A node with limits and short deadlines, and a client on it who talks."""

    def __init__(self, world: World, node: ServedNode, ann: User, channel: Channel, healthy: Client) -> None:
        self.world = world
        self.node = node
        self._ann = ann
        self._channel = channel
        self._healthy = healthy
        self._said = 0

    async def talk(self) -> None:
        """See that the healthy client still hears what is said."""
        self._said += 1
        await self.world.say(self._ann, self._channel, f"still here {self._said}")
        heard = (await self._healthy.until("MESSAGE_CREATE"))["d"]["content"]
        assert heard == f"still here {self._said}"

    async def wait_alone(self) -> None:
        """Wait until the node has no connection but the healthy one."""
        async with asyncio.timeout(10):
            while self.node.gateway.node.statistics()["connections"] != 1:
                await asyncio.sleep(0.01)
        assert self.node.sessions == 1


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Open a node with limits, and check behind the test that it is as healthy as before."""
    settings = settings_of(limits=LimitSettings(), identify_timeout=SHORT)
    settings = settings.model_copy(update={"http": settings.http.model_copy(update={"head_timeout": SHORT})})
    async with open_world() as world, open_node(world, settings) as node:
        ann = world.register("ann")
        _, channel = await world.create_group(ann)
        async with open_client(node, world.token(ann)) as healthy:
            scene = Scene(world, node, ann, channel, healthy)
            await scene.talk()
            yield scene
            await scene.talk()
            await scene.wait_alone()


SOUND = frame_of(TEXT, HEARTBEAT)
BROKEN: dict[str, tuple[bytes, int]] = {
    "not masked": (frame_of(TEXT, HEARTBEAT, mask=False), 1002),
    "control frame not masked": (frame_of(PING, b"", mask=False), 1002),
    "first reserved bit (compression that nobody agreed to)": (frame_of(TEXT, HEARTBEAT, reserved=4), 1002),
    "second reserved bit": (frame_of(TEXT, HEARTBEAT, reserved=2), 1002),
    "third reserved bit": (frame_of(PING, b"", reserved=1), 1002),
    "reserved data opcode": (frame_of(3, b"x"), 1002),
    "reserved control opcode": (frame_of(11, b"x"), 1002),
    "continuation of nothing": (frame_of(CONT, b"x"), 1002),
    "new message within a message": (frame_of(TEXT, b"{", fin=False) + frame_of(TEXT, b"}"), 1002),
    "fragmented ping": (frame_of(PING, b"", fin=False), 1002),
    "fragmented close": (frame_of(CLOSE, b"\x03\xe8", fin=False), 1002),
    "ping of 126 bytes": (frame_of(PING, bytes(126)), 1002),
    "close of 126 bytes": (frame_of(CLOSE, b"\x03\xe8" + bytes(124)), 1002),
    "close of one byte": (frame_of(CLOSE, b"\x03"), 1002),
    "close code 0": (frame_of(CLOSE, b"\x00\x00"), 1002),
    "close code 999": (frame_of(CLOSE, (999).to_bytes(2, "big")), 1002),
    "close code 1004": (frame_of(CLOSE, (1004).to_bytes(2, "big")), 1002),
    "close code 1005": (frame_of(CLOSE, (1005).to_bytes(2, "big")), 1002),
    "close code 1006": (frame_of(CLOSE, (1006).to_bytes(2, "big")), 1002),
    "close code 1015": (frame_of(CLOSE, (1015).to_bytes(2, "big")), 1002),
    "close code 2999": (frame_of(CLOSE, (2999).to_bytes(2, "big")), 1002),
    "close code 5000": (frame_of(CLOSE, (5000).to_bytes(2, "big")), 1002),
    "close with a broken reason": (frame_of(CLOSE, b"\x03\xe8\xff"), 1007),
    "a length of 2**63 - 1": (head_of(0x81, (1 << 63) - 1), 4002),
    "a length of 2**64 - 1": (b"\x81\xff" + b"\xff" * 8, 4002),
    "a length just above what is allowed, and nothing more": (head_of(0x81, 25_025), 4002),
    "a whole frame above what is allowed": (frame_of(TEXT, bytes(30_000)), 4002),
    "fragments above what is allowed": (
        frame_of(TEXT, bytes(13_000), fin=False) + frame_of(CONT, bytes(13_000), fin=False),
        4002,
    ),
    "100 fragments": (frame_of(TEXT, b"{", fin=False) + frame_of(CONT, b" ", fin=False) * 100, 4002),
    "1,000 empty fragments": (frame_of(TEXT, b"", fin=False) + frame_of(CONT, b"", fin=False) * 1_000, 4002),
    "text that is not UTF-8": (frame_of(TEXT, b'{"op":1,"d":"\xff"}'), 1007),
    "half a character at the end of a message": (frame_of(TEXT, b'{"op":1,"d":"\xe2\x82'), 1007),
    "a surrogate in UTF-8": (frame_of(TEXT, b'{"op":1,"d":"\xed\xa0\x80"}'), 1007),
    "text that is not UTF-8 over fragments": (
        frame_of(TEXT, b'{"op":1,"d":"\xe2', fin=False) + frame_of(CONT, b'\x82"}'),
        1007,
    ),
    "601 pings": (frame_of(PING, b"x") * 601, 4008),
    "601 pongs that nobody asked for": (frame_of(PONG) * 601, 4008),
    "121 heartbeats": (SOUND * 121, 4008),
    "10,000 frames at once": (SOUND * 10_000, 4008),
    "an empty message": (frame_of(TEXT), 4002),
    "binary garbage": (frame_of(BINARY, bytes(range(256))), 4002),
}


@pytest.mark.parametrize(("data", "code"), BROKEN.values(), ids=BROKEN.keys())
async def test_broken_frames(scene: Scene, data: bytes, code: int) -> None:
    """The connection ends with the code that says why, and the client reads it before the socket closes."""
    async with open_raw(scene.node.port) as stranger:
        assert await stranger.upgrade() == 101
        await stranger.send(SOUND)
        await stranger.until(11)
        await stranger.send(data)
        assert await stranger.ended() == code


@pytest.mark.parametrize("data", [SOUND, frame_of(TEXT, b'{"op":', fin=False) + frame_of(CONT, b"1}")])
async def test_frames_byte_by_byte(scene: Scene, data: bytes) -> None:
    """However the bytes come, a sound message is a message; a character may be split between fragments."""
    async with open_raw(scene.node.port) as stranger:
        assert await stranger.upgrade() == 101
        await stranger.until(10)
        await stranger.send(*(bytes((byte,)) for byte in data))
        await stranger.until(11)
        euro = b'{"op":1,"d":"\xe2'
        await stranger.send(frame_of(TEXT, euro, fin=False), frame_of(PING, b"?"), frame_of(CONT, b'\x82\xac"}'))
        assert await stranger.frame() == (PONG, b"?")
        await stranger.until(11)


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1014, 3000, 3999, 4000, 4999])
async def test_sound_close_codes_are_returned(scene: Scene, code: int) -> None:
    """The closing handshake: our answer carries the client's code, and the socket is closed behind it."""
    async with open_raw(scene.node.port) as stranger:
        assert await stranger.upgrade() == 101
        await stranger.send(frame_of(CLOSE, code.to_bytes(2, "big") + b"bye"))
        assert await stranger.ended() == code
        with pytest.raises(EOFError):
            await stranger.frame()


async def test_a_bare_close_is_returned_bare(scene: Scene) -> None:
    """1005 stands for no code and is never sent."""
    async with open_raw(scene.node.port) as stranger:
        assert await stranger.upgrade() == 101
        await stranger.send(frame_of(CLOSE))
        assert await stranger.ended() == 1005


HANGING: dict[str, bytes] = {
    "nothing": b"",
    "half a head": b"\x81",
    "a head without its mask": b"\x81\x85\x01",
    "half a payload": frame_of(TEXT, HEARTBEAT)[:-3],
    "half a long payload": head_of(0x81, 20_000) + masked(bytes(10_000)),
    "a message without its end": frame_of(TEXT, b"{", fin=False),
    "a heartbeat, and no IDENTIFY": SOUND,
}


@pytest.mark.parametrize("data", HANGING.values(), ids=HANGING.keys())
async def test_who_does_not_identify_in_time(scene: Scene, data: bytes) -> None:
    """4000 at the deadline, since a RESUME may be on its way; a client that says nothing after it is dropped."""
    async with open_raw(scene.node.port) as stranger:
        assert await stranger.upgrade() == 101
        if data:
            await stranger.send(data)
        assert await stranger.ended() == 4000


REQUESTS: dict[str, tuple[bytes, int]] = {
    "no key": (upgrade_of().replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
    "a short key": (upgrade_of().replace(b"AAAAAAAAAAAAAAAAAAAAAA==", b"AAAA"), 400),
    "two keys": (upgrade_of("/gateway", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400),
    "version 8": (upgrade_of().replace(b"Version: 13", b"Version: 8"), 400),
    "POST": (upgrade_of().replace(b"GET", b"POST"), 405),
    "200 headers": (upgrade_of("/gateway", *(f"X-{number}: y" for number in range(200))), 400),
    "a header of 9,000 bytes": (upgrade_of("/gateway", f"X: {'y' * 9_000}"), 400),
    "a path of 9,000 bytes": (upgrade_of(f"/gateway?{'y' * 9_000}"), 400),
    "another path": (upgrade_of("/gatewayx"), 404),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "a head above what is allowed": (b"GET /gateway HTTP/1.1\r\n" + b"X: y\r\n" * 20_000, 431),
}


@pytest.mark.parametrize(("data", "status"), REQUESTS.values(), ids=REQUESTS.keys())
async def test_bad_upgrades_are_refused(scene: Scene, data: bytes, status: int) -> None:
    """An HTTP answer that says no, and the connection ends."""
    async with open_raw(scene.node.port) as stranger:
        await stranger.send(data)
        assert await stranger.status() == status
        assert await stranger.ended() == 0


@pytest.mark.parametrize(("start", "drips"), [(b"", False), (b"G", False), (upgrade_of()[:60], True)])
async def test_a_handshake_that_does_not_end(scene: Scene, start: bytes, drips: bool) -> None:
    """408 at the deadline, however slowly bytes come meanwhile."""
    async with open_raw(scene.node.port) as stranger, asyncio.TaskGroup() as group:
        await stranger.send(start)
        drip = group.create_task(_drip(stranger)) if drips else None
        assert await stranger.status() == 408
        assert await stranger.ended() == 0
        if drip is not None:
            drip.cancel()


async def _drip(stranger: RawClient) -> None:
    while True:
        await asyncio.sleep(0.05)
        await stranger.send(b"X")


async def _half_closed(stranger: RawClient) -> None:
    await stranger.send(SOUND)
    stranger.socket.shutdown(1)


async def _reset(stranger: RawClient) -> None:
    await stranger.send(head_of(0x81, 20_000))
    stranger.socket.close()


async def _identify_and_vanish(stranger: RawClient) -> None:
    await stranger.send(frame_of(TEXT, json.dumps({"op": 2, "d": {"token": "x.y.z"}}).encode()))
    stranger.socket.close()


@pytest.mark.parametrize("way", [_half_closed, _reset, _identify_and_vanish])
async def test_sudden_ends(scene: Scene, way: Callable[[RawClient], Awaitable[None]]) -> None:
    """A client that is gone, by half or at all, is gone for the node too."""
    async with open_raw(scene.node.port) as stranger:
        assert await stranger.upgrade() == 101
        await way(stranger)
        await scene.wait_alone()


async def test_many_strangers_at_once(scene: Scene) -> None:
    """Two hundred, each broken in its own way, at the same time: each gets its code, and the node is as before."""
    cases = [case for case in BROKEN.values() if len(case[0]) < 10_000]

    async def stray(data: bytes, code: int) -> None:
        async with open_raw(scene.node.port) as stranger:
            assert await stranger.upgrade() == 101
            await stranger.send(data)
            assert await stranger.ended() == code

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(stray(*cases[number % len(cases)]))
        await scene.talk()
