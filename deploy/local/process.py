"""Child processes for local runs and tests: start with a log file, wait until ready, end for certain.

Deployment code. It knows no server; `deploy.local.mongo` and tests/servers.py say what to start.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PROBE_INTERVAL_S = 0.05


class NotInstalled(Exception):
    """The server is not on this machine; the text says what to install."""


class StartFailed(Exception):
    """The child ended or did not answer in time; the text ends with the tail of its log."""


@dataclass(frozen=True)
class Child:
    """A running process that leads its own process group, so that Ctrl-C in the terminal is not its business."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_ready(self, probe: Callable[[], bool], deadline_s: float) -> None:
        """Ask `probe` until it says yes.

        Raises `StartFailed` when the child ends or `deadline_s` passes; the child is gone then.
        """
        deadline = time.monotonic() + deadline_s
        while not probe():
            code = self.process.poll()
            if code is not None or time.monotonic() > deadline:
                why = f"ended with code {code}" if code is not None else f"did not answer within {deadline_s:g} s"
                self.terminate(grace_s=2)
                raise StartFailed(f"{self.name} {why}; the end of {self.log}:\n{tail_of(self.log)}")
            time.sleep(_PROBE_INTERVAL_S)

    def terminate(self, grace_s: float = 15) -> int:
        """End the whole process group, SIGTERM first and SIGKILL after `grace_s`; return the exit code. Idempotent."""
        if self.process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
        # What the leader left behind in its group goes too; nobody waits for it.
        self._signal(signal.SIGKILL)
        return self.process.wait()

    def kill(self) -> None:
        """End the whole process group at once (SIGKILL): the fault that tests want to survive. Idempotent."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return


def start_child(name: str, command: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None) -> Child:
    """Start a process in a group of its own, both outputs appended to `log`. `env` replaces the environment."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            process_group=0,
        )
    return Child(name, process, log)


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def exchange_bytes(port: int, request: bytes, answer: bytes) -> bool:
    """Return whether the server on 127.0.0.1:`port` answers `request` with something that begins with `answer`."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(request)
            return connection.recv(len(answer), socket.MSG_WAITALL) == answer
    except OSError:
        return False


def tail_of(log: Path) -> str:
    """Return the last lines of a log, as much as one reads in a message."""
    return log.read_bytes()[-2000:].decode(errors="replace")
