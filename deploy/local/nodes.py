"""The service nodes of a local cluster: `python -m services gateway|history|groups`, each a process of its own.

Deployment code. What was set in the environment (limits, log level, any `STARLING_` setting) reaches every node;
what makes the cluster one (addresses, names, the front door, the secret) is set over it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.local.door import is_ready
from deploy.local.program import Program


@dataclass(frozen=True)
class Backends:
    """What all nodes share: the servers' URLs, the front door's, and the secret that signs tokens."""

    mongo_url: str
    bus_url: str
    cache_url: str
    public_url: str
    secret: str


def node_programs(backends: Backends, ports: Mapping[str, Sequence[int]]) -> list[Program]:
    """Return the nodes; `ports` has the ports of each service's nodes, called service-1, service-2 and so on."""
    return [
        Program(
            service,
            f"{service}-{number}",
            [sys.executable, "-m", "services", service],
            f"http://127.0.0.1:{port}",
            lambda port=port: is_ready(port),  # type: ignore[misc]
            _environment(backends, f"{service}-{number}", port),
            needs=("rabbitmq",) if service == "gateway" else ("rabbitmq", "mongo"),
            grace_s=30,  # a gateway that goes down gives its sessions away first
        )
        for service, some in ports.items()
        for number, port in enumerate(some, 1)
    ]


def _environment(backends: Backends, name: str, port: int) -> dict[str, str]:
    return {
        "STARLING_LOG_FORMAT": "console",
        **os.environ,
        "STARLING_NODE": name,
        "STARLING_HTTP__HOST": "127.0.0.1",
        "STARLING_HTTP__PORT": str(port),
        "STARLING_HTTP__PUBLIC_URL": backends.public_url,
        "STARLING_HTTP__TRUSTED_PROXIES": '["127.0.0.1"]',
        "STARLING_MONGO__URL": backends.mongo_url,
        "STARLING_BUS__URL": backends.bus_url,
        "STARLING_CACHE__URL": backends.cache_url,
        "STARLING_AUTH__SECRET": backends.secret,
        "PYTHONUNBUFFERED": "1",
    }
