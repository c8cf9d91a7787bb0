"""What users may do, kept in this process's memory, and used only while the head of the group's stream says its seq.

Ring 4 (shell). The first level of the cache: in groups before the one that processes share, in history before groups
is asked. The head is read after the question came, so an answer never lacks what was answered or published before
that. Questions about one group that come together share one look at its head. What a write or `Topology.invalidate`
drops is memory that would not be used any more. Why: docs/adr/0010-bodies-under-their-seq.md.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

import msgspec

from shared.cache import CacheUse
from shared.core.calls import Access
from shared.core.level import Kept, Level
from shared.core.stream import Head, group_stream
from shared.joining import Joining
from shared.streams import StreamStore

ACCESS_S: Final = 300.0
"""How long access is cached, here and where processes share it; of use only while nothing changes in the group."""
_JITTER: Final = 0.1
"""Of that up to so much is cut, drawn anew each time: what was kept together does not end together."""
BYTES_PER_ENCODED: Final = 4
"""Access decoded takes at most about so many times the bytes that it takes encoded (measured: 1.6 to 4)."""
ENTRY_BYTES: Final = 600
"""What is around it: the entry, its key and their places in the tables."""
_encode: Final = msgspec.msgpack.Encoder().encode


class KeptAccess:
    """At most `most_bytes` of access, as they are estimated; 0 keeps nothing.

    `clock` counts seconds and never goes back. `observe` is told for how long what is used was kept.
    """

    def __init__(
        self,
        streams: StreamStore,
        most_bytes: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        observe: Callable[[float], None] = lambda age_s: None,
    ) -> None:
        self._streams = streams
        self._clock = clock
        self._observe = observe
        self._level: Level[Access] = Level(most_bytes)
        self._heads: Joining[Head] = Joining()
        self._use = CacheUse()
        self._dropped_by_write = 0
        self._dropped_as_told = 0

    async def find(self, channel_id: int, user_id: int) -> Access | None:
        """Return what this user may do in this channel, if it is kept and still so. Raises `StoreUnavailable`."""
        kept = self._level.get((channel_id, user_id), self._clock())
        if kept is not None:
            stream = group_stream(kept.group_id)
            head = await self._heads.ask(stream, lambda: self._streams.read_head(stream))
            if head.projected == kept.seq:
                self._use.hits += 1
                self._observe(self._clock() - kept.at)
                return kept.value
        self._use.note_miss(was_there=kept is not None)
        return None

    def keep(self, channel_id: int, user_id: int, access: Access) -> None:
        """Keep what was read, if it lasts. Of two of one user in one channel the one of the higher seq stays."""
        if access.channel is not None and access.lasts:
            size = len(_encode(access)) * BYTES_PER_ENCODED + ENTRY_BYTES
            now = self._clock()
            until = now + ACCESS_S * (1 - _JITTER * random.random())  # noqa: S311 (no secret)
            kept = Kept(access, access.channel.group_id, access.group_seq, size, now, until)
            self._level.put((channel_id, user_id), kept)

    def drop_written(self, group_id: int, seq: int) -> None:
        """Forget what is of before this event of a group, which this process has stored."""
        self._dropped_by_write += self._level.drop(group_id, seq)

    def drop_told(self, group_id: int, seq: int) -> None:
        """Forget what is of before this event of a group, of which `Topology.invalidate` tells."""
        self._dropped_as_told += self._level.drop(group_id, seq)

    def statistics(self) -> dict[str, float]:
        """Return figures for metrics."""
        held = {f"cached_access_process_{key}": value for key, value in self._level.statistics().items()}
        return {
            **self._use.statistics("access_process"),
            **held,
            "cached_access_process_dropped_by_write": self._dropped_by_write,
            "cached_access_process_dropped_as_told": self._dropped_as_told,
        }
