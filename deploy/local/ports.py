"""Ports for servers that must find theirs free again when they are restarted.

Deployment code.
"""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

from deploy.local.process import StartFailed

# Below what systems give to outgoing connections (Linux from 32768, others from 49152): one of those could
# take the port of a server that is down for a moment.
_FIRST = 16384
_LAST = 32767


def steady_ports(count: int) -> list[int]:
    """Return so many different ports on 127.0.0.1 that nobody listens on. Raises `StartFailed`."""
    found: list[int] = []
    with ExitStack() as stack:
        for port in random.sample(range(_FIRST, _LAST + 1), _LAST + 1 - _FIRST):
            if len(found) == count:
                return found
            probe = stack.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    raise StartFailed(f"there are no {count} free ports between {_FIRST} and {_LAST}")
