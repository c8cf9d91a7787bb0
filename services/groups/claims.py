"""Unique names: who holds one, and who gets it when its holder never came to be.

Ring 4 (shell). A claim is made before its owner's stream begins, so a crash between the two leaves a claim that
nothing bears out. Such a claim may be taken over after 60 s (rule 12 of docs/rules.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from services.groups.store import Claim, GroupStore
from shared.core.errors import Unavailable
from shared.streams import StreamStore

UNCONFIRMED_MS: Final = 60_000
"""How long a claim holds without an event of its owner; the deadline of who claims is far below."""


class Claims:
    """Claims of one kind of owner; `stream_of` names the stream that bears a claim out."""

    def __init__(
        self, groups: GroupStore, streams: StreamStore, now: Callable[[], int], stream_of: Callable[[int], str]
    ) -> None:
        self._groups = groups
        self._streams = streams
        self._now = now
        self._stream_of = stream_of

    async def take(self, key: str, owner: int) -> bool:
        """Claim a key for a new owner; False if somebody holds it. Raises `StoreUnavailable`.

        A take-over and the late first event of the old owner can cross. So who takes over looks once more
        afterwards and gives back, and who made a first event asks `require_held_by`: at least one of them sees
        the other, and there are never two owners.
        """
        mine = Claim(key, owner, self._now())
        held = await self._groups.claim(mine)
        if held.owner == owner:
            return True
        if mine.at - held.at < UNCONFIRMED_MS or await self._is_borne_out(held):
            return False
        if not await self._groups.replace_claim(held, mine):
            return False
        if await self._is_borne_out(held):
            await self._groups.replace_claim(mine, held)
            return False
        return True

    async def is_taken(self, key: str) -> bool:
        """Return whether the key has an owner for good, to refuse early. Raises `StoreUnavailable`."""
        held = await self._groups.read_claim(key)
        return held is not None and await self._is_borne_out(held)

    async def require_held_by(self, key: str, owner: int) -> None:
        """Raise `Unavailable` if somebody took the claim over meanwhile, `StoreUnavailable` if nobody knows."""
        held = await self._groups.read_claim(key)
        if held is None or held.owner != owner:
            raise Unavailable

    async def owner_of(self, key: str) -> int | None:
        """Return who holds the key, borne out or not. Raises `StoreUnavailable`."""
        held = await self._groups.read_claim(key)
        return held.owner if held is not None else None

    async def _is_borne_out(self, claim: Claim) -> bool:
        return await self._streams.read_bucket(self._stream_of(claim.owner), 1) is not None
