"""The first level of a cache, in a process's own memory: what groups' streams tell, under the seq it is complete to.

Ring 1 (core). Nothing here says whether it still is so: whoever takes something out compares its seq with the group's
head, read after it was asked (`shared.kept_access`). So a drop that is lost, or comes late, only costs memory. Bounded
in entries and in bytes; the least recently used go first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

import msgspec

V = TypeVar("V")
MOST: Final = 20_000


class Kept(msgspec.Struct, Generic[V], frozen=True):
    """A value, of which group it tells, the seq it is complete to; since and until when (seconds) it is kept."""

    value: V
    group_id: int
    seq: int
    size: int
    at: float
    until: float


class Level(Generic[V]):
    """Values by key: at most `most_bytes` of them, as whoever puts them counts, and at most `most`."""

    def __init__(self, most_bytes: int, most: int = MOST) -> None:
        self._most_bytes = most_bytes
        self._most = most
        self._kept: OrderedDict[Hashable, Kept[V]] = OrderedDict()
        self._by_group: dict[int, set[Hashable]] = {}
        self._bytes = 0

    def get(self, key: Hashable, now: float) -> Kept[V] | None:
        """Return what is kept until after `now`, or None."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if now >= kept.until:
            self._remove(key)
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: Hashable, value: Kept[V]) -> None:
        """Keep a value, unless a newer one is kept or it is larger than the level. A key's group never changes."""
        known = self._kept.get(key)
        if value.size > self._most_bytes or (known is not None and known.seq > value.seq):
            return
        self._remove(key)
        self._kept[key] = value
        self._by_group.setdefault(value.group_id, set()).add(key)
        self._bytes += value.size
        while self._bytes > self._most_bytes or len(self._kept) > self._most:
            self._remove(next(iter(self._kept)))

    def drop(self, group_id: int, seq: int) -> int:
        """Forget what of a group is complete to less than `seq`; return how much that was."""
        outdated = [key for key in self._by_group.get(group_id, ()) if self._kept[key].seq < seq]
        for key in outdated:
            self._remove(key)
        return len(outdated)

    def statistics(self) -> dict[str, float]:
        """Return how many entries and bytes are held."""
        return {"entries": len(self._kept), "bytes": self._bytes}

    def _remove(self, key: Hashable) -> None:
        kept = self._kept.pop(key, None)
        if kept is None:
            return
        self._bytes -= kept.size
        keys = self._by_group[kept.group_id]
        keys.discard(key)
        if not keys:
            del self._by_group[kept.group_id]
