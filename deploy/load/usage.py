"""What processes used, from /proc: processor time and memory, those of their children with them. Linux only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Used(msgspec.Struct, frozen=True):
    """Processor time since their begin, in s, and resident memory, in bytes."""

    cpu_s: float = 0.0
    memory: int = 0

    def __add__(self, other: Used) -> Used:
        return Used(self.cpu_s + other.cpu_s, self.memory + other.memory)


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used, in user and in kernel mode. Raises `OSError`."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def resident_bytes(pid: int) -> int:
    """Return a process's resident memory. Raises `OSError`."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def family_of(pid: int) -> Iterator[int]:
    """Yield a process and all that descend from it and live."""
    yield pid
    with suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from family_of(int(child))


def used_by(pid: int) -> Used:
    """Return what a process and its living descendants used; nothing of one that is gone."""
    used = Used()
    for one in family_of(pid):
        with suppress(OSError):
            used += Used(cpu_s(one), resident_bytes(one))
    return used


class Meter:
    """Adds up what named processes use, across their restarts."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, float]] = {}
        self._before: dict[str, float] = {}

    def read(self, pids: Mapping[str, int]) -> dict[str, Used]:
        """Return what each used since it was read first, whichever process had its name; memory is today's."""
        found: dict[str, Used] = {}
        for name, pid in pids.items():
            used = used_by(pid)
            last_pid, last_s = self._last.get(name, (pid, used.cpu_s))
            start_s = last_s if pid == last_pid else 0.0
            # Less than before: a child is gone, and its time with it.
            self._before[name] = self._before.get(name, 0.0) + max(0.0, used.cpu_s - start_s)
            self._last[name] = (pid, used.cpu_s)
            found[name] = Used(self._before[name], used.memory)
        return found
