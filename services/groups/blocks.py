"""Blocks: a user wants to hear nothing from another one in private.

Ring 4 (shell). Who blocks whom stands in the blocker's stream. What follows for the direct channel of the two is a job:
nobody writes there. Every node that follows the channel hears it by either user's stream, so that it refuses at once
what the shard of the channel would refuse, too (rule 10 of docs/rules.md). Groups are not concerned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from services.groups.changes import Changes
from services.groups.core.names import pair_key
from services.groups.jobs import CLOSE, Jobs
from services.groups.store import GroupStore
from shared.core.account_errors import TooManyBlocked, UnknownUser
from shared.core.errors import InvalidForm, Unavailable
from shared.core.events import AnyBody
from shared.core.model import Channel, User
from shared.core.stream import user_stream
from shared.core.user_events import DirectChanged, UserBlocked

MAX_BLOCKED: Final = 1_000
"""Users whom one may block."""
_LOOKS: Final = 8


class Blocks:
    """Blocks and unblocks. All raise `StoreUnavailable` and `Unavailable` beside what they tell."""

    def __init__(self, groups: GroupStore, changes: Changes, jobs: Jobs, now: Callable[[], int]) -> None:
        self._groups = groups
        self._changes = changes
        self._jobs = jobs
        self._now = now

    async def list_own(self, user_id: int) -> list[User]:
        """Return whom the caller blocks, by id."""
        blocked = await self._groups.list_blocked(user_id, MAX_BLOCKED * 2)
        found: dict[int, User] = {}
        for first in range(0, len(blocked), MAX_BLOCKED):
            found |= await self._groups.read_users(blocked[first : first + MAX_BLOCKED])
        return [found[one] for one in blocked if one in found]

    async def change(self, user_id: int, other_id: int, *, present: bool) -> None:
        """Block a user, or do so no more. When this returns neither writes in their direct channel, or both may again.

        Idempotent. Raises `UnknownUser`, `TooManyBlocked`, `InvalidForm` for oneself.
        """
        if user_id == other_id:
            raise InvalidForm({"user_id": [("BASE_TYPE_CHOICES", "You cannot block yourself.")]})
        other = (await self._groups.read_users((other_id,))).get(other_id)
        if other is None:
            raise UnknownUser
        blocked = user_id, other_id
        already = await self._groups.list_blocked(user_id, MAX_BLOCKED)
        if present and other_id not in already and len(already) >= MAX_BLOCKED:
            raise TooManyBlocked
        claim = await self._groups.read_claim(pair_key(user_id, other_id))
        job = await self._jobs.promise(CLOSE, claim.owner) if claim is not None else None

        async def decide(_: int) -> AnyBody | None:
            is_so = blocked in await self._groups.read_blocks((blocked,))
            return UserBlocked(other, present) if is_so != present else None

        await self._changes.change(user_stream(user_id), decide)
        if job is None and (claim := await self._groups.read_claim(pair_key(user_id, other_id))) is not None:
            job = await self._jobs.promise(CLOSE, claim.owner)  # a channel that began meanwhile
        if job is not None:
            await self._jobs.finish(job)

    async def is_closed(self, one: int, other: int) -> bool:
        """Return whether one of two users blocks the other, or is gone."""
        if await self._groups.read_blocks(((one, other), (other, one))):
            return True
        profiles = [await self._groups.read_profile(user_id) for user_id in (one, other)]
        return any(profile is not None and profile.gone for profile in profiles)

    async def settle(self, channel: Channel) -> Channel:
        """Return a direct channel as the blocks of its users have it; where it was not so, it is made so."""
        one, other = (user.id for user in channel.recipients)
        if await self.is_closed(one, other) == channel.closed:
            return channel
        await self._jobs.finish(await self._jobs.promise(CLOSE, channel.id))
        return await self._groups.read_channel(channel.id) or channel

    async def close(self, channel_id: int) -> None:
        """Close a direct channel, or open it again, as the blocks of its users have it. Idempotent; the work of a job.

        Who writes what is so looks again: the last of several that do so at once leaves what is so.
        """
        channel = await self._groups.read_channel(channel_id)
        if channel is None:
            return  # it is not there yet; who opens it looks
        users = tuple(user.id for user in channel.recipients)
        closed = await self.is_closed(*users)
        for _ in range(_LOOKS):
            await self._groups.close_direct(channel_id, closed=closed)
            before, closed = closed, await self.is_closed(*users)
            if closed == before:
                break
        else:
            raise Unavailable

        async def decide(_: int) -> AnyBody | None:
            return DirectChanged(channel_id, await self.is_closed(*users))

        for user_id in users:
            await self._changes.change(user_stream(user_id), decide)
