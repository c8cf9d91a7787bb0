"""Waiting for a process to come to rest."""

from __future__ import annotations

import time
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
