"""Starling under test: a whole cluster as `make cluster` starts it, in a folder of its own, its processes by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx

from deploy.local.process import StartFailed, free_port
from services.gateway.core.frames import encode_dispatch
from shared.clock import now_ms
from shared.core.message_events import MessageCreated
from shared.core.stream import Event, Record, channel_stream
from shared.core.wire.dispatches import dispatch_of
from shared.core.wire.values import encode
from tests.bench.crowd import wait_until
from tests.bench.seeding import Seeded

_ROOT: Final = Path(__file__).parent.parent.parent
_START_S: Final = 150.0
_END_S: Final = 60.0


class Cluster:
    """A running cluster."""

    def __init__(self, url: str, data: Path, process: subprocess.Popen[bytes]) -> None:
        self.url = url
        self.data = data
        self._process = process

    def processes(self) -> dict[str, dict[str, Any]]:
        """Return its processes by name: pid, address, state."""
        try:
            listed = json.loads((self.data / "cluster.json").read_text())["processes"]
        except FileNotFoundError:
            return {}
        return {one["name"]: one for one in listed}

    def pids(self) -> dict[str, int]:
        """Return the running processes by name."""
        return {name: int(one["pid"]) for name, one in self.processes().items() if one["pid"]}

    def pid(self, name: str) -> int:
        """Return the process of this name."""
        return int(self.processes()[name]["pid"])

    def address(self, name: str) -> str:
        """Return the URL of the process of this name."""
        return str(self.processes()[name]["address"])

    def port(self, name: str) -> int:
        """Return the port that the node of this name listens on."""
        return int(self.address(name).rpartition(":")[2])

    @property
    def secret(self) -> str:
        """What signs tokens."""
        return (self.data / "secret").read_text().strip()

    def metric(self, name: str, metric: str) -> float:
        """Return what a node tells of itself; 0 if it does not know the metric."""
        exposition = httpx.get(f"{self.address(name)}/metrics", timeout=30).text
        return sum(float(line.split()[-1]) for line in exposition.splitlines() if line.split(" ")[0] == metric)

    def bound(self, name: str) -> float:
        """Return by how many routing keys this gateway's queue is bound."""
        return self.metric(name, "starling_gateway_bindings_bound")

    def is_ready(self) -> bool:
        """Return whether every process answers. Raises `StartFailed` when it has ended."""
        if self._process.poll() is not None:
            raise StartFailed(f"the cluster ended; see {self.data}")
        processes = self.processes()
        return bool(processes) and all(one["state"] == "ready" for one in processes.values())


@contextmanager
def open_cluster(
    folder: Path, *, gateways: int, history: int = 1, groups: int = 1, **settings: str
) -> Iterator[Cluster]:
    """Run a cluster without limits for clients; `settings` come on top. Its logs are in `folder`/logs after it.

    Raises `StartFailed`.
    """
    data = Path(tempfile.mkdtemp(prefix="cluster-", dir=folder))
    port = free_port()
    counts = ["--gateways", str(gateways), "--history", str(history), "--groups", str(groups)]
    command = [sys.executable, "-m", "deploy.local.cluster", "--port", str(port), "--data", str(data), *counts]
    environment = {
        **os.environ,
        "STARLING_LIMITS__ENABLED": "false",
        "STARLING_LOG_FORMAT": "json",  # as in production; a console's columns cost twice as much
        **settings,
    }
    with (folder / "cluster.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--restart", "no"], cwd=_ROOT, stdout=log, stderr=log, env=environment, process_group=0
        )
    cluster = Cluster(f"http://127.0.0.1:{port}", data, process)
    try:
        wait_until(cluster.is_ready, _START_S, "the cluster's start")
        yield cluster
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
        shutil.rmtree(folder / "logs", ignore_errors=True)
        with suppress(FileNotFoundError):
            shutil.move(data / "logs", folder / "logs")
        shutil.rmtree(data, ignore_errors=True)


def overhead_of(room: Seeded) -> int:
    """Return how long a dispatch of a message in a room is beside the content in it, in bytes."""
    record = Record(99, now_ms(), MessageCreated(room.members[0], ""), id=room.channel.id)
    t, d = dispatch_of(Event(channel_stream(room.channel.id), record, room.group.id))
    return len(encode_dispatch(t or "", encode(d), 9999))
