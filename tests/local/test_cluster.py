"""`make cluster`'s launcher as a process: real servers, nodes of their own, and what happens when they die."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.local.process import free_port
from tests.journeys.people import Door, open_devices, open_people
from tests.journeys.test_two_people import check_history, talk
from tests.local.test_run import DEADLINE_S, ROOT, Run, is_alive

START_S = 150.0
NAMES = ["epmd", "rabbitmq", "redis", "mongo", "nginx"]
# Most are on one cluster; the first of them waits for its start.
pytestmark = [
    pytest.mark.servers,
    pytest.mark.usefixtures("cluster_servers"),
    pytest.mark.timeout(240),
]


class Cluster(Run):
    """A running launcher, as `tests.local.test_run.Run`, with what cluster.json says."""

    def __init__(self, port: int, data: Path, *options: str, **settings: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.data = data
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.cluster", "--port", str(port), "--data", str(data), *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "STARLING_LIMITS__ENABLED": "false", **settings},
            process_group=0,
        )

    def processes(self) -> dict[str, dict[str, Any]]:
        """Return the processes of cluster.json by name."""
        listed = json.loads((self.data / "cluster.json").read_text())["processes"]
        return {one["name"]: one for one in listed}

    def wait_until(self, condition: Callable[[dict[str, dict[str, Any]]], bool]) -> dict[str, dict[str, Any]]:
        """Return what cluster.json says when it says what is waited for."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition(processes := self.processes()):
            assert time.monotonic() < deadline, processes
            time.sleep(0.05)
        return processes

    def everything(self) -> set[int]:
        """Return every process of the cluster: those listed, and what they started."""
        groups = {one["pid"] for one in self.processes().values()}
        return {pid for pid in pids() if group_of(pid) in groups}

    def restart(self, name: str) -> subprocess.CompletedProcess[str]:
        """Do what `make cluster-restart` does."""
        return restart(self.data, name)


def restart(data: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Ask the cluster on `data` to restart a process."""
    command = [sys.executable, "-m", "deploy.local.control", "--data", str(data), "--restart", name]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=START_S, check=False)


def pids() -> list[int]:
    """Return all processes of the machine."""
    return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()]


def group_of(pid: int) -> int:
    """Return a process's group, 0 when it is gone."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def is_ready(processes: dict[str, dict[str, Any]]) -> bool:
    """Return whether every process answers."""
    return all(one["state"] == "ready" for one in processes.values())


def connections_of(node: dict[str, Any]) -> float:
    """Return how many clients a gateway has."""
    exposition = httpx.get(f"{node['address']}/metrics").text
    (line,) = [one for one in exposition.splitlines() if one.startswith("starling_gateway_node_connections ")]
    return float(line.split()[1])


@contextmanager
def running(data: Path, *options: str, **settings: str) -> Iterator[Cluster]:
    """Yield a launcher, and leave nothing of it whatever happens."""
    cluster = Cluster(free_port(), data, *options, **settings)
    try:
        yield cluster
    finally:
        if cluster.process.poll() is None:
            cluster.end()


@pytest.fixture(scope="module", name="cluster")
def _cluster(cluster_servers: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with running(folder / "data") as cluster:
        lines = cluster.read_until(f"starling is ready at {cluster.url}")
        assert lines[-1] == f"starling is ready at {cluster.url}"
        yield cluster


async def talk_through(url: str) -> None:
    """Have two people talk through a front door, and read what they said."""
    door = Door(url, url, (url,))
    async with (
        open_people(door, "ada", "ben") as (ada, ben),
        open_devices((ada, 0), (ada, 0), (ben, 0)) as devices,
    ):
        said = await talk(ada, ben, devices)
        await check_history(ben, said)


def test_it_tells_what_runs(cluster: Cluster) -> None:
    """cluster.json lists each process with kind, name, a pid that lives, an address that answers and a log."""
    processes = cluster.wait_until(is_ready)
    services = ("gateway", "history", "groups")
    assert sorted(processes) == sorted([*NAMES, *(f"{one}-{number}" for one in services for number in (1, 2))])
    for one in processes.values():
        assert is_alive(one["pid"])
        assert Path(one["log"]).exists()
    for service in services:
        for number in (1, 2):
            node = processes[f"{service}-{number}"]
            assert node["kind"] == service
            assert httpx.get(f"{node['address']}/readyz").json()["ready"] is True
            assert httpx.get(f"{node['address']}/metrics").status_code == 200
    assert processes["nginx"]["address"] == cluster.url


def test_the_front_door_shows_the_whole(cluster: Cluster) -> None:
    """Page, documents of all services merged, and health are there; metrics are not; refusals are the API's."""
    with httpx.Client(base_url=cluster.url, timeout=10) as client:
        assert client.get("/readyz").json() == {"ready": True}
        assert client.get("/healthz").is_success
        page = client.get("/").text
        assert 'href="/docs"' in page
        assert "/metrics" not in page
        assert client.get("/docs").is_success
        paths = client.get("/openapi.json").json()["paths"]
        messages = "/api/v10/channels/{channel_id}/messages"
        assert {"/api/v10/auth/register", messages, "/api/v10/gateway"} <= paths.keys()
        gateway = client.get("/api/v10/gateway").json()["url"]
        assert gateway == f"{cluster.url.replace('http', 'ws')}/gateway"
        for hidden in ("/metrics", "/%6detrics", "/x/../metrics"):
            answer = client.get(hidden)
            assert (answer.status_code, answer.json()["code"]) == (404, 0)


async def test_two_people_talk_over_both_gateways(cluster: Cluster) -> None:
    """Through the front door alone, on connections that it spreads over the nodes."""
    door = Door(cluster.url, cluster.url, (cluster.url,))
    processes = cluster.wait_until(is_ready)
    async with (
        open_people(door, "ada", "ben") as (ada, ben),
        open_devices((ada, 0), (ada, 0), (ben, 0)) as devices,
    ):
        assert all([await asyncio.to_thread(connections_of, processes[f"gateway-{number}"]) for number in (1, 2)])
        said = await talk(ada, ben, devices)
        await check_history(ben, said)


async def test_what_dies_is_started_again(cluster: Cluster) -> None:
    """After kill -9 each is there again at its address, cluster.json tells, and people talk as before.

    They talk before it, too: of quorum queues that were declared in the last second, RabbitMQ 3.10 leaves behind some
    that never have a leader again.
    """
    killed = [*NAMES, "history-1", "gateway-1"]
    before = cluster.wait_until(is_ready)
    await talk_through(cluster.url)
    for name in killed:
        os.kill(before[name]["pid"], signal.SIGKILL)

    def is_back(now: dict[str, dict[str, Any]]) -> bool:
        return is_ready(now) and all(now[name]["pid"] != before[name]["pid"] for name in killed)

    after = await asyncio.to_thread(cluster.wait_until, is_back)
    for name, one in after.items():
        assert is_alive(one["pid"])
        assert one["address"] == before[name]["address"]
        assert (one["pid"] == before[name]["pid"]) is (name not in killed), name
    async with httpx.AsyncClient() as client, asyncio.timeout(DEADLINE_S):
        nodes = [one["address"] for one in after.values() if one["kind"] in {"gateway", "history", "groups"}]
        for address in (*nodes, cluster.url):
            while not (await client.get(f"{address}/readyz")).is_success:
                await asyncio.sleep(0.1)
    await talk_through(cluster.url)


def test_one_is_restarted_on_demand(cluster: Cluster) -> None:
    """It ends in order and begins anew; the others are as they were, and the front door never closed."""
    before = cluster.wait_until(is_ready)
    asked = cluster.restart("gateway-2")
    after = cluster.processes()
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout == f"gateway-2 is restarted, pid {after['gateway-2']['pid']}\n"
    assert after["gateway-2"]["state"] == "ready"
    assert "node_stopped" in Path(after["gateway-2"]["log"]).read_text()
    assert {name for name in after if after[name]["pid"] != before[name]["pid"]} == {"gateway-2"}
    assert httpx.get(f"{cluster.url}/readyz").is_success


def test_an_unknown_name_is_told(cluster: Cluster) -> None:
    """The message says which names there are; the exit code is 1."""
    asked = cluster.restart("gateway-9")
    assert asked.returncode == 1
    assert asked.stderr.startswith("starling: no process is called 'gateway-9'; there are epmd, rabbitmq, redis")
    assert "gateway-2" in asked.stderr


def test_restart_without_a_cluster_is_told(tmp_path: Path) -> None:
    """Where none runs, also after one that could not clean up, the message says how to start one; exit code 1."""
    stale = {"control": str(tmp_path / "gone"), "processes": []}
    for text in (None, json.dumps(stale)):
        if text is not None:
            (tmp_path / "cluster.json").write_text(text)
        asked = restart(tmp_path, "gateway-1")
        assert asked.returncode == 1
        assert asked.stderr == f"starling: no cluster runs on {tmp_path}; start one: make cluster DATA={tmp_path}\n"


@pytest.mark.parametrize("module", ["cluster", "run"])
def test_a_second_one_on_the_same_data_is_refused(cluster: Cluster, module: str) -> None:
    """Two can't write one folder, whichever way they run: the second says so and ends with 1."""
    command = [sys.executable, "-m", f"deploy.local.{module}", "--port", str(free_port()), "--data", str(cluster.data)]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert second.returncode == 1
    assert "another one runs on" in second.stderr


def register_from(address: str, url: str) -> int:
    """Register somebody from an address of this machine; return the status."""
    body = {"username": f"ada{uuid4().hex[:8]}", "password": "correct horse battery"}
    with httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=DEADLINE_S) as client:
        claimed = {"X-Forwarded-For": uuid4().hex}
        return client.post(f"{url}/api/v10/auth/register", json=body, headers=claimed).status_code


def test_a_signal_while_it_starts_ends_it(tmp_path: Path) -> None:
    """Ctrl-C before it is ready is an end as any other: exit code 0, nothing left."""
    with running(tmp_path / "data") as starting:
        starting.read_until("starting")
        deadline = time.monotonic() + DEADLINE_S
        while len(started := starting.children()) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert starting.end(signal.SIGINT) == (0, "")
    assert [pid for pid in started if is_alive(pid)] == []


def test_two_side_by_side_and_an_end_that_leaves_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """With RESTART=no what dies is shown as dead; SIGTERM ends all of it with 0; a neighbour never notices."""
    neighbour = cluster.wait_until(is_ready)
    one_each = ("--gateways", "1", "--history", "1", "--groups", "1", "--restart", "no")
    limits = {"STARLING_LIMITS__ENABLED": "true", "STARLING_LIMITS__AUTH_PER_MINUTE": "1"}
    with running(tmp_path / "data", *one_each, **limits) as second:
        second.read_until("starling is ready")
        # Per address of the client, which the front door tells and nobody else can claim.
        addresses = ("127.0.0.2", "127.0.0.2", "127.0.0.3")
        assert [register_from(address, second.url) for address in addresses] == [201, 429, 201]
        processes = second.processes()
        assert not {one["address"] for one in processes.values()} & {one["address"] for one in neighbour.values()}
        os.kill(processes["redis"]["pid"], signal.SIGKILL)
        after = second.wait_until(lambda now: now["redis"]["state"] == "dead")
        assert after["redis"]["pid"] is None
        assert {name for name in after if after[name]["state"] != "ready"} == {"redis"}
        everything = second.everything()
        assert len(everything) > len(processes)
        begun = time.monotonic()
        assert second.end() == (0, "")
        assert time.monotonic() - begun < 30
        assert [pid for pid in everything if is_alive(pid)] == []
        assert not (second.data / "cluster.json").exists()
    assert cluster.processes() == neighbour
