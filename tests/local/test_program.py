"""One member of a local cluster: small programs in place of servers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.local.nodes import Backends, Place, node_programs
from deploy.local.ports import steady_ports
from deploy.local.process import StartFailed
from deploy.local.program import ROOT, Member, Program
from tests.local.test_run import is_alive

DEADLINE_S = 20.0
SLEEPER = "sleep 1000 & echo $! >helper; wait"


def program(folder: Path, script: str = SLEEPER, ready_s: float = DEADLINE_S) -> Program:
    """Return a shell script as a program that is ready when its helper is there."""
    files = {"PATH": os.environ["PATH"]}
    command = ["/bin/sh", "-c", f"cd {folder}; rm -f helper; {script}"]
    return Program("test", "one", command, "", lambda: helper_of(folder) is not None, files, grace_s=1, ready_s=ready_s)


def helper_of(folder: Path) -> int | None:
    """Return the pid of the script's own child, once it was written and while it lives."""
    file = folder / "helper"
    text = file.read_text() if file.exists() else ""
    return int(text) if text.strip() and is_alive(int(text)) else None


@asynccontextmanager
async def open_member(one: Program, folder: Path, *, restarts: bool = True) -> AsyncIterator[Member]:
    """Run a member; it is ended at the end."""
    member = Member(one, folder / "log", restarts=restarts, changed=lambda: None)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(member.run([]))
        try:
            await member.ready.wait()
            yield member
        finally:
            await member.end()


async def wait_state(member: Member, state: str, starts: int) -> None:
    """Return when a member is in a state, at its n-th process."""
    while (member.describe()["state"], member.describe()["starts"]) != (state, starts):
        await asyncio.sleep(0.01)


async def wait_gone(pid: int) -> None:
    """Return when a process that was signalled is gone."""
    async with asyncio.timeout(DEADLINE_S):
        while is_alive(pid):
            await asyncio.sleep(0.01)


async def test_it_is_started_again_and_its_group_never_outlives_it(tmp_path: Path) -> None:
    """Killed with -9, whatever it had started goes too, and a new process takes its place; the end leaves nothing."""
    async with open_member(program(tmp_path), tmp_path) as member:
        first, helper = member.describe()["pid"], helper_of(tmp_path)
        os.kill(first, signal.SIGKILL)
        await wait_state(member, "ready", 2)
        assert helper is not None
        await wait_gone(helper)
        second, helper = member.describe()["pid"], helper_of(tmp_path)
        assert second != first
    assert helper is not None
    assert not is_alive(second)
    await wait_gone(helper)
    assert member.describe()["state"] == "ended"
    assert member.describe()["pid"] is None


async def test_without_restarts_it_stays_dead_until_asked(tmp_path: Path) -> None:
    """RESTART=no: shown as dead, and an operator can still start it anew."""
    async with open_member(program(tmp_path), tmp_path, restarts=False) as member:
        os.kill(member.describe()["pid"], signal.SIGKILL)
        await wait_state(member, "dead", 1)
        assert member.describe()["pid"] is None
        assert await member.restart()
        assert member.describe()["state"] == "ready"


async def test_who_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """The end comes for certain, after the grace."""
    async with open_member(program(tmp_path, f"trap '' TERM; {SLEEPER}; wait"), tmp_path) as member:
        pid = member.describe()["pid"]
    assert not is_alive(pid)


@pytest.mark.parametrize(
    ("script", "words"), [("echo no room; exit 3", "ended with code 3"), ("sleep 1000", "did not answer within 0.5 s")]
)
async def test_a_start_that_fails_is_told(tmp_path: Path, script: str, words: str) -> None:
    """Who never came to answer is not tried again: the reason and the end of its log are told."""
    member = Member(program(tmp_path, script, ready_s=0.5), tmp_path / "log", restarts=True, changed=lambda: None)
    with pytest.raises(StartFailed, match=words):
        await member.run([])
    assert member.describe()["pid"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends children with their parent")
async def test_it_ends_with_a_launcher_that_is_killed(tmp_path: Path) -> None:
    """A launcher that is killed leaves no servers behind, which would hold data and ports."""
    script = f"""
import asyncio, pathlib
from tests.local.test_program import open_member, program

async def main():
    folder = pathlib.Path({str(tmp_path)!r})
    async with open_member(program(folder, "echo $$ >helper; exec sleep 1000"), folder):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    launcher = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert launcher.stdout is not None
    assert await launcher.stdout.readline() == b"ready\n"
    child = helper_of(tmp_path)
    assert child is not None
    assert is_alive(child)
    launcher.kill()
    await launcher.wait()
    await wait_gone(child)


def test_what_was_set_reaches_every_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the environment pass through; what makes the nodes one cluster stands over them."""
    monkeypatch.setenv("STARLING_LIMITS__ENABLED", "false")
    monkeypatch.setenv("STARLING_BUS__URL", "memory://")
    backends = Backends("mongodb://m", "amqp://b", "redis://c", "http://127.0.0.1:8080", "secret")
    nodes = node_programs(backends, {"groups": [Place(1)], "history": [Place(2)], "gateway": [Place(3), Place(4)]})
    assert [one.name for one in nodes] == ["groups-1", "history-1", "gateway-1", "gateway-2"]
    for one, port in zip(nodes, (1, 2, 3, 4), strict=True):
        assert one.env["STARLING_LIMITS__ENABLED"] == "false"
        assert one.env["STARLING_BUS__URL"] == "amqp://b"
        assert one.env["STARLING_NODE"] == one.name
        assert one.env["STARLING_HTTP__PORT"] == str(port)
        assert one.env["STARLING_HTTP__PUBLIC_URL"] == "http://127.0.0.1:8080"
        assert one.env["STARLING_HTTP__TRUSTED_PROXIES"] == '["127.0.0.1"]'


def test_ports_are_steady() -> None:
    """Different ones, and none that an outgoing connection could take while its server is down."""
    ports = steady_ports(64)
    assert len(set(ports)) == 64
    assert max(ports) < 32768
