"""What the processes of a cluster hold at one moment, and whether at the end it is what it was at the begin.

`sample` looks (shells); `judge_leaks` judges (core). At both moments people are connected and nobody does anything, so
all that grows with what goes on is back where it was, but for what is stored. The rule, for each process and figure:

- memory, without what the process says that its bounded caches and logs hold: at most 15 % and 16 MiB more;
- open files: at most 64 more, as pools of connections keep what was needed once; tasks: at most 8 more;
- sessions over all gateways: none more; bindings, groups and channels over all gateways: at most 12 more, since
  sessions come back to other nodes, and a node follows a group while one of its members is there;
- keys in Redis that do not run out by themselves: none more; messages in durable queues: none.

RabbitMQ and MongoDB keep what was said, and Redis bodies for a day: their memory, and keys that run out, are shown but
not judged.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import aiormq
import httpx

from deploy.load.usage import resident_bytes
from shared.topology import Topology
from tests.chaos.schedule import SERVICES
from tests.chaos.watching import metrics_of

Sample = dict[str, float]
"""By `process figure`, as `gateway-1 tasks`."""

_MIB: Final = 2**20
_METRICS: Final[Mapping[str, str]] = {
    "starling_loop_tasks": "tasks",
}
_OF_ALL: Final[Mapping[str, str]] = {
    "starling_gateway_bindings_bound": "bindings",
    "starling_gateway_hub_sessions": "sessions",
    "starling_gateway_hub_groups": "groups",
    "starling_gateway_hub_channels": "channels",
}
_HOLDS: Final = (
    "starling_gateway_fanout_log_bytes",
    "starling_gateway_trail_bytes",
    "starling_gateway_peers_given_bytes",
    "starling_history_cached_bytes",
    "starling_history_cached_access_process_bytes",
    "starling_groups_cached_access_process_bytes",
)
"""What a process keeps within bounds of its own, and says so: not memory that is lost."""
_ROOM: Final[Mapping[str, tuple[float, float]]] = {
    "memory": (1.15, 16 * _MIB),
    "files": (1.0, 64),
    "tasks": (1.0, 8),
    "bindings": (1.0, 12),
    "sessions": (1.0, 0),
    "groups": (1.0, 12),
    "channels": (1.0, 12),
    "lasting-keys": (1.0, 0),
    "messages": (1.0, 0),
}
"""How much more is none: a factor, and what comes on top."""
_KEEPERS: Final = ("rabbitmq memory", "mongo memory", "redis memory", "redis keys")
_ASK_S: Final = 10.0


async def sample(http: httpx.AsyncClient, processes: Sequence[Mapping[str, Any]]) -> Sample:
    """Look at all processes of a cluster; what does not answer is left out."""
    found: Sample = {}
    for one in processes:
        with suppress(OSError, TypeError):
            found[f"{one['name']} memory"] = float(resident_bytes(one["pid"]))
            found[f"{one['name']} files"] = float(len(os.listdir(f"/proc/{one['pid']}/fd")))
        if one["kind"] in SERVICES:
            with suppress(httpx.TransportError):
                metrics = metrics_of((await http.get(f"{one['address']}/metrics", timeout=_ASK_S)).text)
                found |= {
                    f"{one['name']} {short}": metrics[long] for long, short in _METRICS.items() if long in metrics
                }
                for long, short in _OF_ALL.items():
                    if long in metrics:
                        found[f"gateways {short}"] = found.get(f"gateways {short}", 0.0) + metrics[long]
                if f"{one['name']} memory" in found:
                    found[f"{one['name']} memory"] -= sum(metrics.get(long, 0.0) for long in _HOLDS)
        elif one["kind"] == "redis":
            with suppress(OSError, TimeoutError):
                keys, running_out = await _keys(urlsplit(one["address"]).port or 0)
                found |= {"redis keys": keys, "redis lasting-keys": keys - running_out}
        elif one["kind"] == "rabbitmq":
            with suppress(OSError, TimeoutError, aiormq.exceptions.AMQPError):
                found["rabbitmq messages"] = await _messages(one["address"])
    return found


async def _keys(port: int) -> tuple[float, float]:
    """Return how many keys a Redis on this machine has, and how many of them run out by themselves."""
    async with asyncio.timeout(_ASK_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"INFO keyspace\r\nQUIT\r\n")
        answer = (await reader.read()).decode()
        writer.close()
    found = re.search(r"db0:keys=(\d+),expires=(\d+)", answer)
    return (float(found[1]), float(found[2])) if found is not None else (0.0, 0.0)


async def _messages(url: str) -> float:
    """Return how many messages wait in the durable queues of a broker."""
    topology = Topology()
    names = [*(topology.log_queue(shard).name for shard in range(topology.shards)), topology.dead_queue().name]
    async with asyncio.timeout(_ASK_S):
        connection = await aiormq.connect(url)
        try:
            return float(sum([await _waiting(connection, name) for name in names]))
        finally:
            await connection.close()


async def _waiting(connection: aiormq.abc.AbstractConnection, name: str) -> int:
    """Return how many messages wait in a queue, 0 if there is no such queue yet."""
    channel = await connection.channel()
    try:
        declared = await channel.queue_declare(name, passive=True)
    except aiormq.exceptions.ChannelNotFoundEntity:
        return 0
    await channel.close()
    return declared.message_count or 0


def judge_leaks(began: Sample, ended: Sample) -> list[str]:
    """Return what did not end where it began, in words."""
    found = []
    for name, value in sorted(ended.items()):
        if name in _KEEPERS or name not in began:
            continue
        factor, more = _ROOM[name.rpartition(" ")[2]]
        allowed = began[name] * factor + more
        if value > allowed:
            found.append(f"{name}: {_told(name, began[name])} at the begin, {_told(name, value)} at the end")
    return found


def table_of(began: Sample, ended: Sample) -> str:
    """Return what there was at the begin and at the end."""
    lines = [f"{'':<24}{'begin':>12}{'end':>12}"]
    lines += [f"{one:<24}{_told(one, began.get(one, 0)):>12}{_told(one, ended[one]):>12}" for one in sorted(ended)]
    return "\n".join(lines)


def _told(name: str, value: float) -> str:
    return f"{value / _MIB:.1f} MiB" if name.endswith(" memory") else f"{value:g}"
