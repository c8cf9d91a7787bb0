"""What a load says while it runs and leaves behind it, and what it needs of the system. Shared with benchmarks.

A client's shell.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from deploy.load.record import Part, Record, Second
from deploy.load.report import line_of, result_of

_EVERY_S: Final = 5.0


class Progress:
    """Says how far a run is, each few seconds, on standard error."""

    def __init__(self, is_terminal: bool) -> None:
        self._every_s = 1.0 if is_terminal else _EVERY_S
        self._next_s = 0.0
        self._cpu_s = 0.0

    def take(self, second: Second) -> None:
        """Take in a second's figures."""
        cpu_s, self._cpu_s = second.load_cpu_s - self._cpu_s, second.load_cpu_s
        if second.at_s >= self._next_s:
            self._next_s = second.at_s + self._every_s - 0.5
            say(line_of(second, cpu_s))


def keep_result(folder: Path, record: Record, parts: list[Part], main: Part, about: Mapping[str, Any]) -> None:
    """Write result.json and, if matplotlib is there, plots; the spread of latencies is that of `main`.

    Raises `OSError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    (folder / "result.json").write_bytes(result_of(record, parts, {**about, **machine}))
    say(f"all of it is in {folder}/result.json")
    try:
        from deploy.load.plots import plot_run
    except ImportError:
        say("no plots: matplotlib is not installed here")
        return
    for path in plot_run(folder, record, main):
        say(f"a plot is in {path}")


def raise_file_limit(needed: int) -> str | None:
    """Open as many files as we may, and our children with us; return what is in the way of `needed`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < needed:
        return f"a process may open {hard} files here, {needed} are needed: raise `ulimit -Hn`, or ask less of each"
    return None


def say(line: str) -> None:
    """Tell how far it is."""
    print(line, file=sys.stderr, flush=True)
