"""What the hub asks of its shell.

Ring 1 (core). Values; `services.gateway.following` performs them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Generic

from services.gateway.core.state import S
from shared.core.revocation import Revocations
from shared.core.wire.values import Json


@dataclass(frozen=True, slots=True)
class Dispatch(Generic[S]):
    """Encode this once and send it to these sessions. `stream` and `seq`: the durable event that it tells, if any."""

    t: str
    d: Json
    sessions: Collection[S]
    stream: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True)
class FollowGroup:
    """A local user joined a group that is not followed: bind its key, read its body, call `put_group`."""

    group_id: int


@dataclass(frozen=True, slots=True)
class Repair:
    """The unit is held back: read what it misses, `fill` it in, then `release` it."""

    unit: str


@dataclass(frozen=True, slots=True)
class Expel(Generic[S]):
    """End those of these sessions whose token is void."""

    sessions: Collection[S]
    revocations: Revocations


Out = Dispatch[S] | FollowGroup | Repair | Expel[S]
