"""Profiles: what users tell of themselves, how they are found, and who hears of a change.

Ring 4 (shell). A new username is claimed first; the old one is free from the moment when the change is stored. The
user's own sessions hear of it by the user's stream; members of its groups by those, which a job tells (rule 12 of
docs/rules.md). The job ends by showing the name in direct channels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from services.groups.changes import Changes
from services.groups.claims import Claims
from services.groups.core.decisions import MAX_GROUPS
from services.groups.core.names import require_prefix, require_username, username_key, username_taken
from services.groups.core.profiles import (
    ProfileChange,
    decide_profile,
    decide_rename_member,
    require_bio,
    require_global_name,
)
from services.groups.store import GroupStore, Profile
from shared.core.account_errors import UnknownUser
from shared.core.errors import Unauthorized
from shared.core.events import AnyBody
from shared.core.group_errors import UnknownGroup
from shared.core.model import User
from shared.core.stream import group_stream, user_stream
from shared.core.titles import key_of_name

_GROUPS_AT_ONCE: Final = 8


class Profiles:
    """Reads and changes profiles. All raise `StoreUnavailable` and `Unavailable` beside what they tell."""

    def __init__(self, groups: GroupStore, changes: Changes, usernames: Claims) -> None:
        self._groups = groups
        self._changes = changes
        self._usernames = usernames

    async def read_own(self, user_id: int) -> Profile:
        """Return the caller's profile. Raises `Unauthorized` where a token outlived its account's database."""
        profile = await self._groups.read_profile(user_id)
        if profile is None or profile.gone:
            raise Unauthorized
        return profile

    async def read(self, user_id: int) -> Profile:
        """Return anyone's profile. Raises `UnknownUser`."""
        profile = await self._groups.read_profile(user_id)
        if profile is None:
            raise UnknownUser
        return profile

    async def find(self, query: str, after: int, limit: int) -> Sequence[User]:
        """Return users whose username begins so, folded, by that name; behind the user `after` if it is not 0.

        Raises `InvalidForm` for a query in which nothing can be seen.
        """
        prefix = require_prefix(query)
        last = (await self._groups.read_users((after,))).get(after) if after else None
        return await self._groups.find_users(prefix, key_of_name(last.username) if last is not None else "", limit)

    async def change(self, user_id: int, change: ProfileChange) -> Profile:
        """Change what the user tells of itself; return the profile then. Raises `InvalidForm`, `Unauthorized`."""
        if change.global_name is not msgspec.UNSET:
            change = msgspec.structs.replace(change, global_name=require_global_name(change.global_name))
        if change.bio is not msgspec.UNSET:
            require_bio(change.bio)
        before = (await self.read_own(user_id)).user.username
        key = ""
        if change.username is not msgspec.UNSET:
            name = require_username(change.username)
            change = msgspec.structs.replace(change, username=name)
            if username_key(name) != username_key(before):
                key = username_key(name)
                if not await self._usernames.take(key, user_id):
                    raise username_taken()
        await self._tell(user_id, change, key)
        if key and await self._usernames.owner_of(key) != user_id:
            await self._give_up(user_id, before)
            raise username_taken()
        return await self.read_own(user_id)

    async def _tell(self, user_id: int, change: ProfileChange, key: str = "") -> None:
        async def decide(_: int) -> AnyBody | None:
            profile = await self.read_own(user_id)
            if key:
                await self._usernames.require_held_by(key, user_id)
            return decide_profile(profile.user, profile.bio, profile.owner, change)

        await self._changes.change(user_stream(user_id), decide)

    async def _give_up(self, user_id: int, before: str) -> None:
        """Give a name back that somebody took over while we hung for a minute between claiming and telling it."""
        for name in (before, f"user {user_id}"):
            if await self._usernames.take(username_key(name), user_id):
                return await self._tell(user_id, ProfileChange(username=name))
        return None

    async def tell_groups(self, user_id: int) -> None:
        """Tell all groups and direct channels of a user what it is called. Idempotent; the work of a job."""
        user = (await self._groups.read_users((user_id,))).get(user_id)
        if user is None:
            return
        at_once = asyncio.Semaphore(_GROUPS_AT_ONCE)

        async def tell(group_id: int) -> None:
            async def decide(_: int) -> AnyBody | None:
                state = await self._groups.read_member(group_id, user_id)
                now = (await self._groups.read_users((user_id,)))[user_id]
                return decide_rename_member(state.member if state is not None else None, now)

            async with at_once:
                with suppress(UnknownGroup):  # deleted meanwhile
                    await self._changes.change(group_stream(group_id), decide)

        joined = (await self._groups.list_memberships((user_id,), MAX_GROUPS)).get(user_id, [])
        await asyncio.gather(*map(tell, joined))
        await self._groups.rename_recipient(user)
