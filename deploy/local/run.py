"""`make run`: all of Starling on this machine, in the foreground.

Deployment code: `python -m deploy.local.run --port 8080 --data .data`. Starts the local database and one
process with all services on an in-memory bus, both as children that end with it. Everything it writes is in
the data folder: the database, `secret` (signs tokens; made once), logs, and `lock`, which keeps a second
start out.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from deploy.local.door import is_ready, require_free, say, say_ready
from deploy.local.folder import DATABASE, Refused, bound_log, own_folder, secret_of
from deploy.local.mongo import start_mongo
from deploy.local.process import Child, NotInstalled, StartFailed, free_port, start_child, tail_of

_READY_DEADLINE_S = 60.0
_POLL_S = 0.5


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
    except (Refused, NotInstalled, StartFailed) as failure:
        print(f"starling: {failure}", file=sys.stderr, flush=True)
        return 1
    return 0


def _run(port: int, data: Path, stop: threading.Event) -> None:
    require_free(port, "make run")
    with ExitStack() as stack:
        stack.enter_context(own_folder(data, "make run"))
        say(f"starting, data and logs in {data}")
        mongo = start_mongo(data, free_port())
        stack.callback(mongo.child.terminate)
        (data / DATABASE).write_text(mongo.url)
        stack.callback((data / DATABASE).unlink, missing_ok=True)
        if stop.is_set():
            return
        services = start_child(
            "services",
            [sys.executable, "-m", "services", "all"],
            log=data / "starling.log",
            env=_environment(port, mongo.url, secret_of(data)),
        )
        stack.callback(services.terminate)
        services.wait_ready(lambda: stop.is_set() or is_ready(port), _READY_DEADLINE_S)
        if not stop.is_set():
            say_ready(port)
        _watch((services, mongo.child), stop)
        say("stopping")
    say("stopped")


def _watch(children: tuple[Child, ...], stop: threading.Event) -> None:
    """Return when `stop` is set. Raises `StartFailed` when a child ends by itself."""
    while not stop.wait(_POLL_S):
        for child in children:
            code = child.process.poll()
            if code is not None:
                raise StartFailed(f"{child.name} ended with code {code}; the end of {child.log}:\n{tail_of(child.log)}")
            bound_log(child.log)


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


if __name__ == "__main__":
    sys.exit(main())
