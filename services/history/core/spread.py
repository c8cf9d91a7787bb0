"""Which replica works which shard: rendezvous hashing over those that were heard of lately.

Ring 1 (core). The first in rank owns a shard; the second stands by at its queue, so that it goes on at once when
the owner dies. RabbitMQ's single active consumer and the conditional commit keep any disagreement harmless;
the spread only shares the work. `services.history.spreading` sends and hears the signs of life.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from shared.core.signs import Sign

SIGN_S: Final = 1.0
"""How often a replica gives a sign of life."""
ALIVE_MS: Final = 3_500
"""How long after its last sign a replica counts as alive."""
OWNER: Final = 0
STANDBY: Final = 1
MAX_REPLICAS: Final = 1_000


class Spread:
    """What one replica knows of the others. `now` is ms of a clock that never goes back."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._heard: dict[str, int] = {}

    def hear(self, sign: Sign, now: int) -> None:
        """Take in a sign of life."""
        if sign.leaves:
            self._heard.pop(sign.name, None)
        elif sign.name in self._heard or len(self._heard) < MAX_REPLICAS:
            self._heard[sign.name] = now

    def alive(self, now: int) -> list[str]:
        """Return the names of the replicas that are alive; oneself always is."""
        for name in [name for name, at in self._heard.items() if now - at >= ALIVE_MS]:
            del self._heard[name]
        return sorted({self._own, *self._heard})

    def rank(self, shard: int, now: int) -> int:
        """Return this replica's rank for a shard: 0 owns it, 1 stands by, the others leave it alone."""
        return ranking(shard, self.alive(now)).index(self._own)


def ranking(shard: int, names: Iterable[str]) -> list[str]:
    """Return the names in their rank for a shard: the same in every process (rendezvous hashing)."""
    return sorted(names, key=lambda name: blake2b(f"{shard}:{name}".encode(), digest_size=8).digest())
