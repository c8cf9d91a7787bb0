"""Direct channels: opened once per pair of users, through the log.

Ring 4 (shell). Two steps: claim the pair (names the channel id), begin the channel's stream by a command whose id is
the channel's, which its shard projects, too. Each is idempotent, so whoever asks next finishes what a crash cut off,
and both users get the same channel however they race (rule 12 of docs/rules.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from services.groups.blocks import Blocks
from services.groups.core.names import pair_key
from services.groups.store import Claim, GroupStore
from shared.command_log import CommandLog
from shared.core.account_errors import CannotMessageUser, UnknownUser
from shared.core.commands import COMMAND_LIFETIME_MS, OpenDirect
from shared.core.errors import Unauthorized, Unavailable
from shared.core.ids import IdSource
from shared.core.model import Channel, ChannelType

SEND_TIMEOUT_S: Final = 10.0


class Directs:
    """Opens direct channels."""

    def __init__(
        self,
        groups: GroupStore,
        blocks: Blocks,
        commands: CommandLog,
        ids: IdSource,
        now: Callable[[], int],
    ) -> None:
        self._groups = groups
        self._blocks = blocks
        self._commands = commands
        self._ids = ids
        self._now = now

    async def open(self, user_id: int, other_id: int) -> Channel:
        """Return the direct channel of two users; it is there for both when this returns. Idempotent.

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
            return await self._blocks.settle(known)
        recipients = tuple(users[one] for one in sorted(users))
        await self._begin(Channel(channel_id, ChannelType.DIRECT, recipients=recipients))
        if (channel := await self._groups.read_channel(channel_id)) is None:
            raise Unavailable
        return await self._blocks.settle(channel)

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
