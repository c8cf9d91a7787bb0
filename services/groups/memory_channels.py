"""Channels in memory, of groups and direct ones.

Ring 2. A part of the group store: see `memory_store`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.groups.memory_projection import Projection
from shared.core.model import Channel, ChannelType, User


class MemoryChannels:
    """The channels of a `GroupStore`."""

    def __init__(self) -> None:
        super().__init__()
        self._channels: Projection[int, Channel | None] = Projection()

    async def put_channel(self, channel: Channel, seq: int) -> None:
        """Project a channel."""
        self._channels.put(channel.id, channel, seq)

    async def remove_channel(self, channel_id: int, seq: int) -> None:
        """Project that a group's channel is gone: a tombstone."""
        self._channels.put(channel_id, None, seq)

    async def read_channel(self, channel_id: int) -> Channel | None:
        """Return a channel."""
        return self._channels.get(channel_id)

    async def read_channels(self, channel_ids: Sequence[int]) -> dict[int, Channel]:
        """Return those of these channels that are there."""
        return {one: channel for one, channel in self._channels.some(channel_ids).items() if channel is not None}

    async def list_group_directs(self, user_id: int, limit: int) -> list[Channel]:
        """Return group DMs of a user, newest id first."""
        there = (one for one in self._channels.values() if one is not None and one.type is ChannelType.GROUP_DIRECT)
        return sorted((one for one in there if one.has(user_id)), key=lambda one: -one.id)[:limit]

    async def list_channels(self, group_ids: Sequence[int]) -> dict[int, list[Channel]]:
        """Return the channels of each group by position, then id."""
        found: dict[int, list[Channel]] = {}
        there = [channel for channel in self._channels.values() if channel is not None]
        for channel in sorted(there, key=lambda channel: (channel.position, channel.id)):
            if channel.group_id in group_ids:
                found.setdefault(channel.group_id, []).append(channel)
        return found

    async def close_direct(self, channel_id: int, *, closed: bool) -> None:
        """Say of a direct channel whether anybody may write there."""
        if (channel := self._channels.get(channel_id)) is not None:
            self._channels.amend(channel_id, msgspec.structs.replace(channel, closed=closed))

    async def rename_recipient(self, user: User) -> None:
        """Show a user in all of its direct channels as it is called now."""
        for channel in self._channels.values():
            if channel is not None and any(one.id == user.id for one in channel.recipients):
                recipients = tuple(user if one.id == user.id else one for one in channel.recipients)
                self._channels.amend(channel.id, msgspec.structs.replace(channel, recipients=recipients))

    async def list_directs(self, user_ids: Sequence[int], limit: int) -> dict[int, list[Channel]]:
        """Return direct channels of each user, newest id first."""
        found: dict[int, list[Channel]] = {}
        there = [channel for channel in self._channels.values() if channel is not None]
        for channel in sorted(there, key=lambda channel: -channel.id):
            for recipient in channel.recipients:
                if recipient.id in user_ids and len(its := found.setdefault(recipient.id, [])) < limit:
                    its.append(channel)
        return found
