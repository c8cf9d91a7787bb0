"""A request for a WebSocket, as the HTTP parser has read it.

Ring 1 (core). Made by `shared.http_protocol`, judged by `services.gateway.core.handshake`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Upgrade(NamedTuple):
    """Header names are in lower case, values as they came, without spaces around; `peer`: the other side's address."""

    method: bytes
    target: bytes
    headers: Collection[tuple[bytes, bytes]]
    peer: str = ""
