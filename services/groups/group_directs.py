"""Group DMs: created, joined, left and renamed, through the shard of their channel.

Ring 4 (shell). What a change comes to is decided by the channel's shard, on the channel as it is then, and is an event
of the channel's own stream (rule 12 of docs/rules.md); here is asked who may add whom. Whoever came or went is told
once more by the user's own stream, before the answer: so a session that moves to another node knows it for sure. That
is a job, stored before the command. Why it is so: docs/adr/0019-a-group-dm-changes-by-its-own-messages.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from services.groups.blocks import Blocks
from services.groups.changes import Changes
from services.groups.core.names import require_direct_name
from services.groups.jobs import JOIN_DIRECT, LEAVE_DIRECT, RENAME, UNSURE_MS, Jobs
from services.groups.store import GroupStore
from shared.command_log import CommandLog
from shared.core.account_errors import NotForBots, UnknownUser
from shared.core.commands import (
    COMMAND_LIFETIME_MS,
    AddRecipient,
    AnyCommand,
    OpenDirect,
    RemoveRecipient,
    RenameDirect,
    Reply,
)
from shared.core.errors import StarlingError, Unauthorized, Unavailable
from shared.core.events import AnyBody
from shared.core.group_errors import (
    CannotActInDirect,
    InvalidRecipients,
    TooManyDirects,
    TooManyRecipients,
    UnknownChannel,
    WrongChannelType,
)
from shared.core.ids import IdSource
from shared.core.model import MAX_RECIPIENTS, Channel, ChannelType, User
from shared.core.stream import user_stream
from shared.core.user_events import DirectJoined, DirectLeft

MAX_GROUP_DIRECTS: Final = 50
"""Group DMs that a user is in: fewer than a session's direct channels, so that nobody's list is filled by others."""
_SEND_TIMEOUT_S: Final = 10.0
_USER_BITS: Final = 64


def pair_of(channel_id: int, user_id: int) -> int:
    """Return the number of the job that is about a user in a channel."""
    return channel_id << _USER_BITS | user_id


class GroupDirects:
    """Changes group DMs. All raise `StoreUnavailable` and `Unavailable` beside what they tell."""

    def __init__(
        self,
        groups: GroupStore,
        blocks: Blocks,
        commands: CommandLog,
        changes: Changes,
        jobs: Jobs,
        ids: IdSource,
        now: Callable[[], int],
    ) -> None:
        self._groups = groups
        self._blocks = blocks
        self._commands = commands
        self._changes = changes
        self._jobs = jobs
        self._ids = ids
        self._now = now

    async def create(self, user_id: int, other_ids: Iterable[int]) -> Channel:
        """Begin a group DM that the user owns; it is there for all when this returns.

        Raises `InvalidRecipients`, `TooManyRecipients`, `TooManyDirects`, `UnknownUser`, `NotForBots`, `Unauthorized`.
        """
        ids = tuple(dict.fromkeys((user_id, *other_ids)))
        if len(ids) > MAX_RECIPIENTS:
            raise TooManyRecipients
        users = await self._groups.read_users(ids)
        await self._require_person(users.get(user_id))
        for other_id in ids[1:]:
            await self._require_addable(user_id, other_id, users.get(other_id))
        channel_id = self._ids.next_id(self._now())
        recipients = tuple(users[one] for one in ids)
        channel = Channel(channel_id, ChannelType.GROUP_DIRECT, recipients=recipients, owner_id=user_id)
        await self._settle(OpenDirect(*self._envelope(channel_id, channel_id), channel))
        if (created := await self._groups.read_channel(channel_id)) is None:
            raise Unavailable
        return created

    async def add(self, user_id: int, channel_id: int, other_id: int) -> None:
        """Let somebody in, who sees the channel from then on; a repeat changes nothing.

        Raises `UnknownChannel`, `WrongChannelType`, `CannotActInDirect`, `UnknownUser`, `InvalidRecipients`,
        `TooManyRecipients`.
        """
        channel = await self._require_in(channel_id, user_id)
        if channel.has(other_id):
            return
        users = await self._groups.read_users((user_id, other_id))
        await self._require_addable(user_id, other_id, users.get(other_id))
        command = AddRecipient(*self._envelope(channel_id), users[user_id], users[other_id])
        await self._change_recipients(JOIN_DIRECT, command, other_id)

    async def remove(self, user_id: int, channel_id: int, other_id: int) -> Channel:
        """Remove somebody, or leave; return the channel as it was. Nothing said there later reaches who is gone.

        Raises `UnknownChannel`, `WrongChannelType`, `CannotActInDirect`, `InvalidRecipients`, `MissingPermissions`.
        """
        channel = await self._require_in(channel_id, user_id)
        users = {user.id: user for user in channel.recipients}
        if other_id not in users:
            raise InvalidRecipients
        command = RemoveRecipient(*self._envelope(channel_id), users[user_id], users[other_id])
        await self._change_recipients(LEAVE_DIRECT, command, other_id)
        return channel

    async def rename(self, user_id: int, channel_id: int, name: str | msgspec.UnsetType | None) -> Channel:
        """Give a group DM another name (None: no name, UNSET: the same one); return it as it is then.

        Raises `UnknownChannel`, `WrongChannelType`, `CannotActInDirect`, `InvalidForm`.
        """
        channel = await self._require_in(channel_id, user_id)
        name = channel.name if name is msgspec.UNSET else require_direct_name(name)
        user = next(user for user in channel.recipients if user.id == user_id)
        await self._settle(RenameDirect(*self._envelope(channel_id), user, name))
        return await self._groups.read_channel(channel_id) or channel

    async def leave_all(self, user_id: int) -> None:
        """Leave all group DMs, as the account ends. Idempotent."""
        while channels := await self._groups.list_group_directs(user_id, MAX_GROUP_DIRECTS):
            for channel in channels:
                await self.remove(user_id, channel.id, user_id)

    # The user's own stream.

    async def tell_joined(self, pair: int) -> None:
        """Tell a user by its own stream that it is in a group DM, if it is; the work of a job."""
        await self._tell(pair, is_in=True)

    async def tell_left(self, pair: int) -> None:
        """Tell a user by its own stream that it is out of a group DM, if it is; the work of a job."""
        await self._tell(pair, is_in=False)

    async def _tell(self, pair: int, *, is_in: bool) -> None:
        channel_id, user_id = pair >> _USER_BITS, pair & ((1 << _USER_BITS) - 1)

        async def decide(_: int) -> AnyBody | None:
            channel = await self._groups.read_channel(channel_id)
            if channel is None or channel.has(user_id) != is_in:
                return None
            return DirectJoined(channel) if is_in else DirectLeft(msgspec.structs.replace(channel, recipients=()))

        await self._changes.change(user_stream(user_id), decide)
        if (channel := await self._groups.read_channel(channel_id)) is not None:
            users = await self._groups.read_users([user.id for user in channel.recipients])
            for user in channel.recipients:
                if users.get(user.id) != user:
                    await self._jobs.ask(RENAME, user.id)  # renamed while the channel was being changed

    # Commands.

    async def _change_recipients(self, kind: str, command: AddRecipient | RemoveRecipient, other_id: int) -> None:
        pair = pair_of(command.channel_id, other_id)
        job = await self._jobs.promise(kind, pair, unsure_ms=COMMAND_LIFETIME_MS + UNSURE_MS)
        try:
            await self._settle(command)
        except StarlingError as error:
            if not error.retryable:
                await self._jobs.drop(job)
            raise
        await self._jobs.finish(job)

    async def _settle(self, command: AnyCommand) -> Reply:
        reply = await self._commands.send(command, timeout_s=_SEND_TIMEOUT_S)
        reply.raise_error()
        return reply

    def _envelope(self, channel_id: int, command_id: int = 0) -> tuple[int, int, str, int]:
        """Return what all commands have: id, channel, who waits, when they expire."""
        now = self._now()
        return command_id or self._ids.next_id(now), channel_id, self._commands.reply_to, now + COMMAND_LIFETIME_MS

    # Who may.

    async def _require_in(self, channel_id: int, user_id: int) -> Channel:
        channel = await self._groups.read_channel(channel_id)
        if channel is None:
            raise UnknownChannel
        if channel.group_id:
            raise WrongChannelType
        if not channel.has(user_id):
            raise UnknownChannel
        if channel.type is not ChannelType.GROUP_DIRECT:
            raise CannotActInDirect
        return channel

    async def _require_person(self, user: User | None) -> None:
        if user is None:
            raise Unauthorized
        if user.bot:
            raise NotForBots
        if len(await self._groups.list_group_directs(user.id, MAX_GROUP_DIRECTS)) >= MAX_GROUP_DIRECTS:
            raise TooManyDirects

    async def _require_addable(self, user_id: int, other_id: int, other: User | None) -> None:
        """Raise unless one may add the other: a person, where none of the two blocks the other, who has room."""
        if other is None:
            raise UnknownUser
        if other.bot or await self._blocks.is_closed(user_id, other_id):
            raise InvalidRecipients
        if len(await self._groups.list_group_directs(other_id, MAX_GROUP_DIRECTS)) >= MAX_GROUP_DIRECTS:
            raise InvalidRecipients
