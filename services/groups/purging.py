"""Purging: what a banned user wrote lately in a group is deleted, as whoever banned it asked for.

Ring 4 (shell). A ban is answered once a job for this is stored, which makes one for each of the group's channels that
somebody wrote in since then. That one walks back some buckets, has what it finds deleted through the channel's shard,
and asks for its own continuation. So it is bounded at each step however much there is, and finished by anyone; what was
deleted already is not found again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from services.groups.jobs import PURGE, SCRUB, Jobs
from services.groups.store import GroupStore
from shared.command_log import CommandLog
from shared.core.commands import COMMAND_LIFETIME_MS, PurgeMessages
from shared.core.ids import MAX_ID, IdSource, first_id_at
from shared.core.message_events import MessageCreated
from shared.core.stream import Bucket, channel_stream
from shared.streams import StreamStore

MAX_SECONDS: Final = 7 * 24 * 3600
"""How far back a ban deletes."""
_BUCKETS: Final = 20
_AT_ONCE: Final = 100
_TIMEOUT_S: Final = 10.0
_BITS: Final = 64


class Purging:
    """Deletes what a banned user wrote. All raise `StoreUnavailable` and what the catalogue has."""

    def __init__(
        self,
        groups: GroupStore,
        streams: StreamStore,
        commands: CommandLog,
        jobs: Jobs,
        ids: IdSource,
        now: Callable[[], int],
    ) -> None:
        self._groups = groups
        self._streams = streams
        self._commands = commands
        self._jobs = jobs
        self._ids = ids
        self._now = now

    async def ask(self, by: int, group_id: int, user_id: int, seconds: int) -> None:
        """Have deleted what a banned user wrote in the last `seconds` in a group; `by`: who asks for it."""
        since = first_id_at(self._now() - seconds * 1000)
        await self._jobs.ask(PURGE, _packed(by, group_id, user_id, since))

    async def begin(self, number: int) -> None:
        """Begin with each channel in which somebody wrote since then; nothing if the ban was lifted. A job's work."""
        by, group_id, user_id, since = _unpacked(number, 4)
        if await self._groups.read_ban(group_id, user_id) is None:
            return
        channels = (await self._groups.list_channels((group_id,))).get(group_id, [])
        heads = await self._streams.read_heads([channel_stream(channel.id) for channel in channels]) if channels else {}
        for channel in channels:
            head = heads.get(channel_stream(channel.id))
            if head is not None and head.last_id >= since:
                await self._jobs.ask(SCRUB, _packed(by, group_id, user_id, since, channel.id, MAX_ID))

    async def scrub(self, number: int) -> None:
        """Delete what the user wrote in a channel, in some of its buckets; ask for the rest. A job's work."""
        by, group_id, user_id, since, channel_id, below = _unpacked(number, 6)
        stream = channel_stream(channel_id)
        bucket = await self._streams.find_bucket_of_id(stream, below - 1)
        found: list[int] = []
        for _ in range(_BUCKETS):
            if bucket is None:
                break
            found += _written_in(bucket, user_id, since, below)
            if bucket.first_id:
                below = bucket.first_id
            bucket = await self._streams.read_bucket(stream, bucket.prev) if bucket.prev and below > since else None
        for start in range(0, len(found), _AT_ONCE):
            command = PurgeMessages(
                command_id=self._ids.next_id(self._now()),
                channel_id=channel_id,
                reply_to=self._commands.reply_to,
                expires_at=self._now() + COMMAND_LIFETIME_MS,
                by=by,
                author_id=user_id,
                message_ids=tuple(found[start : start + _AT_ONCE]),
            )
            (await self._commands.send(command, timeout_s=_TIMEOUT_S)).raise_error()
        if bucket is not None:
            await self._jobs.ask(SCRUB, _packed(by, group_id, user_id, since, channel_id, below))


def _written_in(bucket: Bucket, user_id: int, since: int, below: int) -> list[int]:
    return [
        record.id
        for record in bucket.messages
        if since <= record.id < below and isinstance(record.body, MessageCreated) and record.body.author.id == user_id
    ]


def _packed(*values: int) -> int:
    """Return a job's number that says several."""
    number = 0
    for value in values:
        number = number << _BITS | value
    return number


def _unpacked(number: int, count: int) -> tuple[int, ...]:
    return tuple(number >> _BITS * place & (1 << _BITS) - 1 for place in reversed(range(count)))
