"""Leases of presence: how users are on which node, for a while. The seam, and the one in memory.

Ring 2. Held with `services.gateway.redis_presence_leases` by tests/contracts/test_presence_leases.py. A node renews
what it says; what a dead one said runs out. All of it may be lost: its node says it again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from shared.core.model import OFFLINE, Presence


class LeasesUnavailable(Exception):
    """The store did not answer: what was to be written may or may not have been."""


class PresenceLeases(Protocol):
    """How users are, by node. All raise `LeasesUnavailable`."""

    async def put(self, node: str, presences: Mapping[int, Presence], *, ttl_s: float) -> None:
        """Keep how these users are on a node; who is offline is dropped."""

    async def read(self, user_ids: Collection[int]) -> dict[int, dict[str, Presence]]:
        """Return how these users are, by node; those who are nowhere are left out."""


class MemoryPresenceLeases:
    """`PresenceLeases` without a server. `clock` is seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: dict[int, dict[str, tuple[Presence, float]]] = {}

    async def put(self, node: str, presences: Mapping[int, Presence], *, ttl_s: float) -> None:
        """Keep how these users are on a node."""
        for user_id, presence in presences.items():
            nodes = self._held.setdefault(user_id, {})
            nodes.pop(node, None)
            if presence.status != OFFLINE.status:
                nodes[node] = presence, self._clock() + ttl_s
            if not nodes:
                del self._held[user_id]

    async def read(self, user_ids: Collection[int]) -> dict[int, dict[str, Presence]]:
        """Return how these users are, by node."""
        found: dict[int, dict[str, Presence]] = {}
        for user_id in user_ids:
            nodes = self._held.get(user_id, {})
            good = {node: presence for node, (presence, until) in nodes.items() if until > self._clock()}
            if good:
                found[user_id] = good
        return found
