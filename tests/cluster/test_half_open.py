"""A replay on a whole cluster while its connections are half-open. What dies and is cut: `make chaos-smoke`.

Every connection goes through a proxy: clients' to the front door, and each node's to RabbitMQ, Redis and MongoDB.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from deploy.replay.report import table_of
from tests.cluster.behind import COUNTS, URLS, open_cluster, play

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("cluster_servers"), pytest.mark.timeout(300)]


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
