"""Faults while a replay runs: gateways of a `make cluster` are killed, restarted, and cut off from their clients.

A client's shell that may signal the cluster's processes, which `cluster.json` and `deploy.local.control` name.
Which fault comes when is chance, from a seed that is told; how many there are and how long they go on is bounded.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.local.control import ask_restart
from deploy.local.folder import STATUS, Refused
from deploy.replay.rest import GaveUp

KINDS: Final = ("gateways", "restart", "cuts")
"""A gateway is killed with -9; one is restarted as an operator does, each in its turn; all clients are cut off."""


@dataclass(frozen=True)
class Plan:
    """Which faults come to the cluster on the folder `data`: one each `every_s`, `most` of them."""

    data: Path
    kinds: tuple[str, ...] = KINDS
    every_s: float = 10.0
    most: int = 1000
    seed: int = 0


class Faults:
    """Makes faults. `tell` is told of each as it happens."""

    def __init__(self, plan: Plan, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._tell = tell
        self._chance = random.Random(plan.seed)  # noqa: S311 (no secret)
        self._restarted = 0
        self.made: Counter[str] = Counter()

    def require_cluster(self) -> None:
        """Return if there is a cluster to make faults in. Raises `Refused`."""
        self._processes()

    async def run(self) -> None:
        """Make all faults, unless it is cancelled. Raises `GaveUp` when the cluster does not do as it should."""
        loop = asyncio.get_running_loop()
        due = began = loop.time()
        for _ in range(self._plan.most):
            due = max(due + self._plan.every_s, loop.time())
            await asyncio.sleep(due - loop.time())
            kind = self._chance.choice(self._plan.kinds)
            try:
                self._tell(f"fault at {loop.time() - began:.1f} s: {await self._make(kind)}")
            except Refused as refusal:
                raise GaveUp(str(refusal)) from refusal

    async def _make(self, kind: str) -> str:
        """Make a fault; return what happened."""
        processes = self._processes()
        gateways = [one for one in processes if one["kind"] == "gateway"]
        self.made[kind] += 1
        if kind == "restart":
            name = gateways[self._restarted % len(gateways)]["name"]
            self._restarted += 1
            return await self._restart(name)
        if kind == "cuts":
            await self._restart(next(one["name"] for one in processes if one["kind"] == "nginx"))
            return "all connections are cut, by a restart of the front door"
        if not (alive := [one for one in gateways if one["state"] == "ready"]):
            self.made[kind] -= 1
            return "no gateway is left that could be killed"
        victim = self._chance.choice(alive)
        _kill(victim["pid"])
        return f"{victim['name']} is killed, pid {victim['pid']}"

    def _processes(self) -> Sequence[dict[str, Any]]:
        data = self._plan.data
        try:
            processes: list[dict[str, Any]] = json.loads((data / STATUS).read_text())["processes"]
        except (OSError, ValueError, KeyError) as error:
            raise Refused(f"no cluster runs on {data}; start one: make cluster DATA={data}") from error
        return processes

    async def _restart(self, name: str) -> str:
        return await asyncio.to_thread(ask_restart, self._plan.data, name)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
