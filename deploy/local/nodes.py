"""The service nodes of a local cluster: `python -m services gateway|history|groups`, each a process of its own.

Deployment code. What was set in the environment (limits, log level, any `STARLING_` setting) reaches every node;
what makes the cluster one (addresses, names, the front door, the secret) is set over it.
"""

from __future__ import annotations

import json
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


@dataclass(frozen=True)
class Place:
    """Where a node listens, and from which address the front door comes to it."""

    port: int
    host: str = "127.0.0.1"
    door: str = "127.0.0.1"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def node_programs(backends: Backends, places: Mapping[str, Sequence[Place]]) -> list[Program]:
    """Return the nodes; `places` has where each service's nodes listen, called service-1, service-2 and so on."""
    return [
        Program(
            service,
            f"{service}-{number}",
            [sys.executable, "-m", "services", service],
            f"http://{place}",
            lambda place=place: is_ready(place.port, place.host),  # type: ignore[misc]
            _environment(backends, f"{service}-{number}", place),
            needs=("rabbitmq",) if service == "gateway" else ("rabbitmq", "mongo"),
            grace_s=30,  # a gateway that goes down gives its sessions away first
        )
        for service, some in places.items()
        for number, place in enumerate(some, 1)
    ]


def _environment(backends: Backends, name: str, place: Place) -> dict[str, str]:
    return {
        "STARLING_LOG_FORMAT": "console",
        **os.environ,
        "STARLING_NODE": name,
        "STARLING_HTTP__HOST": place.host,
        "STARLING_HTTP__PORT": str(place.port),
        "STARLING_HTTP__PUBLIC_URL": backends.public_url,
        "STARLING_HTTP__TRUSTED_PROXIES": json.dumps([place.door]),
        "STARLING_MONGO__URL": backends.mongo_url,
        "STARLING_BUS__URL": backends.bus_url,
        "STARLING_CACHE__URL": backends.cache_url,
        "STARLING_AUTH__SECRET": backends.secret,
        "PYTHONUNBUFFERED": "1",
    }
