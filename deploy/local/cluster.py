"""`make cluster`: the distributed system on this machine, every process its own, in the foreground.

Deployment code: `python -m deploy.local.cluster --port 8080 --data .data --gateways 2 --history 2 --groups 2`. Starts
RabbitMQ with its epmd, Redis, the database, the service nodes and nginx, restarts what dies, and ends all of it in
order. Everything it writes is in the data folder; `cluster.json` there says which processes there are.
`deploy.local.program` keeps one process, `deploy.local.control` restarts one on demand.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy.local.control import open_control, write_status
from deploy.local.door import is_ready, require_free, say, say_ready
from deploy.local.folder import STATUS, Refused, bound_log, own_folder, secret_of
from deploy.local.mongo import mongo_answers, mongo_command, mongo_url
from deploy.local.nginx import nginx_program
from deploy.local.nodes import Backends, Place, node_programs
from deploy.local.ports import steady_ports
from deploy.local.process import NotInstalled, StartFailed, free_port
from deploy.local.program import Member, Program
from deploy.local.rabbitmq import rabbitmq_programs, rabbitmq_url
from deploy.local.redis import redis_program, redis_url

_COMMAND: Final = "make cluster"
_READY_DEADLINE_S = 120.0
_POLL_S = 0.1
_LOGS_S = 5.0
_FILES = 65536
_FEWEST_FILES = 2048
"""RabbitMQ keeps most of a small limit for itself, and below about 1,024 takes no connections without a word."""
_END_ORDER: Final = (("gateway",), ("nginx", "history", "groups"), ("redis", "mongo", "rabbitmq"), ("epmd",))
"""Gateways first, while the front door still passes their good-byes on; what is needed ends after who needs it."""


class Cluster:
    """All members of one cluster."""

    def __init__(self, programs: Sequence[Program], data: Path, port: int, *, restarts: bool) -> None:
        self._data = data
        self._port = port
        self._control = ""
        self._access_log = access_log_of(data)
        self._members = {
            one.name: Member(one, log_of(data, one.name), restarts=restarts, changed=self._write) for one in programs
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`. Raises `StartFailed` when something does not come up; nothing is left then either."""
        async with open_control(self.restart) as self._control:
            tasks = [
                asyncio.create_task(member.run([self._members[need] for need in member.program.needs]))
                for member in self._members.values()
            ]
            tasks.append(asyncio.create_task(self._bound_logs()))
            tasks.append(asyncio.create_task(self._tell_ready()))
            stopping = asyncio.create_task(stop.wait())
            try:
                await _first_failure(tasks, stopping)
                say("stopping")
            finally:
                await self._end()
                for task in (*tasks, stopping):
                    task.cancel()
                await asyncio.gather(*tasks, stopping, return_exceptions=True)
                (self._data / STATUS).unlink(missing_ok=True)

    async def restart(self, name: str) -> str:
        """Restart one member and return what to tell. Raises `Refused`."""
        member = self._members.get(name)
        if member is None:
            raise Refused(f"no process is called {name!r}; there are {', '.join(self._members)}")
        if not await member.restart():
            raise Refused(f"{name} did not come back in time, see {member.log}")
        return f"{name} is restarted, pid {member.describe()['pid']}"

    async def _tell_ready(self) -> None:
        async with asyncio.timeout(_READY_DEADLINE_S):
            for member in self._members.values():
                await member.ready.wait()
            while not await asyncio.to_thread(is_ready, self._port):  # noqa: ASYNC110 (nobody tells us)
                await asyncio.sleep(_POLL_S)
        say_ready(self._port)

    async def _end(self) -> None:
        for kinds in _END_ORDER:
            ending = (member.end() for member in self._members.values() if member.program.kind in kinds)
            await asyncio.gather(*ending)

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(_LOGS_S)
            for log in (self._access_log, *(member.log for member in self._members.values())):
                with suppress(FileNotFoundError):
                    bound_log(log)

    def _write(self) -> None:
        write_status(
            self._data,
            {
                "url": f"http://127.0.0.1:{self._port}",
                "pid": os.getpid(),
                "control": self._control,
                "processes": [member.describe() for member in self._members.values()],
            },
        )


async def _first_failure(tasks: Sequence[asyncio.Task[None]], stopping: asyncio.Task[bool]) -> None:
    """Return when `stopping` is done. Raises what the first task to fail raised."""
    running: set[asyncio.Task[None] | asyncio.Task[bool]] = {*tasks, stopping}
    while not stopping.done():
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            try:
                await task
            except TimeoutError as error:
                raise StartFailed(f"it was not ready within {_READY_DEADLINE_S:g} s") from error


def programs_of(
    data: Path,
    port: int,
    counts: Mapping[str, int],
    place_of: Callable[[str, int], Place] = lambda _, port: Place(port),
) -> list[Program]:
    """Return everything that makes a cluster, with ports that are free now. `counts`: nodes by service.

    `place_of`: where the node of this name listens with this port. Raises `NotInstalled`, `StartFailed`.
    """
    mongo, redis, amqp, dist, epmd, *free = steady_ports(5 + sum(counts.values()))
    places = {
        service: [place_of(f"{service}-{number}", free.pop()) for number in range(1, count + 1)]
        for service, count in counts.items()
    }
    backends = Backends(
        mongo_url=mongo_url(mongo),
        bus_url=rabbitmq_url(amqp),
        cache_url=redis_url(redis),
        public_url=os.environ.get("STARLING_HTTP__PUBLIC_URL", f"http://127.0.0.1:{port}"),
        secret=secret_of(data),
    )
    files = data / "db"
    files.mkdir(exist_ok=True)
    database = Program(
        "mongo",
        "mongo",
        mongo_command(files, mongo),
        backends.mongo_url,
        lambda: mongo_answers(backends.mongo_url),
        dict(os.environ),
    )
    return [
        *rabbitmq_programs(data, port=amqp, dist_port=dist, epmd_port=epmd),
        redis_program(data, port=redis),
        database,
        *node_programs(backends, places),
        nginx_program(data, port=port, places=places, access_log=access_log_of(data)),
    ]


def log_of(data: Path, name: str) -> Path:
    """Return the log of a process."""
    return data / "logs" / f"{name}.log"


def access_log_of(data: Path) -> Path:
    """Return nginx's log of requests."""
    return data / "logs" / "nginx.access.log"


def raise_file_limit() -> None:
    """Let our children, who inherit it, open as many files as we may. Raises `Refused` when that is too few.

    No more than `_FILES`: Erlang makes tables of the limit's size, and where it is a billion they take gigabytes.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if allowed < _FEWEST_FILES:
        raise Refused(f"a process may open {allowed} files here, RabbitMQ needs {_FEWEST_FILES}: raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


async def run(port: int, data: Path, counts: Mapping[str, int], *, restarts: bool) -> None:
    """Run a cluster until SIGINT, SIGTERM or SIGHUP. Raises `Refused`, `NotInstalled`, `StartFailed`."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    require_free(port, _COMMAND)
    with own_folder(data, _COMMAND):
        (data / "logs").mkdir(exist_ok=True)
        say(f"starting, data and logs in {data}")
        raise_file_limit()
        await Cluster(programs_of(data, port, counts), data, port, restarts=restarts).run(stop)
    say("stopped")


def main() -> int:
    """Run until a signal (0) or until the start fails (1)."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.cluster", description="Run a cluster of Starling here."
    )
    parser.add_argument("--port", type=int, default=8080, help="port on 127.0.0.1 (8080; 0: a free one)")
    parser.add_argument("--data", type=Path, default=Path(".data"), help="folder of everything it writes (.data)")
    parser.add_argument("--gateways", type=_count, default=2, metavar="N", help="nodes of gateway (2)")
    parser.add_argument("--history", type=_count, default=2, metavar="N", help="nodes of history (2)")
    parser.add_argument("--groups", type=_count, default=2, metavar="N", help="nodes of groups (2)")
    parser.add_argument("--restart", choices=("yes", "no"), default="yes", help="whether what dies is restarted (yes)")
    chosen = parser.parse_args()
    counts = {"groups": chosen.groups, "history": chosen.history, "gateway": chosen.gateways}
    try:
        asyncio.run(run(chosen.port or free_port(), chosen.data.resolve(), counts, restarts=chosen.restart == "yes"))
    except (Refused, NotInstalled, StartFailed) as failure:
        print(f"starling: {failure}", file=sys.stderr, flush=True)
        return 1
    return 0


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 64:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main())
