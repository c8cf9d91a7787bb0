"""Where clients connect: the gateway's path, and the hint in it by which front doors steer.

Ring 1 (core). With user slots a user is told `/gateway/s/{slot}`: a front door that sends each slot to one node lets
few nodes bind it (docs/operations.md, Steering). It is a path because clients put `?v=10…` behind what they are told,
some after a slash. Any node takes any slot: the hint is for the front door alone.
"""

from __future__ import annotations

import re
from typing import Final

PATH: Final = "/gateway"
_PATHS: Final = re.compile(rf"{PATH}(?:/s/[0-9]{{1,5}})?/?")


def is_gateway(path: str) -> bool:
    """Whether there is a WebSocket at this path."""
    return _PATHS.fullmatch(path) is not None


def gateway_url(front_door: str, slot: int | None) -> str:
    """Return the WebSocket's URL behind a front door (http(s)://host) for users of a slot, or for anyone."""
    hint = "" if slot is None else f"/s/{slot}"
    return f"{front_door.replace('http', 'ws', 1)}{PATH}{hint}"
