"""Faults while a replay runs: processes of a `make cluster` are killed, halted, restarted, and cut off from clients.

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

KINDS: Final = ("gateways", "restart", "cuts", "history", "pause", "mongo", "rabbit")
"""A gateway is killed with -9; one is restarted as an operator does, each in its turn; all clients are cut off.
One history process or all are killed with -9, or halted (SIGSTOP) for some seconds; MongoDB is halted for `MONGO_S`,
and killed or let go on then; RabbitMQ is restarted."""
MONGO_S: Final = 30.0
_MONGO_REST_S: Final = 30.0
"""How long MongoDB is left alone after it was away."""
_PAUSE_S: Final = (1.0, 15.0)
"""RabbitMQ gives up who is silent for about 9 s: some pauses are noticed, some are not."""
_ALL: Final = 1 / 3
"""How often a fault of history is one of all its processes."""


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
        self._mongo_rests_until = 0.0
        self.made: Counter[str] = Counter()

    def require_cluster(self) -> None:
        """Return if there is a cluster to make faults in. Raises `Refused`."""
        self._processes()

    async def run(self) -> None:
        """Make all faults, unless it is cancelled: then whoever is halted goes on.

        Raises `GaveUp` (in a group) when the cluster does not do as it should.
        """
        loop = asyncio.get_running_loop()
        due = began = loop.time()
        async with asyncio.TaskGroup() as halts:
            for _ in range(self._plan.most):
                due = max(due + self._plan.every_s, loop.time())
                await asyncio.sleep(due - loop.time())
                kind = self._chance.choice(self._plan.kinds)
                if kind == "mongo" and loop.time() < self._mongo_rests_until:
                    continue
                try:
                    self._tell(f"fault at {loop.time() - began:.1f} s: {await self._make(kind, halts)}")
                except Refused as refusal:
                    raise GaveUp(str(refusal)) from refusal

    async def _make(self, kind: str, halts: asyncio.TaskGroup) -> str:
        """Make a fault; return what happened. One that takes its time goes on in `halts`."""
        processes = self._processes()
        if kind in ("history", "pause"):
            return self._make_history(kind, [one for one in processes if one["kind"] == "history"], halts)
        if kind == "mongo":
            self.made[kind] += 1
            mongo = next(one for one in processes if one["kind"] == "mongo")
            killed = self._chance.random() < 1 / 2
            self._mongo_rests_until = asyncio.get_running_loop().time() + MONGO_S + _MONGO_REST_S
            halts.create_task(_halt([mongo["pid"]], MONGO_S, signal.SIGKILL if killed else signal.SIGCONT))
            return f"mongo is halted for {MONGO_S:g} s, and {'killed' if killed else 'goes on'} then"
        if kind == "rabbit":
            self.made[kind] += 1
            return await self._restart("rabbitmq")
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
        _signal(victim["pid"], signal.SIGKILL)
        return f"{victim['name']} is killed, pid {victim['pid']}"

    def _make_history(self, kind: str, processes: Sequence[dict[str, Any]], halts: asyncio.TaskGroup) -> str:
        alive = [one for one in processes if one["state"] == "ready"]
        if not alive:
            return "no history process is left for a fault"
        self.made[kind] += 1
        victims = alive if self._chance.random() < _ALL else [self._chance.choice(alive)]
        names = " and ".join(one["name"] for one in victims)
        pids = [one["pid"] for one in victims]
        if kind == "history":
            for pid in pids:
                _signal(pid, signal.SIGKILL)
            return f"{names} killed"
        seconds = self._chance.uniform(*_PAUSE_S)
        halts.create_task(_halt(pids, seconds, signal.SIGCONT))
        return f"{names} halted for {seconds:.1f} s"

    def _processes(self) -> Sequence[dict[str, Any]]:
        data = self._plan.data
        try:
            processes: list[dict[str, Any]] = json.loads((data / STATUS).read_text())["processes"]
        except (OSError, ValueError, KeyError) as error:
            raise Refused(f"no cluster runs on {data}; start one: make cluster DATA={data}") from error
        return processes

    async def _restart(self, name: str) -> str:
        return await asyncio.to_thread(ask_restart, self._plan.data, name)


async def _halt(pids: Sequence[int], seconds: float, then: signal.Signals) -> None:
    """Stop processes for so long; let them go on at once when cancelled."""
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        then = signal.SIGCONT
        raise
    finally:
        for pid in pids:
            _signal(pid, then)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
