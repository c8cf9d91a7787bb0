"""Redis for a local cluster: in memory only, as nothing in it may be the only copy of anything.

Deployment code.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from deploy.local.process import NotInstalled, exchange_bytes
from deploy.local.program import Program


def redis_program(data: Path, *, port: int) -> Program:
    """Return Redis on 127.0.0.1:`port`. Raises `NotInstalled`."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise NotInstalled("redis-server is not installed (Debian and Ubuntu: sudo apt-get install redis-server)")
    folder = data / "redis"
    folder.mkdir(exist_ok=True)
    return Program(
        "redis",
        "redis",
        [
            binary,
            *("--bind", "127.0.0.1", "--port", str(port), "--dir", folder),
            *("--save", "", "--appendonly", "no", "--maxmemory", "512mb", "--maxmemory-policy", "volatile-lru"),
        ],
        redis_url(port),
        lambda: exchange_bytes(port, b"PING\r\n", b"+PONG"),
        {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        grace_s=4,
    )


def redis_url(port: int) -> str:
    """Return the URL of a Redis that was started on 127.0.0.1:`port`."""
    return f"redis://127.0.0.1:{port}/0"
