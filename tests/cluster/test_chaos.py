"""A replay on a whole cluster: its servers restarted, its processes killed, its connections cut or half-open.

Every connection goes through a proxy: clients' to the front door, and each node's to RabbitMQ, Redis and MongoDB. The
long form is `make chaos` (docs/operations.md).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from deploy.replay.report import table_of
from tests.cluster.behind import COUNTS, URLS, open_cluster, play

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("cluster_servers"), pytest.mark.timeout(300)]


async def test_nothing_is_lost_doubled_or_disordered_whatever_dies(tmp_path: Path) -> None:
    """RabbitMQ, Redis and MongoDB restarted, each history and groups process killed, every connection cut."""
    async with open_cluster(tmp_path) as behind, asyncio.TaskGroup() as tasks:
        kill = behind.kill

        async def cut() -> None:
            for proxy in (*behind.servers.values(), behind.door):
                proxy.cut()

        replay = behind.replay(360)
        chaos = tasks.create_task(
            play(
                replay,
                (
                    kill("history-1"),
                    cut,
                    kill("groups-1"),
                    kill("redis", signal.SIGTERM),
                    kill("rabbitmq", signal.SIGTERM),
                    kill("history-2"),
                    kill("mongo", signal.SIGTERM),
                    kill("groups-2"),
                    cut,
                ),
            )
        )
        report = await replay.run()
        assert chaos.done(), "the replay ended before the last fault"
        assert report.is_good, table_of(report)
        assert report.total.messages == 360
        killed = {"history-1", "history-2", "groups-1", "groups-2", "redis", "rabbitmq", "mongo"}
        assert behind.restarted() == killed, "no other process had to be"


async def test_half_open_connections_are_survived_by_every_process(tmp_path: Path) -> None:
    """All connections to RabbitMQ, then to Redis, then to MongoDB swallow what is sent, and no end is told of it.

    MongoDB's deadline is shorter here than 10 s, since only that tells a process that it will not be answered.
    """
    async with open_cluster(tmp_path, STARLING_MONGO__TIMEOUT="PT2S") as behind, asyncio.TaskGroup() as tasks:
        connects: dict[str, int] = {}

        def strand(name: str) -> Callable[[], Awaitable[None]]:
            async def fault() -> None:
                connects[name] = behind.servers[name].connects
                behind.servers[name].strand()

            return fault

        replay = behind.replay(80)
        chaos = tasks.create_task(play(replay, [strand(name) for name in URLS]))
        report = await replay.run()
        assert chaos.done(), "the replay ended before the last fault"
        assert report.is_good, table_of(report)
        assert report.total.messages == 80
        assert behind.restarted() == set(), "no process had to be"
        anew = {name: behind.servers[name].connects - before for name, before in connects.items()}
        assert anew["rabbitmq"] >= sum(COUNTS.values()), "every process connected anew"
        assert anew["mongo"] >= COUNTS["groups"] + COUNTS["history"]
        assert anew["redis"] >= 1, "only who asks something meets it"
