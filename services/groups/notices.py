"""Notices: messages of the system that tell a group's channel who joined, through the channel's shard like any other.

Ring 4 (shell). Bounded, and beside the join itself, which does not wait: what history does not take in time, or what is
here when the process dies, is not told. Several replicas may finish one join; they tell it once, since the join's own
place in its stream names the command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from services.groups.store import GroupStore
from shared.command_log import CommandLog
from shared.core.commands import COMMAND_LIFETIME_MS, SendMessage
from shared.core.errors import StarlingError
from shared.core.ids import stable_hash
from shared.core.model import Group, Member
from shared.core.sending import join_notice_of
from shared.streams import StoreUnavailable

MAX_WAITING: Final = 1_000
"""Joins that wait to be told; one more is not told."""
SUPPRESS_JOINS: Final = 1
"""Discord's flag of a system channel that is not told who joins."""
_SEQ_BITS: Final = 24
"""Of a command's id: below every id that is minted, and different for all joins that a channel is told of."""
_AT_ONCE: Final = 64
_TIMEOUT_S: Final = 10.0

log = structlog.get_logger(__name__)


class _Join(NamedTuple):
    member: Member
    group_seq: int


class Notices:
    """Tells system channels who joined."""

    def __init__(self, groups: GroupStore, commands: CommandLog, now: Callable[[], int]) -> None:
        self._groups = groups
        self._commands = commands
        self._now = now
        self._waiting: asyncio.Queue[_Join] = asyncio.Queue(MAX_WAITING)
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """How many joins wait to be told."""
        return self._waiting.qsize()

    def joined(self, member: Member, group_seq: int) -> None:
        """Have a join told, by the event at `group_seq`, if its group wants that; where too many wait it is dropped."""
        try:
            self._waiting.put_nowait(_Join(member, group_seq))
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Tell for ever. Run as a supervised task."""
        while True:
            joins = [await self._waiting.get()]
            while len(joins) < _AT_ONCE and not self._waiting.empty():
                joins.append(self._waiting.get_nowait())
            try:
                groups = await self._groups.read_groups(list({join.member.group_id for join in joins}))
            except StoreUnavailable as error:
                log.warning("joins_not_told", joins=len(joins), reason=repr(error))
                continue
            told = (self._command_of(groups.get(join.member.group_id), join) for join in joins)
            await asyncio.gather(*(self._send(command) for command in told if command is not None))

    def _command_of(self, group: Group | None, join: _Join) -> SendMessage | None:
        if group is None or not group.system_channel_id or group.system_flags & SUPPRESS_JOINS:
            return None
        return join_notice_of(
            group.system_channel_id,
            join.member,
            join.group_seq,
            command_id=stable_hash(group.id) << _SEQ_BITS | join.group_seq,
            reply_to=self._commands.reply_to,
            expires_at=self._now() + COMMAND_LIFETIME_MS,
        )

    async def _send(self, command: SendMessage) -> None:
        try:
            (await self._commands.send(command, timeout_s=_TIMEOUT_S)).raise_error()
        except StarlingError as error:
            log.warning("join_not_told", channel_id=command.channel_id, reason=type(error).__name__)
