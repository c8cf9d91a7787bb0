"""Unique names: who holds one, and who gets it when its holder never came to be, or is called otherwise now.

Ring 4 (shell). A claim is made before its owner's stream tells the name, so a crash between the two leaves a claim
that nothing bears out; so does another name for the owner. Such a claim may be taken over 60 s after it was made
(rule 12 of docs/rules.md).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from services.groups.changes import Changes
from services.groups.core.names import group_name_key, username_key
from services.groups.store import Claim, GroupStore
from shared.core.errors import Unavailable
from shared.core.stream import group_stream, user_stream
from shared.streams import StreamStore

UNCONFIRMED_MS: Final = 60_000
"""How long a claim holds without an event of its owner; the deadline of who claims is far below."""


BearsOut = Callable[[Claim], Awaitable[bool]]
"""Whether the owner of a claim is called so. Raises `StoreUnavailable`, `Unavailable`."""


def group_bears_out(streams: StreamStore, groups: GroupStore, changes: Changes) -> BearsOut:
    """Return how a group bears out the claim of a name: by being public under it, as far as its stream goes."""

    async def bears_out(claim: Claim) -> bool:
        stream = group_stream(claim.owner)
        if await streams.read_bucket(stream, 1) is None:
            return False
        await changes.settle(stream)
        group = (await groups.read_groups((claim.owner,))).get(claim.owner)
        return group is not None and group.public and group_name_key(group.name) == claim.key

    return bears_out


def user_bears_out(streams: StreamStore, groups: GroupStore, changes: Changes) -> BearsOut:
    """Return how a user bears out the claim of a username: by being called so, as far as its stream goes."""

    async def bears_out(claim: Claim) -> bool:
        stream = user_stream(claim.owner)
        if await streams.read_bucket(stream, 1) is None:
            return False
        await changes.settle(stream)
        profile = await groups.read_profile(claim.owner)
        return profile is not None and not profile.gone and username_key(profile.user.username) == claim.key

    return bears_out


class Claims:
    """Claims of one kind of owner. All raise `StoreUnavailable` and what `bears_out` raises."""

    def __init__(self, groups: GroupStore, now: Callable[[], int], bears_out: BearsOut) -> None:
        self._groups = groups
        self._now = now
        self._is_borne_out = bears_out

    async def take(self, key: str, owner: int) -> bool:
        """Claim a key for an owner who is not called so yet; False if somebody else holds it.

        A take-over and the late first event of the old owner can cross. So who takes over looks once more
        afterwards and gives back, and who told the name asks `require_held_by`: at least one of them sees
        the other, and there are never two owners.
        """
        mine = Claim(key, owner, self._now())
        held = await self._groups.claim(mine)
        if held == mine:
            return True
        if held.owner == owner:  # of an earlier attempt, or of when it was called so before
            return await self._groups.replace_claim(held, mine) or await self.owner_of(key) == owner
        if mine.at - held.at < UNCONFIRMED_MS or await self._is_borne_out(held):
            return False
        if not await self._groups.replace_claim(held, mine):
            return False
        if await self._is_borne_out(held):
            await self._groups.replace_claim(mine, held)
            return False
        return True

    async def reserve(self, key: str, owner: int, until: int) -> None:
        """Keep a key that its owner is not called by any more from others until then (Unix ms)."""
        held = await self._groups.read_claim(key)
        if held is not None and held.owner == owner and held.at < until - UNCONFIRMED_MS:
            await self._groups.replace_claim(held, Claim(key, owner, until - UNCONFIRMED_MS))

    async def is_taken(self, key: str) -> bool:
        """Return whether the key has an owner for good, to refuse early."""
        held = await self._groups.read_claim(key)
        return held is not None and await self._is_borne_out(held)

    async def require_held_by(self, key: str, owner: int) -> None:
        """Raise `Unavailable` if somebody took the claim over meanwhile."""
        held = await self._groups.read_claim(key)
        if held is None or held.owner != owner:
            raise Unavailable

    async def owner_of(self, key: str) -> int | None:
        """Return who holds the key, borne out or not."""
        held = await self._groups.read_claim(key)
        return held.owner if held is not None else None
