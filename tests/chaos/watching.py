"""What the processes of a cluster use and hold, looked at from outside while they run.

Shells. What has a bound goes into the history; what says that something of ours broke is found in the logs at the end.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from deploy.load.usage import resident_bytes
from tests.chaos.history import Measured
from tests.chaos.people import World
from tests.chaos.schedule import SERVICES

BOUNDS: Final[Mapping[str, float]] = {
    "starling_gateway_fanout_log_bytes": 64 * 2**20,
    "starling_history_cached_bytes": 64 * 2**20,
    "starling_history_cached_access_process_bytes": 16 * 2**20,
    "starling_groups_cached_access_process_bytes": 16 * 2**20,
    "starling_gateway_peers_given_bytes": 32 * 2**20,
    "starling_http_requests_in_flight": 1000,
}
"""What a process tells of itself, and where its settings or the code end it."""
RESIDENT_BYTES: Final = 512 * 2**20
"""More than all bounds of a process together, at the size of these runs."""
EVERY_S: Final = 5.0
_ALARMS: Final = re.compile(
    rb"task_crashed|command_poisonous|dead_letter|commands_unreadable|stream_broken|batch_failed|Traceback"
)
"""What stands in a log only where something of ours is wrong."""


def metrics_of(exposition: str) -> dict[str, float]:
    """Return a process's metrics by name, those with labels added up."""
    found: dict[str, float] = {}
    for line in exposition.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            name = name.partition("{")[0]
            found[name] = found.get(name, 0.0) + float(value)
    return found


async def measure(world: World, http: httpx.AsyncClient, processes: list[dict[str, Any]]) -> None:
    """Write down what is bounded, of each process that answers."""
    await asyncio.gather(*(_measure(world, http, one) for one in processes))


async def _measure(world: World, http: httpx.AsyncClient, process: Mapping[str, Any]) -> None:
    name, pid = process["name"], process["pid"]
    if process["kind"] not in SERVICES or pid is None:
        return
    try:
        world.note(Measured, name, "resident bytes", float(resident_bytes(pid)), float(RESIDENT_BYTES))
        exposition = (await http.get(f"{process['address']}/metrics", timeout=EVERY_S / 2)).text
    except (httpx.TransportError, OSError):
        return
    metrics = metrics_of(exposition)
    for what, bound in BOUNDS.items():
        if what in metrics:
            world.note(Measured, name, what, metrics[what], bound)


def alarms_of(logs: Path) -> dict[str, int]:
    """Return what is in the logs that should never be: the line, without its numbers, and how often it is there."""
    found: dict[str, int] = {}
    for log in sorted(logs.glob("*-*.log*")):
        for line in log.read_bytes().splitlines():
            if _ALARMS.search(line):
                text = re.sub(r"\x1b\[[0-9;]*m|\d{4}-\d\d-\d\dT\S+", "", line.decode(errors="replace"))[:200]
                key = f"{log.name}: {text.strip()}"
                found[key] = found.get(key, 0) + 1
    return found
