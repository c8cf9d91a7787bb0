"""Channels on MongoDB, of groups and direct ones: one document each.

Ring 3 (adapter).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from services.groups.mongo_documents import VERSION, Documents, one_of, value_of
from shared.core.model import Channel, ChannelType, User

_MOST_CHANNELS: Final = 500
_MOST_DIRECTS: Final = 2_000


class MongoChannels(Documents):
    """The channels of a `GroupStore`. All raise `StoreUnavailable`."""

    async def put_channel(self, channel: Channel, seq: int) -> None:
        """Project a channel of a group, or a direct one."""
        await self._put("channels", channel.id, seq, channel)

    async def remove_channel(self, channel_id: int, seq: int) -> None:
        """Project that a group's channel is gone: a tombstone, in no group's list."""
        await self._mongo.put_newer("channels", channel_id, seq, {"v": VERSION, "gone": True})

    async def read_channel(self, channel_id: int) -> Channel | None:
        """Return a channel."""
        document = await self._read("channels", channel_id)
        return value_of(document, Channel) if document is not None and not document.get("gone") else None

    async def read_channels(self, channel_ids: Sequence[int]) -> dict[int, Channel]:
        """Return those of these channels that are there."""
        query = {"_id": {"$in": list(channel_ids)}, "gone": {"$ne": True}}
        async with self._mongo.asking():
            documents = await self._mongo["channels"].find(query).to_list(len(channel_ids))
        return {int(document["_id"]): msgspec.convert(document, Channel) for document in documents}

    async def list_group_directs(self, user_id: int, limit: int) -> list[Channel]:
        """Return group DMs of a user, newest id first."""
        query = {"recipients.id": user_id, "type": int(ChannelType.GROUP_DIRECT)}
        async with self._mongo.asking():
            documents = await self._mongo["channels"].find(query).sort("_id", -1).limit(limit).to_list(limit)
        return [msgspec.convert(document, Channel) for document in documents]

    async def list_channels(self, group_ids: Sequence[int]) -> dict[int, list[Channel]]:
        """Return the channels of each group by position, then id."""
        query = {"group_id": one_of(group_ids)}
        async with self._mongo.asking():
            documents = await self._mongo["channels"].find(query).to_list(_MOST_CHANNELS * len(group_ids))
        found: dict[int, list[Channel]] = {}
        channels = [msgspec.convert(document, Channel) for document in documents]
        for channel in sorted(channels, key=lambda channel: (channel.position, channel.id)):
            found.setdefault(channel.group_id, []).append(channel)
        return found

    async def close_direct(self, channel_id: int, *, closed: bool) -> None:
        """Say of a direct channel whether anybody may write there."""
        async with self._mongo.asking():
            await self._mongo["channels"].update_one({"_id": channel_id}, {"$set": {"closed": closed}})

    async def rename_recipient(self, user: User) -> None:
        """Show a user in all of its direct channels as it is called now."""
        change = {"$set": {"recipients.$": msgspec.to_builtins(user)}}
        async with self._mongo.asking():
            await self._mongo["channels"].update_many({"recipients.id": user.id}, change)

    async def list_directs(self, user_ids: Sequence[int], limit: int) -> dict[int, list[Channel]]:
        """Return direct channels of each user, newest id first.

        Most users have few, so they are read together; where it is more than a few thousand, by fewer at a time.
        """
        alone = len(user_ids) == 1
        most = limit if alone else _MOST_DIRECTS
        cursor = self._mongo["channels"].find({"recipients.id": one_of(user_ids)}).sort("_id", -1).limit(most)
        async with self._mongo.asking():
            documents = await cursor.to_list(most)
        if not alone and len(documents) == most:
            half = len(user_ids) // 2
            return {
                **await self.list_directs(user_ids[:half], limit),
                **await self.list_directs(user_ids[half:], limit),
            }
        found: dict[int, list[Channel]] = {user_id: [] for user_id in user_ids}
        for document in documents:
            channel = msgspec.convert(document, Channel)
            for recipient in channel.recipients:
                if (its := found.get(recipient.id)) is not None and len(its) < limit:
                    its.append(channel)
        return found
