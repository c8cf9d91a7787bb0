"""The servers of the comparison, each a process of its own: the limit, Node's, FastAPI's.

Their packages go into a folder outside the sources (`npm install`, once). What is missing raises `NotInstalled` with
what to do. Starling is `tests.bench.starling`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from deploy.local.process import NotInstalled, free_port, start_child
from tests.bench.dialects import PLAIN, RAW, SOCKET_IO, Dialect
from tests.environments import making

_PEERS: Final = Path(__file__).parent / "peers"
_PINNED: Final = _PEERS / "pairs" / "requirements.txt"
_INSTALL_S: Final = 300
_START_S: Final = 20.0
_COLLECT_S: Final = 1.0


@dataclass(frozen=True)
class Server:
    """A running server: its process, where it listens, how to speak to it. `tells` says what it is.

    `collects`: SIGUSR2 makes it collect garbage.
    """

    pid: int
    port: int
    dialect: Dialect
    tells: str
    collects: bool = False

    def collect(self) -> None:
        """Have it collect garbage, if it can be told to."""
        if self.collects:
            os.kill(self.pid, signal.SIGUSR2)
            time.sleep(_COLLECT_S)


@contextmanager
def open_limit(folder: Path, payload_bytes: int) -> Iterator[Server]:
    """Run the limit: in C where there is a compiler, else in Python."""
    command: list[str] = [sys.executable, "-m", "tests.bench.peers.raw_send"]
    tells = "send() in Python"
    if (gcc := shutil.which("gcc")) is not None:
        program = str(folder / "raw_send")
        subprocess.run([gcc, "-O2", "-o", program, str(_PEERS / "raw_send.c")], check=True, timeout=_INSTALL_S)
        command, tells = [program], "send() in C"
    port = free_port()
    with serving("raw_send", [*command, str(port), str(payload_bytes)], port, folder) as pid:
        yield Server(pid, port, RAW, tells)


@contextmanager
def open_ws(folder: Path) -> Iterator[Server]:
    """Run a room on Node's `ws`."""
    node, modules = installed(folder)
    port = free_port()
    command = [node, "--expose-gc", str(modules / "ws_room.mjs"), str(port)]
    with serving("ws_room", command, port, folder) as pid:
        yield Server(pid, port, PLAIN, f"Node ws {version_of(modules, 'ws')}", collects=True)


@contextmanager
def open_socket_io(folder: Path) -> Iterator[Server]:
    """Run a room on Socket.IO."""
    node, modules = installed(folder)
    port = free_port()
    command = [node, "--expose-gc", str(modules / "socket_io_room.mjs"), str(port)]
    with serving("socket_io_room", command, port, folder) as pid:
        yield Server(pid, port, SOCKET_IO, f"Socket.IO {version_of(modules, 'socket.io')}", collects=True)


@contextmanager
def open_fastapi(folder: Path) -> Iterator[Server]:
    """Run a room on FastAPI's own WebSockets, of the environment that this runs in."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.peers.fastapi_room", str(port)]
    with serving("fastapi_room", command, port, folder) as pid:
        yield Server(pid, port, PLAIN, f"FastAPI {version('fastapi')}")


def installed(folder: Path) -> tuple[str, Path]:
    """Return Node and the folder with its packages and our programs in it, installed once. Raises `NotInstalled`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotInstalled("node and npm are not on the PATH (Debian: apt install nodejs npm)")
    modules = folder / "node"
    modules.mkdir(parents=True, exist_ok=True)
    for program in _PEERS.glob("*.mjs"):
        shutil.copy(program, modules)
    wanted = (_PEERS / "package.json").read_text()
    mark = modules / "installed"
    if not mark.exists() or mark.read_text() != wanted:
        (modules / "package.json").write_text(wanted)
        command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        done = subprocess.run(command, cwd=modules, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
        if done.returncode:
            raise NotInstalled(f"npm install failed in {modules}:\n{done.stderr[-2000:]}")
        mark.write_text(wanted)
    return node, modules


def installed_python(folder: Path) -> Path:
    """Return the Python of an environment with the peers that are written in it, made once. Raises `NotInstalled`."""
    environment = folder / "python"
    python, mark = environment / "bin" / "python", environment / "installed"
    if not mark.exists() or mark.read_text() != _PINNED.read_text():
        for command in making(environment, ["-r", str(_PINNED)]):
            done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
            if done.returncode:
                raise NotInstalled(f"the peers' packages could not be installed:\n{done.stderr[-2000:]}")
        mark.write_text(_PINNED.read_text())
    return python


def pinned(package: str) -> str:
    """Return the version of a peer that is written in Python. Raises `KeyError` for what is none."""
    return dict(line.split("==") for line in _PINNED.read_text().split())[package]


def version_of(modules: Path, package: str) -> str:
    """Return the version of a package of Node's that is installed there."""
    return str(json.loads((modules / "node_modules" / package / "package.json").read_text())["version"])


@contextmanager
def serving(name: str, command: Sequence[str], port: int, folder: Path) -> Iterator[int]:
    """Run a server that listens on the port; yield its process. Raises `StartFailed`."""
    child = start_child(name, command, log=folder / f"{name}.log")
    try:
        child.wait_ready(lambda: _listens(port), _START_S)
        yield child.process.pid
    finally:
        child.terminate(grace_s=3)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
