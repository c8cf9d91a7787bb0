"""`make bench-broker`: what a RabbitMQ of its own gives to the nodes' own code: confirms, copies, bindings.

`python -m tests.bench.broker`. Publishes go through the bus that services use,
to the kinds of queues they use; bindings are those of a node's queue, on one exchange or divided over several. What
came of it: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from deploy.load.usage import cpu_s
from deploy.local.process import NotInstalled, StartFailed
from shared.amqp import open_amqp_bus
from shared.bus import Bus, Subscription
from shared.logs import configure_logs
from shared.topology import Binding, Exchange, Queue, Topology
from tests.bench.bindings import table_of
from tests.bench.bystander import Felt, between, open_bystander
from tests.bench.layouts import open_bound, percentile
from tests.bench.process import wait_quiet
from tests.bench.results import Ran, keep
from tests.servers import start_rabbitmq
from tests.waiting import running

EXCHANGES: Final = (1, 8, 32)
KEYS: Final = (1, 8, 64)
_PREFIX: Final = "bench"
_BODY: Final = b"x" * 600
_AT_ONCE: Final = 256
_WARM_UP: Final = 200
_BINDS_AT_ONCE: Final = 1000
_STEP_S: Final = 120.0


@dataclass(frozen=True)
class Plan:
    """How much is measured. `publishes`: of each rate, a tenth of that one by one; `bindings`: of one queue."""

    publishes: int = 5000
    bindings: Sequence[int] = (1000, 10_000, 50_000)


@dataclass(frozen=True)
class Published:
    """Confirmed publishes of 600 bytes under so many keys, to so many queues; CPU is the broker's, per publish.

    `confirm_*` are of publishes one by one, the rate is with 256 at once.
    """

    queue: str
    keys: int
    queues: int
    confirm_p50_ms: float
    confirm_p99_ms: float
    per_s: float
    broker_cpu_us: float


@dataclass(frozen=True)
class Bound:
    """One queue's bindings: making them, and what others wait for while the broker takes them away with the queue."""

    bindings: int
    exchanges: int
    binds_per_s: float
    bind_cpu_us: float
    gone_s: float
    publish_p99_ms: float
    publish_most_ms: float
    bind_most_ms: float


@dataclass
class Report:
    """All figures of a run."""

    plan: Plan
    published: list[Published] = field(default_factory=list)
    bound: list[Bound] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """what took longer than it may"""


async def measure(url: str, pid: int, plan: Plan) -> Report:
    """Measure everything, each when the broker has come to rest, and say how far it is."""
    report, topology = Report(plan), Topology(_PREFIX)
    for name, queue, bindings in (
        ("quorum, a shard's", topology.log_queue(0), topology.log_bindings(0)),
        ("classic, a service's", topology.rpc_queue("bench"), topology.rpc_bindings("bench")),
    ):
        _say(f"confirms of a queue: {name}")
        report.published.append(await measure_publishes(url, pid, name, [queue], bindings, plan.publishes))
    for count in KEYS:
        bindings = tuple(Binding(topology.events, topology.group_key(one)) for one in range(1, count + 1))
        for queues in dict.fromkeys((1, count)):
            _say(f"a publish under {count} keys to {queues} queues")
            nodes = [topology.node_queue(f"{count}-{queues}-{number}") for number in range(queues)]
            # What many publishes to many queues cost shows with a fraction of them.
            publishes = max(200, plan.publishes // queues)
            report.published.append(
                await measure_publishes(url, pid, "exclusive, a node's", nodes, bindings, publishes)
            )
    for count in plan.bindings:
        for exchanges in EXCHANGES:
            await asyncio.to_thread(wait_quiet, pid)
            _say(f"{count} bindings on {exchanges} exchanges")
            try:
                report.bound.append(await measure_bindings(url, pid, count, exchanges))
            except TimeoutError:
                report.left_out.append(f"{count} bindings on {exchanges} exchanges")
    return report


async def measure_publishes(
    url: str, pid: int, name: str, queues: Sequence[Queue], bindings: Sequence[Binding], publishes: int
) -> Published:
    """Publish under the keys of all bindings, which are dealt out to the queues, each consumed meanwhile."""
    keys, exchange = [binding.key for binding in bindings], bindings[0].exchange
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(open_amqp_bus(url, name="bench"))
        for number, queue in enumerate(queues):
            its = bindings[number :: len(queues)]
            subscription = await stack.enter_async_context(bus.subscribe(queue, its))
            await stack.enter_async_context(running(_take(subscription)))
        waits = await _publish_alone(bus, exchange, keys, publishes // 10)
        await _publish_many(bus, exchange, keys, min(_WARM_UP, publishes))
        await asyncio.to_thread(wait_quiet, pid)
        cpu, began = cpu_s(pid), time.monotonic()
        await _publish_many(bus, exchange, keys, publishes)
        seconds = time.monotonic() - began
        await asyncio.to_thread(wait_quiet, pid)
        cpu = cpu_s(pid) - cpu
    return Published(
        name,
        len(keys),
        len(queues),
        statistics.median(waits),
        percentile(waits, 0.99),
        publishes / seconds,
        cpu / publishes * 1e6,
    )


async def _take(subscription: Subscription) -> None:
    while True:
        await subscription.ack((await subscription.take(256)).deliveries)


async def _publish_alone(bus: Bus, exchange: Exchange, keys: Sequence[str], times: int) -> list[float]:
    waits: list[float] = []
    async with asyncio.timeout(_STEP_S):
        for _ in range(times):
            began = time.monotonic()
            await bus.publish(exchange, keys, _BODY)
            waits.append((time.monotonic() - began) * 1000)
    return sorted(waits)


async def _publish_many(bus: Bus, exchange: Exchange, keys: Sequence[str], times: int) -> None:
    left = iter(range(times))

    async def publish() -> None:
        for _ in left:
            await bus.publish(exchange, keys, _BODY)

    async with asyncio.timeout(_STEP_S):
        await asyncio.gather(*(publish() for _ in range(_AT_ONCE)))


async def measure_bindings(url: str, pid: int, count: int, exchanges: int) -> Bound:
    """Bind so many keys to one queue, then let the queue go while a bystander publishes and binds."""
    topology = Topology(_PREFIX, exchange_partitions=exchanges)
    async with AsyncExitStack() as stack:
        felt: Felt = await stack.enter_async_context(open_bystander(url, _PREFIX, exchanges))
        stays = await stack.enter_async_context(open_bound(url, topology, 1))
        async with open_bound(url, topology, 0) as node:
            bindings = [Binding(topology.events, topology.group_key(one)) for one in range(1, count + 1)]
            cpu, began = cpu_s(pid), time.monotonic()
            for start in range(0, count, _BINDS_AT_ONCE):
                await node.subscription.bind(bindings[start : start + _BINDS_AT_ONCE])
            seconds = time.monotonic() - began
            cpu = cpu_s(pid) - cpu
            await asyncio.to_thread(wait_quiet, pid, 5.0)
            dies = time.monotonic()
        gone = await stays.wait_gone(topology, node.key)
    publishes = between(felt.publishes, dies, gone)
    return Bound(
        count,
        exchanges,
        count / seconds,
        cpu / count * 1e6,
        gone - dies,
        percentile(publishes, 0.99),
        publishes[-1],
        max(between(felt.binds, dies, gone), default=0.0),
    )


def _say(line: str) -> None:
    print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it: 0, or 1 when RabbitMQ could not be had or something took too long."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.broker", description="Measure a RabbitMQ.")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="for results (.bench)")
    parser.add_argument("--publishes", type=int, default=Plan.publishes, help=f"of each rate ({Plan.publishes})")
    parser.add_argument(
        "--bindings", type=int, action="append", help=f"of one queue; may be said again {tuple(Plan.bindings)}"
    )
    chosen = parser.parse_args(arguments)
    plan = Plan(chosen.publishes, tuple(chosen.bindings or Plan.bindings))
    configure_logs("console", "error")
    ran = Ran()
    with tempfile.TemporaryDirectory(prefix="starling-bench-") as folder, ExitStack() as stack:
        try:
            url, pid = start_rabbitmq(Path(folder), stack)
        except (NotInstalled, StartFailed) as failure:
            print(failure, file=sys.stderr)
            return 1
        report = asyncio.run(measure(url, pid, plan))
    for rows in (report.published, report.bound):
        if rows:
            print(f"\n{table_of(rows)}")
    for one in report.left_out:
        print(f"left out, it took too long: {one}", file=sys.stderr)
    print(f"\nall in {keep(chosen.folder, 'broker', ran, asdict(report))}")
    return int(bool(report.left_out))


if __name__ == "__main__":
    sys.exit(main())
