"""A replay while its gateways are killed, restarted and cut off: sessions go on, and nothing is lost or comes twice.

The long form is `make chaos` (docs/operations.md).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.replay.play import Replay, Report
from deploy.replay.report import table_of
from deploy.replay.session import Ways
from tests.cluster.behind import open_cluster, play, ports_of
from tests.proxy import open_proxy

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("cluster_servers"), pytest.mark.timeout(240)]

COUNTS = {"groups": 1, "history": 1, "gateway": 3}
LOGS = ("tea", "ale")


async def test_sessions_outlive_their_nodes_and_connections(tmp_path: Path) -> None:
    """Gateways killed with -9, one restarted, all connections cut: every session resumes, here or elsewhere.

    Who tells positions gets nothing twice; who tells only `s`, what came in the last moments before a kill at most.
    """
    async with open_cluster(tmp_path, COUNTS) as behind, AsyncExitStack() as stack:
        ports = ports_of(tmp_path, "gateway")
        proxies = [await stack.enter_async_context(open_proxy(port)) for port in ports]

        async def cut() -> None:
            for proxy in (*proxies, behind.door):
                proxy.cut()

        drain = behind.kill("gateway-2", signal.SIGTERM)
        at_each = Ways(tuple(f"http://127.0.0.1:{proxy.port}" for proxy in proxies))
        faults = [behind.kill("gateway-1"), cut, drain, behind.kill("gateway-3"), cut]
        told = await chaos(behind.replay(75, at_each, LOGS), faults)
        assert told.total.repeated == 0
        assert behind.restarted() == {"gateway-1", "gateway-2", "gateway-3"}, "no other process had to be"
        await behind.wait_all_ready()
        faults = [behind.kill("gateway-2"), behind.kill("gateway-1")]
        await chaos(behind.replay(40, Ways((behind.url,), tells_positions=False), LOGS), faults)


async def chaos(replay: Replay, faults: Sequence[Callable[[], Awaitable[None]]]) -> Report:
    """Let faults happen to a replay, and return what came of it, which is good."""
    async with asyncio.TaskGroup() as tasks:
        happening = tasks.create_task(play(replay, faults))
        report = await replay.run()
        assert happening.done(), "the replay ended before the last fault"
    counts = report.counts
    assert report.is_good, table_of(report)
    assert (counts.begun_anew, counts.refetched) == (0, 0), "each session went on, and nobody read what it missed"
    assert counts.resumes >= len(faults), table_of(report)
    return report
