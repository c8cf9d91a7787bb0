"""Real servers for tests: found by URL, else started from the installed binary in a temporary folder.

`Servers` starts each server once, when it is first asked for. Under pytest-xdist it lives in the controller
and the workers ask it over a local socket (`serve`, `ask`), so a run has one of each and none that it does
not need. All listen on 127.0.0.1 only, on free ports, and are gone after the run.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

import aiormq

from deploy.local.mongo import start_mongo
from deploy.local.process import NotInstalled, StartFailed, exchange_bytes, free_port, start_child
from deploy.local.rabbitmq import rabbitmq_programs
from shared.topology import Topology

SOCKET_VARIABLE = "STARLING_TEST_SERVERS_SOCKET"
_ASK_DEADLINE_S = 100.0  # below the time-out of a test, above the slowest start


class ServerMissing(Exception):
    """A server could not be had; the text is the reason for the skip."""


class Servers:
    """Starts servers on demand and ends them in `close`. Safe to use from several threads."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="starling-servers-"))
        self._stack = ExitStack()
        self._known: dict[str, str | ServerMissing | StartFailed] = {}
        self._locks = {name: threading.Lock() for name in _STARTERS}
        self._listener: Listener | None = None

    def url_of(self, name: str) -> str:
        """Return the URL of "mongo", "redis" or "rabbitmq".

        Raises `ServerMissing` or `StartFailed`, the same each time after.
        """
        with self._locks[name]:
            if name not in self._known:
                self._known[name] = self._find(name)
            answer = self._known[name]
        if isinstance(answer, str):
            return answer
        raise answer

    def _find(self, name: str) -> str | ServerMissing | StartFailed:
        given = os.environ.get(f"STARLING_TEST_{name.upper()}_URL")
        if given:
            return given
        folder = self._folder / name
        folder.mkdir()
        try:
            return _STARTERS[name](folder, self._stack)
        except NotInstalled as missing:
            return ServerMissing(str(missing))
        except StartFailed as failure:
            return failure

    def serve(self) -> str:
        """Answer `ask` from other processes; return the address of the socket."""
        listener = Listener(str(self._folder / "socket"), "AF_UNIX", backlog=16)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return str(listener.address)

    def _accept(self, listener: Listener) -> None:
        while True:
            try:
                connection = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: Connection) -> None:
        with connection:
            try:
                connection.send((None, self.url_of(connection.recv())))
            except (ServerMissing, StartFailed) as failure:
                connection.send((type(failure), str(failure)))

    def close(self) -> None:
        """End every server that was started, and remove the folder."""
        if self._listener is not None:
            self._listener.close()
        self._stack.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def ask(address: str, name: str) -> str:
    """Return a server's URL from the `Servers` that serves at `address`. Raises as `Servers.url_of`."""
    with Client(address, "AF_UNIX") as connection:
        connection.send(name)
        if not connection.poll(_ASK_DEADLINE_S):
            raise StartFailed(f"{name} did not start within {_ASK_DEADLINE_S:g} s")
        refusal, text = connection.recv()
    if refusal is not None:
        raise refusal(text)
    return str(text)


def _start_mongo(folder: Path, stack: ExitStack) -> str:
    # Synced, a commit takes ten times as long, and all tests wait for the disk; none of them cuts the machine's power.
    mongo = start_mongo(folder, free_port(), synced=False)
    stack.callback(mongo.child.terminate, 5)
    return mongo.url


def start_redis(folder: Path, stack: ExitStack) -> tuple[str, int]:
    """Start a Redis that ends with the stack; return its URL and process id. Raises `NotInstalled`, `StartFailed`."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise NotInstalled("redis-server is not on the PATH (Debian package redis-server)")
    port = free_port()
    command = [binary, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    child = start_child("redis", command, log=folder / "redis.log")
    stack.callback(child.terminate, 5)
    child.wait_ready(lambda: exchange_bytes(port, b"PING\r\n", b"+PONG"), 20)
    return f"redis://127.0.0.1:{port}/0", child.process.pid


def start_rabbitmq(folder: Path, stack: ExitStack) -> tuple[str, int]:
    """Start a RabbitMQ that ends with the stack; return its URL and process id.

    Raises `NotInstalled`, `StartFailed`.
    """
    port, dist_port, epmd_port = free_port(), free_port(), free_port()
    epmd, broker = rabbitmq_programs(folder, port=port, dist_port=dist_port, epmd_port=epmd_port)
    names = start_child("epmd", [str(part) for part in epmd.command], log=folder / "epmd.log", env=dict(epmd.env))
    stack.callback(names.terminate, 2)
    names.wait_ready(epmd.answers, 10)
    # Below about 1,024 open files RabbitMQ stops taking connections without a word.
    limited = ["/bin/sh", "-c", 'ulimit -n 16384 || ulimit -n "$(ulimit -H -n)"; exec "$0"', *map(str, broker.command)]
    child = start_child("rabbitmq", limited, log=folder / "rabbitmq.log", env=dict(broker.env))
    stack.callback(child.terminate, 15)
    child.wait_ready(broker.answers, 90)
    return broker.address, child.process.pid


_STARTERS: dict[str, Callable[[Path, ExitStack], str]] = {
    "mongo": _start_mongo,
    "redis": lambda folder, stack: start_redis(folder, stack)[0],
    "rabbitmq": lambda folder, stack: start_rabbitmq(folder, stack)[0],
}


async def forget_topology(url: str, topology: Topology, services: Iterable[str] = ()) -> None:
    """Delete from a broker everything durable that a test's topology declared, for brokers that outlive the run."""
    connection = await aiormq.connect(url)
    channel = await connection.channel()
    logs, calls = map(topology.log_queue, range(topology.shards)), map(topology.rpc_queue, services)
    for queue in (*logs, topology.dead_queue(), *calls):
        await channel.queue_delete(queue.name)
    for exchange in (*topology.events.parts, topology.log, topology.rpc, topology.invalidate):
        await channel.exchange_delete(exchange.name)
    await connection.close()
