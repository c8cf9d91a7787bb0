"""Processes that are measured: waiting until one comes to rest, and what each works meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from deploy.load.usage import cpu_s

_LOOK_S: Final = 0.5
_QUIET: Final = 0.05


def wait_quiet(pid: int, deadline_s: float = 20.0) -> None:
    """Wait until a process hardly works any more, or the deadline."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        before = cpu_s(pid)
        time.sleep(_LOOK_S)
        if cpu_s(pid) - before <= _QUIET * _LOOK_S:
            return


@contextmanager
def counting(pids: Mapping[str, int]) -> Iterator[dict[str, float]]:
    """Yield the processor time, in s, that each process by its name uses inside; it is known at the end."""
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    used: dict[str, float] = {}
    yield used
    used |= {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
