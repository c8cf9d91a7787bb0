"""nginx for a local cluster: the front door that every deployment has, for this cluster's addresses.

Deployment code. What it says is in `deploy.front_door`; here is only how it runs.
"""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.front_door import OTHER_FILES, FrontDoor, render
from deploy.local.nodes import Place
from deploy.local.process import NotInstalled, exchange_bytes
from deploy.local.program import Program

_MOST_CONNECTIONS = 32768
"""Of each worker, and one may come to have nearly all clients; each of them has two."""


def nginx_program(data: Path, *, port: int, places: Mapping[str, Sequence[Place]], access_log: Path) -> Program:
    """Return nginx on 127.0.0.1:`port` before the nodes; `places` by service. Raises `NotInstalled`."""
    # Debian keeps it out of a plain user's PATH.
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise NotInstalled("nginx is not installed (Debian and Ubuntu: sudo apt-get install nginx)")
    folder = data / "nginx"
    folder.mkdir(exist_ok=True)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    door = FrontDoor(
        listen=(f"127.0.0.1:{port}",),
        upstreams={service: list(map(str, some)) for service, some in places.items()},
        scratch=str(folder),
        access_log=str(access_log),
        error_log="stderr",
        # Else root's workers change to a user to whom the data folder may be closed.
        user="root" if os.geteuid() == 0 else "",
        connections=min(files - OTHER_FILES, _MOST_CONNECTIONS),
    )
    config = folder / "nginx.conf"
    config.write_text(render(door))
    return Program(
        "nginx",
        "nginx",
        [binary, "-c", config, "-e", "stderr", "-g", "daemon off;"],
        f"http://127.0.0.1:{port}",
        lambda: exchange_bytes(port, b"GET /healthz HTTP/1.0\r\n\r\n", b"HTTP/1.1 200"),
        {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        grace_s=3,
    )
