"""What RabbitMQ has is what docs/ARCHITECTURE.md says, and nothing of it is left when the clients are gone."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from deploy.local.cluster import Cluster, programs_of
from deploy.local.door import is_ready
from deploy.local.process import free_port
from tests.journeys.people import Door, open_devices, open_people
from tests.local.test_run import ROOT

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("cluster_servers"), pytest.mark.timeout(240)]

COUNTS = {"groups": 1, "history": 1, "gateway": 2}
SHARDS = 16
IDLE = {"log": SHARDS, "rpc": 2, "node": 4, "invalidate": 2, "replica": 1}
"""Bindings by kind of queue without clients: a node queue each for two gateways, history and groups."""


class Bound(NamedTuple):
    """One binding as the broker lists it."""

    exchange: str
    queue: str
    key: str


def documented() -> list[tuple[re.Pattern[str], str, list[re.Pattern[str]]]]:
    """Return (queue, exchange, keys) of each row of the table of queues, with holes for names and ids."""
    rows = []
    for line in (ROOT / "docs" / "ARCHITECTURE.md").read_text().splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0].startswith("starling.") and "{" in cells[0]:
            exchange, _, keys = cells[2].partition(":")
            patterns = [pattern_of(key.strip()) for key in keys.split(",")] if keys else [pattern_of("")]
            incarnation = r"\.[0-9a-f]{8}" if "exclusive" in cells[1] else ""
            rows.append((re.compile(pattern_of(cells[0]).pattern + incarnation), exchange, patterns))
    return rows


def pattern_of(text: str) -> re.Pattern[str]:
    """Return a pattern for a name with {holes}."""
    return re.compile(re.sub(r"\\{\w+\\}", r"[\\w.-]+", re.escape(text)))


async def capture(environment: Mapping[str, str]) -> list[Bound]:
    """Return all bindings of the broker but the default exchange's."""
    asking = await asyncio.create_subprocess_exec(
        # Debian's wrapper on the PATH would change to another user.
        shutil.which("rabbitmqctl", path="/usr/lib/rabbitmq/bin") or "rabbitmqctl",
        *("--quiet", "--formatter=csv", "list_bindings", "source_name", "destination_name", "routing_key"),
        env=dict(environment),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        told, _ = await asking.communicate()
    assert asking.returncode == 0
    lines = [line.replace('"', "").split(",") for line in told.decode().splitlines()[1:] if line]
    return [Bound(*line) for line in lines if line[0]]


def kinds_of(bindings: list[Bound]) -> dict[str, int]:
    """Count bindings by the kind of their queue."""
    return dict(Counter(bound.queue.split(".")[1] for bound in bindings))


async def test_the_broker_has_what_the_document_says(tmp_path: Path) -> None:
    """After the start, with clients, and after they left and the linger: each binding is documented, and counted."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    programs = [
        replace(one, env={**one.env, "STARLING_GATEWAY__UNBIND_LINGER": "PT1S", "STARLING_LIMITS__ENABLED": "false"})
        if one.kind in COUNTS
        else one
        for one in programs_of(tmp_path, port, COUNTS)
    ]
    (broker,) = (one for one in programs if one.kind == "rabbitmq")
    gateways = tuple(one.address for one in programs if one.kind == "gateway")
    (tmp_path / "logs").mkdir()
    stop = asyncio.Event()
    rows = documented()
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        tasks.create_task(Cluster(programs, tmp_path, port, restarts=False).run(stop))
        stack.callback(stop.set)
        async with asyncio.timeout(120):
            while not await asyncio.to_thread(is_ready, port):
                await asyncio.sleep(0.1)
        assert kinds_of(await capture(broker.env)) == IDLE

        async with open_people(Door(url, url, gateways), "ada", "ben") as (ada, ben):
            group = await ada.create_group(f"Garden {port}")
            await ben.join(group["name"])
            async with open_devices((ada, 0), (ada, 1), (ada, 1), (ben, 1)):
                bindings = await capture(broker.env)
                keys = Counter(bound.key for bound in bindings if bound.key[:2] in {"g.", "u."})
                assert keys == {f"g.{group['id']}": 2, f"u.{ada.id}": 2, f"u.{ben.id}": 1}
                assert kinds_of(bindings) == IDLE | {"node": IDLE["node"] + 5}
                for bound in bindings:
                    assert any(
                        queue.fullmatch(bound.queue)
                        and bound.exchange == f"starling.{exchange}"
                        and any(key.fullmatch(bound.key) for key in its_keys)
                        for queue, exchange, its_keys in rows
                    ), f"{bound} is not in docs/ARCHITECTURE.md"
        async with asyncio.timeout(30):
            while kinds_of(await capture(broker.env)) != IDLE:
                await asyncio.sleep(0.5)
        stop.set()
