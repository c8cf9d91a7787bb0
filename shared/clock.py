"""The wall clock, as the one function that shells hand to core code.

Ring 2. Everything that decides takes its time as an argument; only composition and the defaults of shells
name this module, so that a test tells its own time. Leases and time-outs use a monotonic clock instead.
"""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return the Unix time in ms."""
    return time.time_ns() // 1_000_000
