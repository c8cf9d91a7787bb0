"""The systems of `make bench-peers`: two nodes each, and what stands between the nodes, all processes of their own.

Each has a room of all, and reaches one user from the other node. What is missing raises `NotInstalled` with what to do.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

import httpx

from deploy.local.process import free_port
from shared.auth import Tokens
from shared.clock import now_ms
from tests.bench.dialects import (
    PLAIN_PAIR,
    PYTHON_SOCKETIO_PAIR,
    SOCKET_IO_PAIR,
    PairDialect,
    direct_starling,
    join_starling,
    say_starling,
)
from tests.bench.seeding import seed
from tests.bench.servers import installed, installed_python, pinned, serving, version_of
from tests.bench.starling import open_cluster, overhead_of
from tests.servers import start_rabbitmq, start_redis

COUPLES: Final = 64
_PEERS: Final = Path(__file__).parent / "peers"
_COLLECT_S: Final = 1.0
_HEARTBEAT: Final = "PT3600S"
"""Longer than a run: nobody else in this comparison has heartbeats."""


@dataclass(frozen=True)
class Couple:
    """Two users: `speaker` comes to the first node and speaks to `name`, who comes to the second as `listener`."""

    speaker: str
    name: str
    listener: str


@dataclass(frozen=True)
class Pair:
    """Two running nodes. `tokens`: of the room, each the first half to the first node.

    `behind`: what else works for them, processes by name. `collects`: SIGUSR2 makes a node collect garbage.
    """

    tells: str
    ports: tuple[int, int]
    nodes: tuple[int, int]
    dialect: PairDialect
    tokens: Sequence[str]
    couples: Sequence[Couple]
    behind: Mapping[str, int] = field(default_factory=dict)
    stores: bool = False
    collects: bool = False

    def pids(self) -> dict[str, int]:
        """Return all of its processes by name."""
        return {**self.behind, "first": self.nodes[0], "second": self.nodes[1]}

    def collect(self) -> None:
        """Have the nodes collect garbage, if they can be told to."""
        if self.collects:
            for pid in self.nodes:
                os.kill(pid, signal.SIGUSR2)
            time.sleep(_COLLECT_S)


@contextmanager
def open_starling_pair(folder: Path, sessions: int) -> Iterator[Pair]:
    """Run a cluster with two gateway nodes and one of each other service; its people are seeded."""
    with open_cluster(folder, gateways=2, STARLING_GATEWAY__HEARTBEAT_INTERVAL=_HEARTBEAT) as cluster:
        (room,) = asyncio.run(seed(cluster.address("mongo"), [sessions], prefix="room"))
        tokens = Tokens(cluster.secret)
        minted = [tokens.mint(user.id, now_ms()) for user in room.members]
        channels: dict[str, int] = {}
        couples = []
        with httpx.Client(base_url=cluster.address("groups-1"), timeout=30) as groups:
            for number in range(COUPLES):
                one, other = number, sessions // 2 + number
                name = str(room.members[other].id)
                answer = groups.post(
                    "/api/v10/users/@me/channels", json={"recipient_id": name}, headers={"Authorization": minted[one]}
                )
                channels[name] = int(answer.raise_for_status().json()["id"])
                couples.append(Couple(minted[one], name, minted[other]))
        dialect = PairDialect(
            join_starling, say_starling(room.channel.id, overhead_of(room)), direct=direct_starling(channels)
        )
        nodes = (cluster.pid("gateway-1"), cluster.pid("gateway-2"))
        behind = {name: pid for name, pid in cluster.pids().items() if pid not in nodes}
        ports = (cluster.port("gateway-1"), cluster.port("gateway-2"))
        yield Pair("Starling", ports, nodes, dialect, minted, couples, behind, stores=True)


@contextmanager
def open_socket_io_pair(folder: Path, sessions: int) -> Iterator[Pair]:
    """Run two nodes on Socket.IO with its Redis adapter."""
    node, modules = installed(folder)
    tells = f"Socket.IO {version_of(modules, 'socket.io')} + Redis"
    command = [node, "--expose-gc", str(modules / "socket_io_redis.mjs")]
    with _on(start_redis, "redis", folder, command, sessions, tells, SOCKET_IO_PAIR, collects=True) as pair:
        yield pair


@contextmanager
def open_python_socketio_pair(folder: Path, sessions: int) -> Iterator[Pair]:
    """Run two nodes on python-socketio with its RabbitMQ manager."""
    command = [str(installed_python(folder)), str(_PEERS / "pairs" / "python_socketio_rabbitmq.py")]
    tells = f"python-socketio {pinned('python-socketio')} + RabbitMQ"
    with _on(start_rabbitmq, "rabbitmq", folder, command, sessions, tells, PYTHON_SOCKETIO_PAIR) as pair:
        yield pair


@contextmanager
def open_channels_pair(folder: Path, sessions: int) -> Iterator[Pair]:
    """Run two nodes on Django Channels with channels_redis."""
    command = [str(installed_python(folder)), str(_PEERS / "pairs" / "channels_redis_layer.py")]
    tells = f"Channels {pinned('channels')} + Redis"
    with _on(start_redis, "redis", folder, command, sessions, tells, PLAIN_PAIR) as pair:
        yield pair


@contextmanager
def open_fastapi_pair(folder: Path, sessions: int) -> Iterator[Pair]:
    """Run two nodes on FastAPI's own WebSockets and Redis' publish and subscribe."""
    command = [sys.executable, "-m", "tests.bench.peers.fastapi_redis"]
    tells = f"FastAPI {version('fastapi')} + Redis"
    with _on(start_redis, "redis", folder, command, sessions, tells, PLAIN_PAIR) as pair:
        yield pair


Opener = Callable[[Path, int], AbstractContextManager[Pair]]
PAIRS: Final[Mapping[str, Opener]] = {
    "socket.io": open_socket_io_pair,
    "python-socketio": open_python_socketio_pair,
    "channels": open_channels_pair,
    "fastapi": open_fastapi_pair,
    "starling": open_starling_pair,
}


@contextmanager
def _on(
    start: Callable[[Path, ExitStack], tuple[str, int]],
    name: str,
    folder: Path,
    command: Sequence[str],
    sessions: int,
    tells: str,
    dialect: PairDialect,
    *,
    collects: bool = False,
) -> Iterator[Pair]:
    """Run two nodes by this command, which gets a port and the URL of what stands between them."""
    with tempfile.TemporaryDirectory(prefix="starling-bench-") as data, ExitStack() as stack:
        url, pid = start(Path(data), stack)
        ports = (free_port(), free_port())
        first, second = (
            stack.enter_context(serving(f"peer-{number}", [*command, str(port), url], port, folder))
            for number, port in enumerate(ports, 1)
        )
        names = [f"user{number}" for number in range(sessions)]
        couples = [Couple(names[one], names[sessions // 2 + one], names[sessions // 2 + one]) for one in range(COUPLES)]
        yield Pair(tells, ports, (first, second), dialect, names, couples, {name: pid}, collects=collects)
