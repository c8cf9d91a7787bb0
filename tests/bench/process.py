"""What a process used, from /proc: memory and processor time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_LOOK_S: Final = 0.5
_QUIET: Final = 0.05


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used, in user and in kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def resident_bytes(pid: int) -> int:
    """Return a process's resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def wait_quiet(pid: int, deadline_s: float = 20.0) -> None:
    """Wait until a process hardly works any more, or the deadline."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        before = cpu_s(pid)
        time.sleep(_LOOK_S)
        if cpu_s(pid) - before <= _QUIET * _LOOK_S:
            return
