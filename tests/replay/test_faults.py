"""Faults that a replay makes: whom they hit, and that nobody stays halted."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.local.folder import STATUS, Refused
from deploy.replay.faults import Faults, Plan
from tests.waiting import wait_until

Processes = dict[str, subprocess.Popen[bytes]]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Processes]:
    """Yield processes that do nothing, told in cluster.json as those of a cluster."""
    with ExitStack() as stack:
        running: Processes = {}
        for name in ("gateway-1", "history-1", "history-2", "mongo"):
            process = running[name] = stack.enter_context(subprocess.Popen(["sleep", "60"]))
            stack.callback(process.kill)
        told = [
            {"kind": name.partition("-")[0], "name": name, "pid": process.pid, "state": "ready"}
            for name, process in running.items()
        ]
        (tmp_path / STATUS).write_text(json.dumps({"processes": told}))
        yield running


def halted(processes: Processes) -> set[str]:
    """Return the names of those that are stopped by a signal."""
    states = {
        name: Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()[0] for name, one in processes.items()
    }
    return {name for name, state in states.items() if state == "T"}


@pytest.mark.parametrize(("kind", "can_be_halted"), [("pause", {"history-1", "history-2"}), ("mongo", {"mongo"})])
async def test_who_is_halted_goes_on_when_the_faults_end(
    cluster: Processes, tmp_path: Path, kind: str, can_be_halted: set[str]
) -> None:
    """Cancelled in the middle, as at the end of a replay, a fault leaves nobody behind."""
    faults = Faults(Plan(tmp_path, (kind,), every_s=0, most=1), lambda text: None)
    making = asyncio.ensure_future(faults.run())
    await wait_until(lambda: bool(halted(cluster)))
    assert halted(cluster) <= can_be_halted
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    assert not halted(cluster)
    assert faults.made == {kind: 1}


async def test_history_processes_are_killed_and_no_others(cluster: Processes, tmp_path: Path) -> None:
    """One of them or all; each fault is told."""
    told: list[str] = []
    await Faults(Plan(tmp_path, ("history",), every_s=0, most=8), told.append).run()
    assert len(told) == 8
    ended = {name for name in ("history-1", "history-2") if cluster[name].wait(10) == -signal.SIGKILL}
    assert ended == {"history-1", "history-2"}
    assert cluster["mongo"].poll() is cluster["gateway-1"].poll() is None


def test_without_a_cluster_there_is_nothing_to_harm(tmp_path: Path) -> None:
    """It is told before anything is played."""
    with pytest.raises(Refused, match="make cluster"):
        Faults(Plan(tmp_path), print).require_cluster()
