"""The mark store in the memory of one process: for tests, and the measure of the MongoDB one.

Ring 2. Held by tests/contracts/test_marks.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.history.core.marks import Mark, Pin, Reactor, ReactorKey
from shared.core.audit import Entry
from shared.core.model import Channel, User


class MemoryMarks:
    """A `MarkStore` without a server."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, int], Entry] = {}
        """What stands in audit logs."""
        self._reactors: dict[ReactorKey, tuple[int, Reactor]] = {}
        self._pins: dict[int, tuple[int, Pin]] = {}
        self._directs: dict[int, tuple[int, Channel]] = {}

    async def put(self, marks: Sequence[Mark]) -> None:
        """Put marks; one whose `seq` is not above the stored one's changes nothing."""
        for mark in marks:
            match mark.what:
                case Entry() as entry:
                    self.entries.setdefault((entry.stream, entry.seq), entry)
                case Reactor() as reactor:
                    if self._reactors.get(reactor.key, (0,))[0] < mark.seq:
                        self._reactors[reactor.key] = mark.seq, reactor
                case Channel() as channel:
                    if self._directs.get(channel.id, (0,))[0] < mark.seq:
                        self._directs[channel.id] = mark.seq, channel
                case Pin() as pin:
                    if self._pins.get(pin.message_id, (0,))[0] < mark.seq:
                        self._pins[pin.message_id] = mark.seq, pin

    async def read_epochs(self, keys: Sequence[ReactorKey]) -> list[int]:
        """Return the epoch of each of these reactions, 0 where it is gone or never was."""
        found = [self._reactors.get(key) for key in keys]
        return [0 if one is None or one[1].gone else one[1].epoch for one in found]

    async def list_reactors(self, message_id: int, emoji: str, epoch: int, after: int, limit: int) -> list[User]:
        """Return who reacted so in this epoch, by user id above `after`."""
        users = [
            one.user
            for _, one in self._reactors.values()
            if (one.message_id, one.emoji, one.epoch, one.gone) == (message_id, emoji, epoch, False)
            and one.user.id > after
        ]
        return sorted(users, key=lambda user: user.id)[:limit]

    async def list_own(self, user_id: int, message_ids: Sequence[int], epochs: Sequence[int]) -> list[Reactor]:
        """Return a user's reactions to these messages in these epochs."""
        return [
            one
            for _, one in self._reactors.values()
            if one.user.id == user_id and one.message_id in message_ids and one.epoch in epochs and not one.gone
        ]

    async def list_pins(self, channel_id: int, before: int, limit: int) -> list[Pin]:
        """Return a channel's pins made before `before` (Unix ms), the newest first."""
        pins = [one for _, one in self._pins.values() if one.channel_id == channel_id and one.at < before]
        standing = [one for one in pins if not one.gone]
        return sorted(standing, key=lambda one: (one.at, one.message_id), reverse=True)[:limit]

    async def read_directs(self, channel_ids: Sequence[int]) -> list[Channel | None]:
        """Return direct channels, by these ids."""
        found = [self._directs.get(channel_id) for channel_id in channel_ids]
        return [one[1] if one is not None else None for one in found]
