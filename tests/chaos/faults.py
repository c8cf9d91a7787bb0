"""Makes the faults of a plan happen to a cluster that runs here, and notes when each began and was over.

Shells. Processes are hit by signals, links by the proxies that they go through, hosts by their cables. Whatever
happens, who is halted goes on and what is cut is joined when a fault ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from deploy.local.control import ask_restart
from deploy.local.folder import Refused
from tests.chaos.history import FaultBegan, FaultEnded
from tests.chaos.people import World
from tests.chaos.schedule import DOOR, Fault
from tests.cluster.behind import Behind, listed
from tests.hosts import Hosts
from tests.proxy import Proxy

BACK_S: Final = 120.0
"""How long a process that was killed may take until it is ready again, while others are hit, too."""
_LOOK_S: Final = 0.1


class Faults:
    """The faults of one run. `tell` is told of each as it happens; `made` counts them by kind and target."""

    def __init__(self, behind: Behind, hosts: Hosts | None, world: World, tell: Callable[[str], None]) -> None:
        self._behind = behind
        self._hosts = hosts
        self._world = world
        self._tell = tell
        self.made: Counter[str] = Counter()
        self.problems: list[str] = []
        self._rolling = asyncio.Lock()

    async def run(self, plan: Sequence[Fault]) -> None:
        """Make all of them, each at its time; return when the last is over."""
        async with asyncio.TaskGroup() as tasks:
            for fault in plan:
                await asyncio.sleep(max(fault.at - self._world.clock(), 0))
                tasks.create_task(self._make(fault))

    async def _make(self, fault: Fault) -> None:
        self._world.note(FaultBegan, fault.number, fault.kind, fault.target)
        self._tell(f"{self._world.clock():6.1f} s  fault {fault.number}: {fault}")
        try:
            happened = await self._happen(fault)
        finally:
            self._world.note(FaultEnded, fault.number)
        if happened:
            self.made[f"{fault.kind} {fault.target}"] += 1
        else:
            self._tell(f"{self._world.clock():6.1f} s  fault {fault.number} met nobody: {fault.target} was down")

    async def _happen(self, fault: Fault) -> bool:
        """Make a fault and wait until it is over; False if what it should hit was not there."""
        match fault.kind:
            case "kill":
                return await self._kill(fault.target)
            case "stop":
                return await self._stop(fault.target, fault.seconds)
            case "drain" | "restart":
                return await self._restart(fault.target)
            case "roll":
                return await self._roll(fault.target)
            case "overtake":
                return await self._overtake(fault.target, fault.latency_s, fault.seconds)
            case "partition":
                return await self._partition(fault.target, fault.seconds)
        links = self._links(fault.target)
        try:
            for link in links:
                if fault.kind == "cut":
                    link.cut()
                elif fault.kind == "delay":
                    link.delay(fault.latency_s)
                else:
                    link.silence()
            await asyncio.sleep(fault.seconds)
        finally:
            for link in links:
                link.delay(0)
                link.resume()
        return True

    def _links(self, target: str) -> list[Proxy]:
        if target == DOOR:
            return [self._behind.door]
        servers = self._behind.servers
        return [proxy for name, proxy in servers.items() if target in (name, name.partition(".")[2])]

    async def _kill(self, name: str) -> bool:
        pid = self._pid(name)
        starts = listed(self._behind.data, "starts")[name]
        if pid is None or not _signal(pid, signal.SIGKILL):
            return False
        try:
            async with asyncio.timeout(BACK_S):
                while listed(self._behind.data, "starts")[name] == starts or not self._is_ready(name):
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            self.problems.append(f"{name} did not come back within {BACK_S:g} s after it was killed")
        return True

    async def _stop(self, name: str, seconds: float) -> bool:
        pid = self._pid(name)
        if pid is None or not _signal(pid, signal.SIGSTOP):
            return False
        try:
            await asyncio.sleep(seconds)
        finally:
            _signal(pid, signal.SIGCONT)
        return True

    async def _restart(self, name: str) -> bool:
        try:
            await asyncio.to_thread(ask_restart, self._behind.data, name)
        except Refused as refusal:
            self.problems.append(str(refusal))
        return True

    async def _roll(self, service: str) -> bool:
        """Restart all processes of a service one after the other, when no other roll is under way."""
        names = [name for name, kind in listed(self._behind.data, "kind").items() if kind == service]
        async with self._rolling:
            for name in names:
                await self._restart(name)
        return bool(names)

    async def _overtake(self, name: str, latency_s: float, seconds: float) -> bool:
        """Let a worker write late, and have its shards given to another while its writes are on their way."""
        store, broker = self._behind.servers[f"{name}.mongo"], self._behind.servers[f"{name}.rabbitmq"]
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        store.delay(latency_s)
        try:
            while loop.time() < until:
                await asyncio.sleep(2.5 * latency_s)
                broker.cut()
        finally:
            store.delay(0)
        return True

    async def _partition(self, name: str, seconds: float) -> bool:
        if self._hosts is None:
            links = [proxy for link, proxy in self._behind.servers.items() if link.startswith(f"{name}.")]
            try:
                for link in links:
                    link.silence()
                await asyncio.sleep(seconds)
            finally:
                for link in links:
                    link.resume()
            return True
        self._hosts.cut(name)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._hosts.join(name)
        return True

    def _pid(self, name: str) -> int | None:
        pid: int | None = listed(self._behind.data, "pid")[name]
        return pid

    def _is_ready(self, name: str) -> bool:
        return bool(listed(self._behind.data, "state")[name] == "ready")


def _signal(pid: int, number: signal.Signals) -> bool:
    """Send a signal to a process and those it started; False if it is gone. Only its leader is killed with -9."""
    try:
        if number == signal.SIGKILL:
            os.kill(pid, number)
        else:
            os.killpg(pid, number)
    except ProcessLookupError:
        return False
    return True
