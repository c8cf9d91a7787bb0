"""Facts: what a decision about a group stands on, read at its moment.

Ring 4 (shell). Read inside `Changes.change`, so complete to the seq before the event that is decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from services.groups.core.authority import Facts
from services.groups.store import GroupStore
from shared.core.account_errors import UnknownUser
from shared.core.group_errors import UnknownChannel
from shared.core.model import Channel, Member, User
from shared.core.roles import all_roles


class FactReader:
    """Reads facts. All raise `StoreUnavailable`."""

    def __init__(self, groups: GroupStore, now: Callable[[], int]) -> None:
        self._groups = groups
        self._now = now

    async def facts(self, group_id: int, user_id: int) -> Facts:
        """Return what is so in a group, for a decision that this user asks for."""
        groups, roles, member = await asyncio.gather(
            self._groups.read_groups((group_id,)),
            self._groups.list_roles((group_id,)),
            self.member(group_id, user_id),
        )
        return Facts(groups.get(group_id), all_roles(group_id, roles.get(group_id, ())), member, self._now())

    async def member(self, group_id: int, user_id: int) -> Member | None:
        """Return a member; None for who is not in the group."""
        state = await self._groups.read_member(group_id, user_id)
        return state.member if state is not None else None

    async def members(self, group_id: int, user_ids: Iterable[int]) -> dict[int, Member]:
        """Return those of some users who are members, by user id."""
        pairs = [(group_id, user_id) for user_id in user_ids]
        found = await self._groups.read_members(pairs) if pairs else {}
        return {user_id: member for (_, user_id), member in found.items()}

    async def channels(self, group_id: int) -> dict[int, Channel]:
        """Return the channels of a group by id."""
        found = (await self._groups.list_channels((group_id,))).get(group_id, ())
        return {channel.id: channel for channel in found}

    async def group_of(self, channel_id: int) -> int:
        """Return the group of a channel. Raises `UnknownChannel`, also for a direct one."""
        channel = await self._groups.read_channel(channel_id)
        if channel is None or not channel.group_id:
            raise UnknownChannel
        return channel.group_id

    async def require_user(self, user_id: int) -> User:
        """Return a user. Raises `UnknownUser`."""
        users = await self._groups.read_users((user_id,))
        if user_id not in users:
            raise UnknownUser
        return users[user_id]
