"""The replay against a running Starling: a short talk, in peace and over a network that cuts all connections."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from deploy.local.process import free_port
from deploy.replay.account import Verdict
from deploy.replay.play import Options, Replay, Report
from deploy.replay.report import percentile, progress_of, table_of
from deploy.replay.rest import Addresses
from deploy.replay.script import Script, script_of
from deploy.replay.session import Ways
from tests.local.test_run import ROOT, running
from tests.proxy import Proxy, open_proxy
from tests.waiting import wait_until

NICKS = ("ada", "ben|away", "[eve]", "`dan")


def log_of(lines: int) -> str:
    """Return an invented log in which people come, go, come back and change their nicks."""
    text = ["=== ada has joined #garden"]
    for number in range(lines):
        nick = NICKS[number * 7 % 11 % len(NICKS)]
        text.append(f"[10:{number // 60:02}] <{nick}> line {number} of {nick}: “roses”, 玫瑰")
        if number % 10 == 4:
            text.append(f"=== {NICKS[number // 10 % 2]} has left #garden []")
        if number % 12 == 7:
            text += [
                "=== [eve] is now known as eve_",
                f"[10:59]  * eve_ waters {number}",
                "=== eve_ is now known as [eve]",
            ]
    return "".join(f"{line}\n" for line in text)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a Starling as `make run` does, without limits."""
    with running(free_port(), tmp_path_factory.mktemp("data")) as run:
        run.read_until("starling is ready")
        yield run.url


@pytest.mark.servers
def test_logs_are_replayed_and_proved_from_the_command_line(url: str, tmp_path: Path) -> None:
    """Two logs side by side end in a table of zeros and exit code 0; progress goes to standard error, line by line."""
    logs = [tmp_path / "garden.log", tmp_path / "kitchen.log"]
    for log in logs:
        log.write_text(log_of(30))
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.replay", "--url", url, *map(str, logs)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = 30 + len(range(7, 30, 12))
    assert ["all", str(2 * said)] == next(row for row in ended.stdout.splitlines() if row.startswith("all")).split()[:2]
    assert "proved: every member received exactly once" in ended.stdout
    assert "registering" in ended.stderr
    assert "\r" not in ended.stderr


@pytest.mark.servers
@pytest.mark.parametrize("in_flight", [1, 4])
async def test_cut_connections_cost_nothing(url: str, in_flight: int) -> None:
    """All sockets are cut again and again: sessions resume, nobody reads what was missed, and the zeros stay."""
    script = script_of("garden", log_of(60).encode())
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(open_proxy(int(url.rpartition(":")[2]))) for _ in range(2)]
        gateways = tuple(f"http://127.0.0.1:{proxy.port}" for proxy in proxies)
        replay = Replay(
            [script], Options(Addresses(url, url), Ways(gateways), in_flight=in_flight, line_s=60, run_s=80)
        )
        report = await cut_while(replay, script, proxies)
    assert report.is_good, table_of(report)
    assert report.counts.resumes == report.counts.reconnects >= 5
    assert (report.counts.begun_anew, report.counts.refetched) == (0, 0)
    assert report.total.messages == script.messages


async def cut_while(replay: Replay, script: Script, proxies: list[Proxy]) -> Report:
    """Run a replay and cut the connections at each tenth of it, of one gateway or of both."""
    async with asyncio.TaskGroup() as tasks:
        running_replay = tasks.create_task(replay.run())
        for part in range(1, 9):
            wanted = part * script.messages // 10
            await wait_until(partial(has_come_to, replay, running_replay, wanted), 80)
            for proxy in proxies[part % 3 :]:
                proxy.cut()
    return running_replay.result()


def has_come_to(replay: Replay, task: asyncio.Task[Report], wanted: int) -> bool:
    """Return whether a replay has said so many messages, or is over."""
    return task.done() or (replay.phase == "playing" and replay.done >= wanted)


async def test_a_server_that_is_not_there_is_told() -> None:
    """Nothing is proved without a server: the table says what was not answered."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    script = script_of("garden", log_of(3).encode())
    report = await Replay([script], Options(Addresses(nowhere, nowhere), Ways((nowhere,)), line_s=0.5)).run()
    assert not report.is_good
    assert "POST /auth/register was not answered within 0.5 s" in table_of(report)
    assert table_of(report).endswith("NOT proved")
    assert report.total.unsent == script.messages


@pytest.mark.servers
async def test_a_gateway_that_is_not_there_is_told(url: str) -> None:
    """Who cannot connect in time ends the run with the address that did not answer."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    script = script_of("garden", log_of(1).encode())
    report = await Replay([script], Options(Addresses(url, url), Ways((nowhere,)), line_s=5)).run()
    assert not report.is_good
    assert f"could not connect to {nowhere.replace('http', 'ws')}/gateway" in table_of(report)


def test_the_table_tells_a_fault() -> None:
    """A single fault anywhere shows in its column and takes the proof away."""
    good = Verdict(messages=2, deliveries=4, owed=4, pages=3)
    report = Report({"one": good, "two": good + Verdict(lost=1)}, seconds=2.0, acks_s=[0.25, 0.001])
    header, one, two, both, *rest = table_of(report).splitlines()
    column = header.split().index("lost")
    assert [row.split()[column] for row in (one, two, both)] == ["0", "1", "1"]
    assert rest[-1] == "NOT proved"
    assert any(line.startswith("ack latency") and "p50 250.0 ms, p99 250.0 ms" in line for line in rest)


def test_figures_of_nothing_and_of_all() -> None:
    """Percentiles are nearest rank; progress stands between empty and full."""
    assert [percentile([1, 2, 3, 4], share) for share in (0, 0.5, 0.99)] == [1, 3, 4]
    assert percentile([], 0.5) == 0
    assert progress_of("playing", 0, 0, 0).count("#") == 0
    assert progress_of("playing", 5, 5, 0).count("#") == 30
