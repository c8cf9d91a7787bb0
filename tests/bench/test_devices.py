"""The devices of the fail-over bench against a real node: what they count is what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.core.model import Channel
from tests.bench.devices import Device, Devices, Phase
from tests.gateway.world import open_node, open_world

DEADLINE_S = 20.0


class Ears:
    """Remembers what was heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[Device, str]] = []
        self.refusals: list[str] = []

    def hear(self, device: Device, nonce: str) -> None:
        self.heard.append((device, nonce))

    def refused(self, nonce: str) -> None:
        self.refusals.append(nonce)


async def until(devices: Devices, condition: Callable[[], bool]) -> None:
    """Let the devices go on until it is so."""
    await asyncio.to_thread(devices.wait, condition, DEADLINE_S, "it", lambda: None)


def say(devices: Devices, device: Device, channel: Channel, nonce: str) -> None:
    """Say something."""
    devices.say(device, channel.id, "hello", nonce)


async def test_they_hear_each_other_and_count_what_was_not_told_again() -> None:
    """Both hear a message once; who comes anew counts what a new session was not told; a refusal is told."""
    async with open_world() as world, open_node(world) as node:
        ada, ben = world.register("ada"), world.register("ben")
        group, channel = await world.create_group(ada)
        await world.join(ben, group)
        devices = Devices([node.port])
        devices.ears = ears = Ears()
        one, other = Device(world.token(ada)), Device(world.token(ben))
        try:
            devices.bring([one, other])
            await until(devices, lambda: one.seq == other.seq == 0)
            say(devices, one, channel, "a")
            await until(devices, lambda: len(ears.heard) == 2)
            assert ears.heard in ([(one, "a"), (other, "a")], [(other, "a"), (one, "a")])
            assert (one.lost, one.doubled, one.unread, one.seq) == (0, 0, 0, 1)

            await world.say(ben, channel, "to both")
            await until(devices, lambda: one.seq == other.seq == 2)
            other.session_id = ""  # a device that has forgotten its session, and what came meanwhile
            other.seq = 1
            assert other.sock is not None
            other.sock.shutdown(2)
            await until(devices, lambda: other.seq == 2 and other.phase is Phase.IN)
            assert (other.unread, other.lost, other.doubled, other.resumed) == (1, 0, 0, False)

            devices.say(one, 1, "nowhere", "b")
            await until(devices, lambda: ears.refusals == ["b"])
        finally:
            devices.close()


async def test_holes_and_repeats_are_counted() -> None:
    """A message whose seq is not the next is a loss of those between, one that is not new is a repeat."""
    async with open_world() as world, open_node(world) as node:
        ada = world.register("ada")
        _, channel = await world.create_group(ada)
        devices = Devices([node.port])
        devices.ears = Ears()
        device = Device(world.token(ada))
        try:
            devices.bring([device])
            await until(devices, lambda: device.seq == 0)
            device.seq = -2  # as though two had gone by
            say(devices, device, channel, "a")
            await until(devices, lambda: device.seq == 1)
            assert (device.lost, device.doubled) == (2, 0)
            device.seq = 2
            say(devices, device, channel, "b")
            await until(devices, lambda: device.doubled == 1)
            assert device.lost == 2
        finally:
            devices.close()
