"""`make run`: all of Starling on this machine, in the foreground.

Deployment code: `python -m deploy.local.run --port 8080 --data .data`. Starts the local database and one
process with all services on an in-memory bus, both as children that end with it. Everything it writes is in
the data folder: the database, `secret` (signs tokens; made once), logs, and `lock`, which keeps a second
start out.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import http.client
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from deploy.local.mongo import start_mongo
from deploy.local.process import Child, NotInstalled, StartFailed, free_port, start_child, tail_of

_READY_DEADLINE_S = 60.0
_POLL_S = 0.5
_MAX_LOG_BYTES = 16 * 1024 * 1024


class _Refused(Exception):
    """It can't start here; the text says why and what to do."""


def main() -> int:
    """Run until SIGINT, SIGTERM or SIGHUP (0) or until something fails (1)."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.run", description="Run all of Starling here.")
    parser.add_argument("--port", type=int, default=8080, help="port on 127.0.0.1 (8080; 0: a free one)")
    parser.add_argument("--data", type=Path, default=Path(".data"), help="folder of everything it writes (.data)")
    chosen = parser.parse_args()
    stop = threading.Event()

    def on_signal(_: int, __: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    try:
        _run(chosen.port or free_port(), chosen.data.resolve(), stop)
    except (_Refused, NotInstalled, StartFailed) as failure:
        print(f"starling: {failure}", file=sys.stderr, flush=True)
        return 1
    return 0


def _run(port: int, data: Path, stop: threading.Event) -> None:
    _require_free(port)
    with ExitStack() as stack:
        stack.enter_context(_own_folder(data))
        _say(f"starting, data and logs in {data}")
        mongo = start_mongo(data, free_port())
        stack.callback(mongo.child.terminate)
        if stop.is_set():
            return
        services = start_child(
            "services",
            [sys.executable, "-m", "services", "all"],
            log=data / "starling.log",
            env=_environment(port, mongo.url, _secret_of(data)),
        )
        stack.callback(services.terminate)
        url = f"http://127.0.0.1:{port}"
        services.wait_ready(lambda: stop.is_set() or _is_ready(port), _READY_DEADLINE_S)
        if not stop.is_set():
            _say(f"starling is ready at {url}")
            _say(f"  page     {url}/")
            _say(f"  docs     {url}/docs")
            _say(f"  gateway  ws://127.0.0.1:{port}/gateway")
            _say("  Ctrl-C ends it; the data stays")
        _watch((services, mongo.child), stop)
        _say("stopping")
    _say("stopped")


def _watch(children: tuple[Child, ...], stop: threading.Event) -> None:
    """Return when `stop` is set. Raises `StartFailed` when a child ends by itself."""
    while not stop.wait(_POLL_S):
        for child in children:
            code = child.process.poll()
            if code is not None:
                raise StartFailed(f"{child.name} ended with code {code}; the end of {child.log}:\n{tail_of(child.log)}")
            _bound_log(child.log)


def _bound_log(log: Path) -> None:
    """Keep a log and one older part of it. The child writes in append mode, so it goes on at the new end."""
    if log.stat().st_size > _MAX_LOG_BYTES:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)


def _environment(port: int, mongo_url: str, secret: str) -> dict[str, str]:
    """Return the environment of the services: what was set (limits, log level), with what must be ours over it."""
    return {
        "STARLING_LOG_FORMAT": "console",
        **os.environ,
        "STARLING_HTTP__HOST": "127.0.0.1",
        "STARLING_HTTP__PORT": str(port),
        "STARLING_MONGO__URL": mongo_url,
        "STARLING_BUS__URL": "memory://",
        "STARLING_CACHE__URL": "memory://",
        "STARLING_AUTH__SECRET": secret,
        "PYTHONUNBUFFERED": "1",
    }


def _require_free(port: int) -> None:
    """Return if this port is to be had. Raises `_Refused`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            busy = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            why = "is busy" if busy else f"can't be used ({error})"
            other = port + 1 if 1024 <= port < 65535 else 8080
            raise _Refused(f"port {port} {why}; choose another: make run PORT={other}") from error


@contextmanager
def _own_folder(data: Path) -> Iterator[None]:
    """Hold the data folder for this process alone. Raises `_Refused`."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        handle = (data / "lock").open("a")
    except OSError as error:
        raise _Refused(f"the data folder {data} can't be used: {error.strerror}") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _Refused(f"another one runs on {data}; choose another folder: make run DATA=...") from None
        yield


def _secret_of(data: Path) -> str:
    """Return the secret that signs tokens, made once: tokens stay valid over restarts."""
    path = data / "secret"
    if not path.exists():
        part = data / "secret.part"
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
        part.rename(path)
    return path.read_text().strip()


def _is_ready(port: int) -> bool:
    # http.client and not urllib: a proxy in the environment is not for our own address.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
