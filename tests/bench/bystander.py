"""Somebody else on the broker, in a process of its own: what its publishes and binds take while others do something.

`python -m tests.bench.bystander URL PREFIX PARTITIONS` publishes under a key of its own queue and waits for the
confirm, over and over, and binds and unbinds a key now and then, until its standard input ends. Then it writes when
each began (`time.monotonic`, the same clock for all processes) and how long it took. `open_bystander` is the parent's
side.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from shared.amqp import open_amqp_bus
from shared.bus import Subscription
from shared.logs import configure_logs
from shared.topology import Binding, Topology
from tests.waiting import running

_PAUSE_S: Final = 0.005
_PUBLISHES_PER_BIND: Final = 10
_END_S: Final = 30.0

Sample = tuple[float, float]
"""When it began, in seconds of the monotonic clock; how long it took, in ms."""


@dataclass
class Felt:
    """What a bystander felt; filled in when it has ended."""

    publishes: list[Sample] = field(default_factory=list)
    binds: list[Sample] = field(default_factory=list)


def between(samples: Sequence[Sample], begin: float, end: float) -> list[float]:
    """Return the ms of what was under way at some time in between, in order of size."""
    return sorted(ms for at, ms in samples if at < end and at + ms / 1000 > begin)


@asynccontextmanager
async def open_bystander(url: str, prefix: str, partitions: int) -> AsyncIterator[Felt]:
    """Run a bystander; what it felt is known when the context has ended."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __spec__.name, url, prefix, str(partitions)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 26,
    )
    felt = Felt()
    try:
        assert child.stdout is not None
        async with asyncio.timeout(_END_S):
            await child.stdout.readline()  # it has begun
        yield felt
        async with asyncio.timeout(_END_S):
            told, _ = await child.communicate(b"")
        found = json.loads(told)
        felt.publishes += [(at, ms) for at, ms in found["publishes"]]
        felt.binds += [(at, ms) for at, ms in found["binds"]]
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def _timed(work: Awaitable[None], samples: list[Sample]) -> None:
    at = time.monotonic()
    await work
    samples.append((at, (time.monotonic() - at) * 1000))


async def _take(subscription: Subscription) -> None:
    while True:
        await subscription.ack((await subscription.take(256)).deliveries)


async def _main(url: str, prefix: str, partitions: int) -> None:
    topology = Topology(prefix, exchange_partitions=partitions)
    own = Binding(topology.events, topology.node_key("bystander"))
    other = Binding(topology.events, topology.node_key("bystander-too"))
    felt = Felt()
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    async with (
        open_amqp_bus(url, name="bystander") as bus,
        bus.subscribe(topology.node_queue("bystander"), (own,)) as subscription,
        running(_take(subscription)),
    ):
        await bus.publish(own.exchange, (own.key,), b"warm")
        print("begun", flush=True)
        while not ended.done():
            for _ in range(_PUBLISHES_PER_BIND):
                await _timed(bus.publish(own.exchange, (own.key,), b"x" * 300), felt.publishes)
                await asyncio.sleep(_PAUSE_S)
            await _timed(subscription.bind([other]), felt.binds)
            await subscription.unbind([other])
    print(json.dumps({"publishes": felt.publishes, "binds": felt.binds}))


if __name__ == "__main__":
    configure_logs("console", "error")
    asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
