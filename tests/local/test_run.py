"""`make run`'s launcher as a process: one command starts all of it, one signal ends all of it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.local.process import free_port

ROOT = Path(__file__).parent.parent.parent
DEADLINE_S = 60.0
pytestmark = pytest.mark.servers


class Run:
    """A running launcher. Its children are found by the data folder in their command line or environment."""

    def __init__(self, port: int, data: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.data = data
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.run", "--port", str(port), "--data", str(data)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "STARLING_LIMITS__ENABLED": "false"},
            process_group=0,
        )

    def read_until(self, words: str) -> list[str]:
        """Return the lines up to the one that begins with `words`; fails with what was said when the launcher ends."""
        lines: list[str] = []
        if self.process.stdout is None:
            raise RuntimeError("standard output is not a pipe")
        for line in self.process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith(words):
                return lines
        pytest.fail(f"ended before {words!r}: {lines} {self.process.communicate(timeout=DEADLINE_S)[1]}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal and return exit code and standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, errors

    def children(self) -> list[int]:
        """Return the launcher's child processes."""
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(one) for one in task.read_text().split()]


@contextmanager
def running(port: int, data: Path) -> Iterator[Run]:
    """Yield a launcher, and leave nothing of it whatever happens."""
    run = Run(port, data)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.end()


def is_alive(pid: int) -> bool:
    """Return whether a process is there and not just waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(name="port")
def _port() -> int:
    return free_port()


def register(client: httpx.Client) -> str:
    """Register a user and return the token."""
    body = {"username": "ada", "password": "correct horse battery"}
    answer = client.post("/api/v10/auth/register", json=body)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


def test_it_starts_serves_ends_and_starts_again_with_its_data(port: int, tmp_path: Path) -> None:
    """The ready line comes when it serves; SIGTERM ends it with 0 and nothing left; data and tokens survive."""
    data = tmp_path / "data"
    with running(port, data) as run, httpx.Client(base_url=run.url, timeout=10) as client:
        lines = run.read_until(f"starling is ready at {run.url}")
        shown = [run.process.stdout.readline().split() for _ in range(3)] if run.process.stdout else []
        assert lines[-1] == f"starling is ready at {run.url}"
        assert shown == [
            ["page", f"{run.url}/"],
            ["docs", f"{run.url}/docs"],
            ["gateway", f"ws://127.0.0.1:{port}/gateway"],
        ]
        assert client.get("/readyz").json()["ready"] is True
        page = client.get("/")
        assert 'href="/docs"' in page.text
        assert f"ws://127.0.0.1:{port}/gateway" in page.text
        assert client.get("/docs").status_code == 200
        assert "/api/v10/auth/register" in client.get("/openapi.json").json()["paths"]
        token = register(client)
        children = run.children()
        assert len(children) == 2
        code, errors = run.end()
    assert (code, errors) == (0, "")
    assert [pid for pid in children if is_alive(pid)] == []
    assert stat.S_IMODE((data / "secret").stat().st_mode) == 0o600

    with running(port, data) as run, httpx.Client(base_url=run.url, timeout=10) as client:
        run.read_until("starling is ready")
        me = client.get("/api/v10/users/@me", headers={"Authorization": token})
        assert (me.status_code, me.json()["username"]) == (200, "ada")
        assert run.end(signal.SIGINT) == (0, "")


def test_a_busy_port_is_told_and_nothing_is_started(tmp_path: Path) -> None:
    """Who holds the port is not touched; the message names the port and what to do, the exit code is 1."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with running(port, tmp_path / "data") as run:
            _, errors = run.process.communicate(timeout=DEADLINE_S)
    assert run.process.returncode == 1
    assert errors.startswith(f"starling: port {port} is busy; choose another: make run PORT=")
    assert not (tmp_path / "data").exists()


def test_a_second_one_on_the_same_data_is_refused(port: int, tmp_path: Path) -> None:
    """Two can't write one folder: the second says so and ends with 1, the first goes on."""
    with running(port, tmp_path) as first:
        first.read_until("starling is ready")
        with running(free_port(), tmp_path) as second:
            _, errors = second.process.communicate(timeout=DEADLINE_S)
        assert second.process.returncode == 1
        assert "another one runs on" in errors
        assert httpx.get(f"{first.url}/healthz").status_code == 200
        assert first.end()[0] == 0


def test_a_child_that_dies_ends_all_with_its_last_words(port: int, tmp_path: Path) -> None:
    """When a part is killed, the rest is ended too, the message names the part, and the exit code is 1."""
    with running(port, tmp_path) as run:
        run.read_until("starling is ready")
        children = run.children()
        os.kill(children[-1], signal.SIGKILL)
        _, errors = run.process.communicate(timeout=DEADLINE_S)
    assert run.process.returncode == 1
    assert "services ended with code -9" in errors
    assert [pid for pid in children if is_alive(pid)] == []


def test_a_signal_while_it_starts_ends_it_with_0(port: int, tmp_path: Path) -> None:
    """Ctrl-C before it is ready is an end as any other: exit code 0, nothing left."""
    with running(port, tmp_path) as run:
        run.read_until("starting")
        deadline = time.monotonic() + DEADLINE_S
        while not (children := run.children()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert run.end(signal.SIGINT) == (0, "")
    assert [pid for pid in children if is_alive(pid)] == []
