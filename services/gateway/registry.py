"""The session registry: which node has which session, and had it before. The seam.

Ring 2. Implementations: `MemoryRegistry` (memory_registry.py) and `RedisRegistry` (redis_registry.py), held by
tests/contracts/test_registry.py. What is in it may be lost: its node writes it again. While a session is not found only
the node where it began is asked for it; if it is not there its client identifies anew (INVALID_SESSION). Changed only
by compare-and-set on the claim epoch, so that of two nodes that take over one session the lower epoch loses
(docs/rules.md, 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

MOST_LINKS: Final = 8
"""So many places of a session are known, the newest ones."""

Lifted = tuple[int, int]
"""A client that tells the first `s` had all that the session was sent until its node's counter was at the second."""

NOT_LIFTED: Final[Lifted] = (0, 0)


class Link(msgspec.Struct, frozen=True, array_like=True):
    """A place where a session lived: node and incarnation, and the `s` from which on its frames are of there.

    `came_s` is what its client told when it came there from another place; 0 where the session began.
    """

    node: str
    s0: int
    came_s: int = 0


class SessionEntry(msgspec.Struct, frozen=True):
    """Where a session lives and lived, newest last. `epoch` counts claims from 1.

    `lifted` is as of the last touch. `extra` is what another node needs to go on with it, and is never read here.
    """

    session_id: str
    user_id: int
    epoch: int
    links: tuple[Link, ...]
    extra: bytes = b""
    lifted: Lifted = NOT_LIFTED

    @property
    def node(self) -> str:
        """The node that has it, or had it last."""
        return self.links[-1].node

    def moved_to(self, node: str, s0: int, came_s: int) -> SessionEntry:
        """Return the entry with which this node claims the session; its own frames have an `s` of `s0` or more."""
        links = (*self.links, Link(node, s0, came_s))[-MOST_LINKS:]
        return msgspec.structs.replace(self, epoch=self.epoch + 1, links=links, lifted=NOT_LIFTED)

    def lift(self, told_s: int) -> int:
        """Return the highest `s` of its node that means the same as what the client told.

        Who is sent nothing for long tells an `s` from before the oldest checkpoint of a trail; this one is newer.
        """
        return max(told_s, self.lifted[1]) if told_s == self.lifted[0] else told_s


def is_same_claim(stored: SessionEntry | None, entry: SessionEntry) -> bool:
    """Whether this claim is stored already; what touches change does not count."""
    return stored is not None and msgspec.structs.replace(stored, lifted=entry.lifted) == entry


class RegistryUnavailable(Exception):
    """The registry did not answer; the session goes on, but can't be found by other nodes."""


class SessionRegistry(Protocol):
    """Entries by session id, each with a time to live. All raise `RegistryUnavailable`."""

    async def claim(self, entry: SessionEntry, *, ttl_s: float) -> bool:
        """Store the entry if its epoch is one above the stored one's (1: none stored); True if it is ours now.

        Idempotent: the same claim again only begins its time to live anew.
        """

    async def claim_many(self, entries: Sequence[SessionEntry], *, ttl_s: float) -> list[bool]:
        """Claim many in one question, each for itself."""

    async def restore(self, entry: SessionEntry, *, ttl_s: float) -> bool:
        """Store an entry that was claimed before; False if a later claim, or another one of this epoch, is stored.

        An earlier one is replaced: of two nodes that restore one session, the later claim wins.
        """

    async def touch(self, session_id: str, epoch: int, lifted: Lifted, *, ttl_s: float) -> bool:
        """Begin the time to live anew, and store `lifted`; False if it is gone or was claimed by a later epoch."""

    async def touch_many(self, entries: Sequence[SessionEntry], *, ttl_s: float) -> list[bool]:
        """Touch many in one question, each for itself, with their `lifted`."""

    async def read(self, session_id: str) -> SessionEntry | None:
        """Return where a session lives."""

    async def read_many(self, session_ids: Sequence[str]) -> dict[str, SessionEntry]:
        """Return where sessions live, those that there are, by one question."""

    async def release_many(self, claims: Sequence[tuple[str, int]]) -> list[bool]:
        """Remove the entries of these sessions that still have these epochs, in one question, each for itself."""
