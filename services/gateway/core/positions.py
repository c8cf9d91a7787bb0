"""Positions: where each stream stood when a node's frame counter was at `s`, known after the node is dead.

Ring 1 (core). A node keeps a *trail*: checkpoints (its `s`, and what moved since the checkpoint before), and a table
of the streams it follows (docs/rules.md, 5 and 6). `Moves` makes the trail while the node lives, `Trail` answers
from it when the node is gone. Where trails are kept: `services.gateway.trails`.

Rules of the trail:

- The place of a told `s` is the newest checkpoint not after it: its client has all that was dispatched before. Later
  dispatches may be told again, nothing is left out.
- A stream's position at a place is the first seq - 1 of the next later checkpoint that names it, else the table's.
- Of a channel, whose events are one dispatch each, that checkpoint also has the `s` of the first events that it names:
  those up to the told `s` are not told again. So what is told again came after the newest checkpoint that was stored.
- An event that was applied, but is told later (a group whose body is still being read), is held: until it is told
  every checkpoint has its stream before it. To name it again when it is told would be too late for a death meanwhile.
- A stream that ended rests in the table at its last seq for as long as a checkpoint of before its end is kept. If it
  begins again meanwhile, it is as though it had been followed all along: from where it rested to where it begins is a
  move, and it is followed since it first was. What its client may see of that is for the client's access to say.
- Beyond `MOST_RESTED` streams at rest old checkpoints go first: what they placed can't be placed, never wrongly.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import msgspec

RESERVE: Final = 1 << 16
"""So many dispatches no node makes between two checkpoints that it can store."""

MOST_RESTED: Final = 100_000


class Followed(msgspec.Struct, frozen=True, array_like=True):
    """A followed stream: its last seq, and the node's `s` when it began to follow it."""

    seq: int
    since_s: int


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """The node's `s` at one moment; stream -> (first, last) seq applied since the checkpoint before.

    No client of the node can truthfully tell an `s` above `ceiling` before the next one is stored. `number` counts a
    node's checkpoints from 1, without holes. `sent`: channel -> `s` of the events from its first on, as far as known.
    """

    s: int
    ceiling: int
    moved: dict[str, tuple[int, int]]
    number: int
    sent: dict[str, list[int]] = {}


class Changes(msgspec.Struct, frozen=True):
    """A checkpoint, and what changed in the table with it. Checkpoints below number `oldest` are to be dropped."""

    checkpoint: Checkpoint
    changed: dict[str, Followed]
    gone: frozenset[str]
    oldest: int


@dataclass(frozen=True)
class Trail:
    """What a node left: its checkpoints, oldest first, and its table as of the newest. Keep it to place many."""

    node: str
    checkpoints: tuple[Checkpoint, ...]
    table: Mapping[str, Followed]

    @property
    def number(self) -> int:
        """The number of the newest checkpoint; 0 if there is none."""
        return self.checkpoints[-1].number if self.checkpoints else 0

    @property
    def ceiling(self) -> int:
        """No client of the node can truthfully tell a higher `s`; whoever goes on with its sessions counts above it."""
        return max((checkpoint.ceiling for checkpoint in self.checkpoints), default=0)

    def after(self, changes: Changes) -> Trail:
        """Return the trail with one more checkpoint."""
        kept = (*(one for one in self.checkpoints if one.number >= changes.oldest), changes.checkpoint)
        table = {stream: one for stream, one in self.table.items() if stream not in changes.gone} | changes.changed
        return Trail(self.node, kept, table)

    def place(self, told_s: int) -> Placed | None:
        """Return where the streams were when the node's clients had all up to `told_s`.

        None: nobody can say, since it is above the ceiling or from before the oldest checkpoint. A session that was
        sent nothing for long tells such an old one: see `SessionEntry.lift` first, which knows a newer one as good.
        """
        if not self.checkpoints or told_s > self.ceiling or told_s < self.checkpoints[0].s:
            return None
        later = bisect_right(self.checkpoints, told_s, key=lambda checkpoint: checkpoint.s)
        return Placed(self, told_s, self.checkpoints[later - 1].s, later)

    @cached_property
    def _named(self) -> dict[str, list[int]]:
        """Stream -> indexes of the checkpoints that name it, rising."""
        named: dict[str, list[int]] = {}
        for index, checkpoint in enumerate(self.checkpoints):
            for stream in checkpoint.moved:
                named.setdefault(stream, []).append(index)
        return named

    def next_seq(self, stream: str, later: int, told_s: int) -> int | None:
        """Return a stream's first seq that the first checkpoint from index `later` on names, and not as of `told_s`.

        None if no checkpoint from there on names the stream.
        """
        indexes = self._named.get(stream, [])
        found = bisect_left(indexes, later)
        if found == len(indexes):
            return None
        checkpoint = self.checkpoints[indexes[found]]
        first, _ = checkpoint.moved[stream]
        return first + bisect_right(checkpoint.sent.get(stream, []), told_s)


@dataclass(frozen=True)
class Placed:
    """The place of `told_s` in a trail: after a checkpoint, that had `s`; those from index `later` on are later."""

    trail: Trail
    told_s: int
    s: int
    later: int

    def position_of(self, stream: str) -> Followed | None:
        """Return where a stream stood at this place; None if the node did not follow it.

        Unless `since_s` is below what the client told, the node had not told anybody of this stream by then: the client
        can know of it only by what comes after this place in other streams.
        """
        followed = self.trail.table.get(stream)
        if followed is None:
            return None
        following = self.trail.next_seq(stream, self.later, self.told_s)
        return followed if following is None else Followed(following - 1, followed.since_s)


class Moves:
    """A living node's trail, told by the hub. `keep`: so many checkpoints can be placed at; 2 or more."""

    def __init__(self, node: str, *, keep: int, most_rested: int = MOST_RESTED) -> None:
        self._node = node
        self._keep = keep
        self._most_rested = most_rested
        self._table: dict[str, Followed] = {}
        """As of the newest checkpoint; streams that began since are there, too."""
        self._applied: dict[str, int] = {}
        """Up to where streams were applied since."""
        self._changed: set[str] = set()
        """Streams that began since, or were set back."""
        self._sent: dict[str, list[int]] = {}
        """The `s` of a channel's events since, from the first one on, as far as each was sent by itself."""
        self._untold: dict[str, set[int]] = {}
        self._rested: dict[str, int] = {}
        """Streams that ended, in that order, and the newest checkpoint's number then."""
        self._checkpoints: deque[bytes] = deque()  # encoded: a tenth of the memory
        self._number = 0
        self._s = -1

    def begin(self, stream: str, seq: int, s: int) -> None:
        """Take in that a stream is followed from this seq on; `s` is the node's, before any dispatch about it.

        The seq may be below where it rested, by an older body. Whoever was told only that body, and loses the node
        before the next checkpoint, is placed where the stream rested.
        """
        self._rested.pop(stream, None)
        self._sent.pop(stream, None)
        followed = self._table.get(stream)
        if followed is None:
            self._table[stream] = Followed(seq, s)
            self._changed.add(stream)
            return
        self._applied.pop(stream, None)
        if seq > followed.seq:
            self._applied[stream] = seq
        elif seq < followed.seq:  # by an older body: what is above it is applied once more
            self._table[stream] = Followed(seq, followed.since_s)
            self._changed.add(stream)

    def note(self, stream: str, seq: int) -> None:
        """Take in that a followed stream was applied up to `seq`, its dispatches going out in the same step.

        A seq that was applied before changes nothing. What goes out in a later step must have been held: `hold`.
        """
        if seq > self._applied.get(stream, 0):
            self._applied[stream] = seq

    def send(self, stream: str, seq: int, s: int) -> None:
        """Take in that an event that was noted in this step is told by the dispatch with this `s`.

        Kept of channels only. Of an event that is told by several dispatches the last counts: who has not got that one
        is told the event again. If something was applied since the checkpoint that was not sent, nothing is known of
        what is sent behind it.
        """
        if stream[0] == "c" and (followed := self._table.get(stream)) is not None:
            sent = self._sent.setdefault(stream, [])
            if seq == followed.seq + 1 + len(sent):
                sent.append(s)
            elif sent and seq == followed.seq + len(sent):
                sent[-1] = s

    def hold(self, stream: str, seq: int) -> None:
        """Have a stream's position stay below `seq`: this event, applied in this step, is told in a later one."""
        self._untold.setdefault(stream, set()).add(seq)

    def release(self, stream: str, seq: int) -> None:
        """Take in that a held event was told in this step, or need not be told any more."""
        if (untold := self._untold.get(stream)) is not None:
            untold.discard(seq)
            if not untold:
                del self._untold[stream]

    def end(self, stream: str) -> None:
        """Take in that a stream is not followed any more."""
        self._untold.pop(stream, None)
        if stream in self._table:
            self._rested[stream] = self._number

    def take(self, s: int, *, always: bool = False) -> Changes | None:
        """Make a checkpoint at the node's `s`; None if there is nothing to tell, unless `always`.

        Call it between two steps of the hub, when what was noted was dispatched. Raises `KeyError` if a stream was
        noted that was never begun, or long ago ended.
        """
        if s < self._s:
            self._begin_anew()
        moved = self._take_moves()
        if s == self._s and not moved and not self._changed and not always:
            return None
        self._s = s
        self._number += 1
        sent = {one: told[: moved[one][1] - moved[one][0] + 1] for one, told in self._sent.items() if one in moved}
        self._sent = {}
        checkpoint = Checkpoint(s, s + RESERVE, moved, self._number, sent)
        self._checkpoints.append(_encode(checkpoint))
        gone = self._fold()
        changed = {stream: self._table[stream] for stream in moved if stream in self._table}
        self._changed = set()
        return Changes(checkpoint, changed, gone, self._oldest)

    def take_all(self, s: int) -> Trail:
        """Make a checkpoint and return the whole trail, for a store that lost it."""
        self.take(s, always=True)
        return Trail(self._node, tuple(map(_decode, self._checkpoints)), dict(self._table))

    def _take_moves(self) -> dict[str, tuple[int, int]]:
        """Move the table to what was applied and told, and return that; what is held is left for later."""
        moved: dict[str, tuple[int, int]] = {}
        left: dict[str, int] = {}
        for stream, applied in self._applied.items():
            followed = self._table[stream]
            last = applied
            if (untold := self._untold.get(stream)) is not None:
                last = min(untold) - 1
                left[stream] = applied
            if last > followed.seq:
                moved[stream] = followed.seq + 1, last
                self._table[stream] = Followed(last, followed.since_s)
        for stream in self._changed - moved.keys():  # named, too: a stream that was set back, or began again
            seq = self._table[stream].seq
            moved[stream] = seq + 1, seq
        self._applied = left
        return moved

    @property
    def _oldest(self) -> int:
        return self._number - len(self._checkpoints) + 1

    def _fold(self) -> frozenset[str]:
        """Drop checkpoints beyond the bounds, and the streams that rest since before what is kept."""
        while len(self._checkpoints) > self._keep:
            self._checkpoints.popleft()
        gone: list[str] = []
        for stream, number in self._rested.items():
            if number >= self._oldest:
                if len(self._rested) - len(gone) <= self._most_rested:
                    break
                while number >= self._oldest:
                    self._checkpoints.popleft()
            gone.append(stream)
        for stream in gone:
            del self._rested[stream], self._table[stream]
        return frozenset(gone)

    def _begin_anew(self) -> None:
        """Take in that the frame counter began anew: no session is left that knows of what was before."""
        self._checkpoints.clear()
        self._sent.clear()
        self._table = {stream: Followed(followed.seq, 0) for stream, followed in self._table.items()}
        self._changed = set(self._table)

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {
            "streams": len(self._table) - len(self._rested),
            "streams_rested": len(self._rested),
            "checkpoints": len(self._checkpoints),
            "bytes": sum(map(len, self._checkpoints)),
        }


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Checkpoint).decode
