"""Direct channels: opened once per pair of users, through the log; closed by each user alone.

Ring 4 (shell). Two steps: claim the pair (names the channel id), begin the channel's stream by a command whose id is
the channel's, which its shard projects, too. Each is idempotent, so whoever asks next finishes what a crash cut off,
and both users get the same channel however they race (rule 12 of docs/rules.md).

Who closes one does so in the user's own stream, up to the message that is the last one then: so the next message shows
it again without that anything is written for it. Why it is so: docs/adr/0022-a-closed-direct-channel-is-a-mark.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from services.groups.blocks import Blocks
from services.groups.changes import Changes
from services.groups.core.names import pair_key
from services.groups.store import Claim, GroupStore
from shared.command_log import CommandLog
from shared.core.account_errors import CannotMessageUser, UnknownUser
from shared.core.calls import is_hidden
from shared.core.commands import COMMAND_LIFETIME_MS, OpenDirect
from shared.core.errors import Unauthorized, Unavailable
from shared.core.events import AnyBody
from shared.core.group_errors import UnknownChannel
from shared.core.ids import IdSource
from shared.core.model import Channel, ChannelType, LastMessage
from shared.core.stream import channel_stream, user_stream
from shared.core.user_events import DirectHidden, DirectShown
from shared.streams import StreamStore

SEND_TIMEOUT_S: Final = 10.0


class Directs:
    """Opens direct channels, and closes them."""

    def __init__(
        self,
        groups: GroupStore,
        streams: StreamStore,
        blocks: Blocks,
        changes: Changes,
        commands: CommandLog,
        ids: IdSource,
        now: Callable[[], int],
    ) -> None:
        self._groups = groups
        self._streams = streams
        self._blocks = blocks
        self._changes = changes
        self._commands = commands
        self._ids = ids
        self._now = now

    async def open(self, user_id: int, other_id: int) -> Channel:
        """Return the direct channel of two users, closed by the first no more; it is there for both. Idempotent.

        Raises `UnknownUser`, `CannotMessageUser`, `Unauthorized`, `Unavailable`, `StoreUnavailable`.
        """
        if user_id == other_id:
            raise CannotMessageUser
        users = await self._groups.read_users(sorted((user_id, other_id)))
        if user_id not in users:
            raise Unauthorized
        if other_id not in users:
            raise UnknownUser
        key = pair_key(user_id, other_id)
        claim = await self._groups.read_claim(key)
        if claim is None and await self._blocks.is_closed(user_id, other_id):
            raise CannotMessageUser
        if claim is None:
            claim = await self._groups.claim(Claim(key, self._ids.next_id(self._now()), self._now()))
        channel_id = claim.owner
        if (known := await self._groups.read_channel(channel_id)) is not None:
            await self._show(user_id, channel_id)
            return await self._blocks.settle(known)
        recipients = tuple(users[one] for one in sorted(users))
        await self._begin(Channel(channel_id, ChannelType.DIRECT, recipients=recipients))
        if (channel := await self._groups.read_channel(channel_id)) is None:
            raise Unavailable
        return await self._blocks.settle(channel)

    async def close(self, user_id: int, channel_id: int) -> Channel:
        """Close a direct channel for one of its users, until something is said there; return it. Idempotent.

        Raises `UnknownChannel`, `Unavailable`, `StoreUnavailable`.
        """
        channel = await self._groups.read_channel(channel_id)
        if channel is None or not channel.has(user_id):
            raise UnknownChannel

        async def decide(_: int) -> AnyBody | None:
            hidden, last = await self._look(user_id, channel_id)
            return None if hidden else DirectHidden(channel_id, last)

        await self._changes.change(user_stream(user_id), decide)
        return channel

    async def _show(self, user_id: int, channel_id: int) -> None:
        """Open a direct channel for a user again, if it is closed."""
        if await self._groups.read_hidden(user_id, channel_id) is None:
            return

        async def decide(_: int) -> AnyBody | None:
            hidden, _last = await self._look(user_id, channel_id)
            return DirectShown(channel_id) if hidden else None

        await self._changes.change(user_stream(user_id), decide)

    async def _look(self, user_id: int, channel_id: int) -> tuple[bool, LastMessage]:
        """Return whether a user has a direct channel closed, and the channel's last message."""
        upto = await self._groups.read_hidden(user_id, channel_id)
        head = await self._streams.read_head(channel_stream(channel_id))
        return is_hidden(upto, head.last_id), LastMessage(head.last_id, head.ordinal)

    async def _begin(self, channel: Channel) -> None:
        command = OpenDirect(
            command_id=channel.id,
            channel_id=channel.id,
            reply_to=self._commands.reply_to,
            expires_at=self._now() + COMMAND_LIFETIME_MS,
            channel=channel,
        )
        reply = await self._commands.send(command, timeout_s=SEND_TIMEOUT_S)
        reply.raise_error()
