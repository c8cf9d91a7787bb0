"""What a benchmark leaves behind: `FOLDER/NAME/result.json`, its figures with where and on what it ran.

`python -m docs.generate --results FOLDER` takes results into the documents.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import msgspec

_ROOT: Final = Path(__file__).parent.parent.parent
_ASK_S: Final = 10.0
_PROGRAMS: Final[Mapping[str, Sequence[str]]] = {
    "Redis": ("redis-server", "--version"),
    "nginx": ("nginx", "-v"),
    "Node": ("node", "--version"),
    "mongod": ("mongod", "--version"),
}
_NUMBER: Final = re.compile(r"\d+(\.\d+)+")
_RABBITMQ: Final = Path("/usr/lib/rabbitmq/lib")


class Ran:
    """A run, from when this was made on: its machine, versions, its commit then, the machine's load at both ends."""

    def __init__(self) -> None:
        self.load_before = os.getloadavg()[0]
        self._commit = _commit()

    def about(self) -> dict[str, Any]:
        """Return it, as of now."""
        return {
            "cores": os.cpu_count(),
            "processor": platform.machine(),
            "load_before": self.load_before,
            "load_after": os.getloadavg()[0],
            "commit": self._commit,
            "versions": versions(),
        }


def keep(folder: Path, name: str, ran: Ran, figures: Mapping[str, Any]) -> Path:
    """Write a benchmark's result below the folder; return the file. Raises `OSError`."""
    path = folder / name / "result.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode({"about": ran.about(), **figures}), indent=1) + b"\n")
    return path


def versions() -> dict[str, str]:
    """Return the versions of what may take part and is installed here."""
    found = {"Python": platform.python_version()}
    # Its own program starts an Erlang to tell.
    if (broker := next(_RABBITMQ.glob("rabbitmq_server-*"), None)) is not None:
        found["RabbitMQ"] = broker.name.partition("-")[2]
    for name, command in _PROGRAMS.items():
        if shutil.which(command[0]) and (number := _NUMBER.search(_said(command))):
            found[name] = number[0]
    for name in ("secantusdb", "uvloop"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    """Return the commit of the sources, with a plus where they were changed; nothing if they are not git's."""
    commit = _said(("git", "rev-parse", "--short", "HEAD")).strip()
    is_changed = commit and _said(("git", "status", "--porcelain", "--untracked-files=no"))
    return f"{commit}+" if is_changed else commit


def _said(command: Sequence[str]) -> str:
    """Return what a program says; nothing where it fails."""
    try:
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=_ASK_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout + done.stderr
