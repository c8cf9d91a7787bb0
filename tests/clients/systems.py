"""The two systems that bots are tried against: one process as `make run` starts it, a cluster as `make cluster` does.

Both stand behind a proxy that can cut, and tell clients the proxy's address, so that each way in goes through it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from deploy.local.process import free_port
from tests.proxy import Proxy, open_proxy

_ROOT: Final = Path(__file__).parent.parent.parent
_START_S: Final = 150.0
_END_S: Final = 60.0
RESUME_WINDOW_S: Final = 15
MODES: Final = ("one process", "cluster")


class System:
    """A system: bots go to `url`, which is the proxy's; people to `door`, which is always there."""

    def __init__(self, mode: str, data: Path, port: int, proxy: Proxy, log: Path) -> None:
        self.mode = mode
        self.url = f"http://127.0.0.1:{proxy.port}"
        self.door = f"http://127.0.0.1:{port}"
        self.proxy = proxy
        self._data = data
        self._port = port
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it takes work."""
        module = ["deploy.local.cluster", "--gateways", "2"] if self.is_cluster else ["deploy.local.run"]
        settings = {
            "STARLING_HTTP__PUBLIC_URL": self.url,
            "STARLING_GATEWAY__RESUME_WINDOW": f"PT{RESUME_WINDOW_S}S",
        }
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *[sys.executable, "-m", *module, "--port", str(self._port), "--data", str(self._data)],
                cwd=_ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, **settings},
                process_group=0,
            )
        await self.wait_ready()

    async def end(self) -> None:
        """End it as an operator does. Raises `TimeoutError` if it does not, when all of it is killed."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(_END_S):
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise

    async def restart_all(self) -> None:
        """End and start all of it on the same data."""
        await self.end()
        await self.start()

    @property
    def is_cluster(self) -> bool:
        """Whether nodes can die."""
        return self.mode == "cluster"

    def processes(self) -> dict[str, dict[str, Any]]:
        """Return the processes of a cluster by name."""
        listed = json.loads((self._data / "cluster.json").read_text())["processes"]
        return {one["name"]: one for one in listed}

    def kill(self, name: str) -> None:
        """End a process of a cluster with SIGKILL; it is started again."""
        os.kill(self.processes()[name]["pid"], signal.SIGKILL)

    async def restart(self, name: str) -> None:
        """Restart a process of a cluster as an operator does: it drains first."""
        command = [sys.executable, "-m", "deploy.local.control", "--data", str(self._data), "--restart", name]
        process = await asyncio.create_subprocess_exec(*command, cwd=_ROOT, stdout=subprocess.DEVNULL)
        async with asyncio.timeout(_START_S):
            if await process.wait():
                raise RuntimeError(f"{name} did not restart")

    async def wait_ready(self) -> None:
        """Wait until all of it takes work. Raises `RuntimeError` if it ends instead."""

        async def is_ready() -> bool:
            if self._process is not None and self._process.returncode is not None:
                raise RuntimeError(f"it ended with {self._process.returncode}, see {self._log}")
            if self.is_cluster and any(one["state"] != "ready" for one in self.processes().values()):
                return False
            async with httpx.AsyncClient(timeout=5) as http:
                return (await http.get(f"{self.door}/readyz")).status_code == 200

        await _until(is_ready)


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_START_S):
        while True:
            try:
                if await holds():
                    return
            except (httpx.HTTPError, FileNotFoundError):
                pass
            await asyncio.sleep(0.2)


@asynccontextmanager
async def open_system(mode: str, folder: Path) -> AsyncIterator[System]:
    """Start a system with empty data, and end it. Its logs are left in `folder`."""
    port = free_port()
    data = Path(tempfile.mkdtemp(prefix="data-", dir=folder))
    async with open_proxy(port) as proxy:
        system = System(mode, data, port, proxy, folder / f"{mode}.log")
        try:
            await system.start()
            yield system
        finally:
            await system.end()
            for left in (data / "logs", data / "starling.log"):
                if left.exists():
                    shutil.move(left, folder / f"{mode} {left.name}")
            shutil.rmtree(data, ignore_errors=True)
