"""Hosts on this machine: network namespaces on one bridge, which can be cut apart as if a cable were pulled.

Everything is in a network namespace of its own, which `isolation` tells how to enter, so nothing of the machine's own
network is touched, and all is gone with the last process in it. Needs Linux, `unshare`, `nsenter`, `ip`, and root or
user namespaces.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

HERE: Final = "10.77.0.1"
"""The address of whoever opened the hosts."""
_BRIDGE: Final = "starling"
_WAYS: Final = (("unshare", "--net"), ("unshare", "--user", "--map-root-user", "--net"))
_TRY: Final = "ip link set lo up && ip link add v0 type veth peer name v1 && ip link add b0 type bridge"
_START_S: Final = 5.0


class NoHosts(Exception):
    """There can be no hosts here; the text says why."""


def isolation() -> tuple[str, ...]:
    """Return the begin of a command that runs the rest in a network of its own. Raises `NoHosts`."""
    if missing := [one for one in ("unshare", "nsenter", "ip", "sleep") if shutil.which(one) is None]:
        raise NoHosts(f"{', '.join(missing)} is not installed (Debian: apt install util-linux iproute2)")
    why = ""
    for way in _WAYS:
        tried = subprocess.run([*way, "sh", "-c", _TRY], capture_output=True, text=True, check=False)
        if tried.returncode == 0:
            return way
        why = tried.stderr.strip().splitlines()[-1] if tried.stderr else f"exit code {tried.returncode}"
    raise NoHosts(f"network namespaces are not allowed: {why}")


class Hosts:
    """Hosts by name, all connected until one is cut off."""

    def __init__(self, names: Sequence[str]) -> None:
        self._numbers = {name: number for number, name in enumerate(names, 2)}
        self._pids: dict[str, int] = {}

    def address(self, name: str) -> str:
        """Return a host's address."""
        return f"10.77.0.{self._numbers[name]}"

    def inside(self, name: str, command: Sequence[str | Path]) -> list[str | Path]:
        """Return the command that runs this on a host, in the same process."""
        return ["nsenter", f"--net=/proc/{self._pids[name]}/ns/net", "--", *command]

    def cut(self, name: str) -> None:
        """Pull a host's cable: what is sent to it or by it is gone, and nobody is told."""
        _run("ip", "link", "set", self._cable(name), "down")

    def join(self, name: str) -> None:
        """Put the cable in again."""
        _run("ip", "link", "set", self._cable(name), "up")

    def _cable(self, name: str) -> str:
        return f"host{self._numbers[name]}"

    def _open(self, name: str, stack: ExitStack) -> None:
        holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        stack.callback(holder.wait)
        stack.callback(holder.kill)
        self._pids[name] = holder.pid
        _wait_apart(holder.pid)
        cable = self._cable(name)
        _run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        _run("ip", "link", "set", cable, "master", _BRIDGE, "up")
        setup = f"ip link set lo up && ip addr add {self.address(name)}/24 dev eth0 && ip link set eth0 up"
        _run(*map(str, self.inside(name, ("sh", "-c", setup))))


@contextmanager
def open_hosts(names: Sequence[str]) -> Iterator[Hosts]:
    """Make hosts in the network of this process, which `isolation` must have made; they end with the context."""
    hosts = Hosts(names)
    with ExitStack() as stack:
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", _BRIDGE, "type", "bridge")
        stack.callback(_run, "ip", "link", "delete", _BRIDGE)
        _run("ip", "addr", "add", f"{HERE}/24", "dev", _BRIDGE)
        _run("ip", "link", "set", _BRIDGE, "up")
        for name in names:
            hosts._open(name, stack)
        yield hosts


def _wait_apart(pid: int) -> None:
    """Wait until a process is in a network of its own."""
    own = Path("/proc/self/ns/net").readlink()
    deadline = time.monotonic() + _START_S
    while Path(f"/proc/{pid}/ns/net").readlink() == own:
        if time.monotonic() > deadline:
            raise NoHosts("a network namespace did not come about")
        time.sleep(0.01)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoHosts(f"{' '.join(command)}: {done.stderr.strip()}")
