"""The replay log: what a node has sent lately, once for all its sessions.

Ring 1 (core). Resuming here is reading this log from the client's last `s` on, by the audience that each entry had
when it was sent: whoever was in it may see it, whoever was not may not. Bounded in bytes and in age; what has
fallen out of it can't be resumed from here. `now` is seconds of a clock that never goes back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from typing import Final, Generic, TypeVar

S = TypeVar("S")

_ENTRY_BYTES: Final = 200
"""What an entry weighs beside its payload."""
_PLACE_BYTES: Final = 8
"""What one place in an audience weighs; entries that follow one another mostly share theirs."""


class Entry(Generic[S]):
    """One dispatch. `d` is its encoded payload; `stream` and `seq` name the durable event that it tells, if any."""

    __slots__ = ("at", "audience", "d", "s", "seq", "stream", "t")

    def __init__(self, s: int, t: str, d: bytes, audience: Collection[S], stream: str, seq: int, at: float) -> None:
        self.s = s
        self.t = t
        self.d = d
        self.audience = audience
        self.stream = stream
        self.seq = seq
        self.at = at


def _s_of(entry: Entry[S]) -> int:
    return entry.s


class ReplayLog(Generic[S]):
    """Entries with rising `s`: at most `most_bytes`, none older than `window_s` (but for some slack)."""

    def __init__(self, most_bytes: int, window_s: float) -> None:
        self._most_bytes = most_bytes
        self._window_s = window_s
        self._entries: list[Entry[S]] = []
        self._first = 0
        self._sizes: list[int] = []
        self.size = 0
        self.floor = 0
        """What was sent up to this `s` is not here any more."""
        self._last_audience: Collection[S] = ()

    def __len__(self) -> int:
        return len(self._entries) - self._first

    def append(self, entry: Entry[S]) -> None:
        """Add the newest entry, and let go what is too old or too much."""
        size = len(entry.d) + _ENTRY_BYTES
        if entry.audience is not self._last_audience:
            size += _PLACE_BYTES * len(entry.audience)
            self._last_audience = entry.audience
        self._entries.append(entry)
        self._sizes.append(size)
        self.size += size
        self._let_go(entry.at)

    def _let_go(self, now: float) -> None:
        entries, first = self._entries, self._first
        while first < len(entries) and (self.size > self._most_bytes or now - entries[first].at > self._window_s):
            self.size -= self._sizes[first]
            self.floor = entries[first].s
            first += 1
        self._first = first
        if first > 256 and 2 * first > len(entries):
            del entries[:first]
            del self._sizes[:first]
            self._first = 0

    def after(self, s: int, session: S) -> list[Entry[S]] | None:
        """Return what this session was sent after `s`, in order; None if that is not all here any more."""
        if s < self.floor:
            return None
        start = max(bisect_right(self._entries, s, key=_s_of), self._first)
        seen: dict[int, bool] = {}
        missed = []
        for entry in self._entries[start:]:
            key = id(entry.audience)
            if (is_in := seen.get(key)) is None:
                is_in = seen[key] = session in entry.audience
            if is_in:
                missed.append(entry)
        return missed

    def clear(self, floor: int) -> None:
        """Forget everything up to `floor`."""
        self._entries.clear()
        self._sizes.clear()
        self._first = self.size = 0
        self.floor = floor
        self._last_audience = ()

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {"entries": len(self), "bytes": self.size}


def not_had(entries: list[Entry[S]], positions: Mapping[str, int]) -> Iterator[Entry[S]]:
    """Yield the entries that a client lacks which tells how far it is in some streams."""
    for entry in entries:
        if entry.seq > positions.get(entry.stream, 0) or not entry.seq:
            yield entry
