"""The account of a channel: what was sent, acknowledged, received and paged, and whether that is what must be.

Core: synchronous, values in, a `Verdict` out. The promise: every member receives exactly once,
in the order of `seq`, every message that was acknowledged after its join was answered and before its leave was sent;
in between, either is allowed; nothing else. Pages of history are the log, with the ids and seqs of the acks.
The order of what happens is a counter: it moves when something is sent and when something is answered.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import msgspec

_NEVER: Final = 1 << 62
_MAX_EXAMPLES: Final = 10


class Line(msgspec.Struct):
    """One message of the log. `id` and `seq` are the ack's, 0 before it; `sent_s` is when it was sent first."""

    author: int
    content: str
    sent_s: float
    sent_at: int
    acked_at: int = _NEVER
    id: int = 0
    seq: int = 0


class Paged(msgspec.Struct, frozen=True):
    """A message as it stands in history. `author` is the person's number, -1 for somebody unknown."""

    id: int
    seq: int
    author: int
    content: str


class _Stay(msgspec.Struct):
    """One time inside, from the join's sending to the leave's answer. After `excused_after` nothing is owed."""

    join_sent: int
    join_answered: int = _NEVER
    leave_sent: int = _NEVER
    leave_answered: int = _NEVER
    excused_after: int = _NEVER

    def owes(self, line: Line) -> bool:
        return self.join_answered < line.acked_at < self.leave_sent and line.seq <= self.excused_after

    def allows(self, line: Line) -> bool:
        return line.acked_at > self.join_sent and line.sent_at < self.leave_answered

    def explains(self, received_at: int) -> bool:
        return self.join_sent < received_at < self.leave_answered


class Verdict(msgspec.Struct, frozen=True):
    """What came of it. All but `messages`, `deliveries`, `owed`, `repeated`, `early` and `pages` must be 0."""

    messages: int = 0
    """acknowledged"""
    deliveries: int = 0
    """received by members, live or fetched"""
    owed: int = 0
    """pairs of a member and a message that had to be received"""
    unsent: int = 0
    """messages of the log that were never acknowledged"""
    lost: int = 0
    """owed and never received"""
    doubled: int = 0
    """received again"""
    repeated: int = 0
    """received again where that is allowed: see `Account.repeated`"""
    unordered: int = 0
    """received after one with a higher seq"""
    uninvited: int = 0
    """received by somebody who was not in the group then"""
    early: int = 0
    """received after a join though acknowledged before it: the member's node was behind (no fault)"""
    wrong: int = 0
    """with other content, author, id or seq than what was sent and acknowledged"""
    unlike_log: int = 0
    """acknowledged in another order than the log's"""
    pages: int = 0
    """readings of all pages"""
    unlike_pages: int = 0
    """readings of all pages that are not the log"""

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        faults = (self.unsent, self.lost, self.doubled, self.unordered, self.uninvited, self.wrong)
        return not any(faults) and not self.unlike_log and not self.unlike_pages and self.pages > 0

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(*(getattr(self, one) + getattr(other, one) for one in self.__struct_fields__))


class Account:
    """The account of one channel. `expected`: how many messages its log has."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._now = 0
        self._lines: dict[str, Line] = {}
        self._stays: dict[int, list[_Stay]] = {}
        self._received: dict[int, tuple[array[int], array[int], array[int]]] = {}
        self._repeated = 0
        self._pages: list[Sequence[Paged]] = []
        self._wrong = 0
        self.examples: list[str] = []
        """A few of the deliveries that were wrong."""
        self.last_seq = 0
        self.deliveries = 0
        self.acks_s: array[float] = array("f")
        self.deliveries_s: array[float] = array("f")

    def _tick(self) -> int:
        self._now += 1
        return self._now

    def sent(self, nonce: str, author: int, content: str, now_s: float) -> None:
        """Take in that a message is about to be sent for the first time."""
        self._lines[nonce] = Line(author, content, now_s, self._tick())

    def acked(self, nonce: str, message_id: int, seq: int, now_s: float) -> None:
        """Take in the ack of a message."""
        line = self._lines[nonce]
        line.acked_at, line.id, line.seq = self._tick(), message_id, seq
        self.last_seq = max(self.last_seq, seq)
        self.acks_s.append(now_s - line.sent_s)

    def join_sent(self, member: int) -> None:
        """Take in that a member is about to ask to join."""
        self._stays.setdefault(member, []).append(_Stay(self._tick()))

    def join_answered(self, member: int) -> None:
        """Take in that the join was answered: from now on everything is owed."""
        self._stays[member][-1].join_answered = self._tick()

    def leave_sent(self, member: int) -> None:
        """Take in that a member is about to ask to leave: from now on nothing more is owed."""
        self._stays[member][-1].leave_sent = self._tick()

    def leave_answered(self, member: int) -> None:
        """Take in that the leave was answered: from now on nothing more is allowed."""
        self._stays[member][-1].leave_answered = self._tick()

    def excuse(self, member: int, after_seq: int) -> None:
        """Take in that a member lost its connection while it left, so that it can't read what it missed."""
        stay = self._stays[member][-1]
        stay.excused_after = min(stay.excused_after, after_seq)

    def received(
        self, member: int, message_id: int, seq: int, nonce: str, author: int, content: str, live_s: float = 0.0
    ) -> None:
        """Take in that a member received a message. `live_s`: when, if it came by itself (for its latency)."""
        self.deliveries += 1
        seqs, ids, ticks = self._received.setdefault(member, (array("q"), array("q"), array("q")))
        seqs.append(seq)
        ids.append(message_id)
        ticks.append(self._tick())
        line = self._lines.get(nonce)
        if line is None or line.content != content or line.author != author:
            self._wrong += 1
            self._show(f"member {member} got seq {seq}, id {message_id}, nonce {nonce} of {author}: {content!r}")
        elif live_s:
            self.deliveries_s.append(live_s - line.sent_s)

    def repeated(self, member: int, message_id: int, seq: int) -> bool:
        """Take in that a member was told a message when it may have been told it before; False if it was not."""
        seqs, ids, _ = self._received.get(member, ((), (), ()))
        is_again = any(one == seq and its_id == message_id for one, its_id in zip(seqs, ids, strict=True))
        self._repeated += is_again
        return is_again

    def _show(self, example: str) -> None:
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(example)

    def paged(self, messages: Sequence[Paged]) -> None:
        """Take in the whole history as somebody read it page by page, oldest first."""
        self._pages.append(messages)

    def verdict(self, *, is_strict: bool) -> Verdict:
        """Judge. `is_strict`: the log's order is the channel's; else only each author's own order is."""
        lines = [line for line in self._lines.values() if line.seq]
        by_seq = {line.seq: line for line in lines}
        per_member = [self._judge(member, lines, by_seq) for member in self._stays]
        strangers = sum(len(self._received[one][0]) for one in self._received.keys() - self._stays.keys())
        history = [Paged(line.id, line.seq, line.author, line.content) for line in sorted(lines, key=lambda x: x.seq)]
        return sum(per_member, Verdict()) + Verdict(
            messages=len(lines),
            deliveries=self.deliveries,
            repeated=self._repeated,
            unsent=self._expected - len(lines),
            uninvited=strangers,
            wrong=self._wrong + len(lines) - len(by_seq),
            unlike_log=_inversions(lines) if is_strict else sum(map(_inversions, _by_author(lines))),
            pages=len(self._pages),
            unlike_pages=sum(list(one) != history for one in self._pages),
        )

    def _judge(self, member: int, lines: Iterable[Line], by_seq: dict[int, Line]) -> Verdict:
        stays = self._stays[member]
        seqs, ids, ticks = self._received.get(member, (array("q"), array("q"), array("q")))
        owed = {line.seq for line in lines if any(stay.owes(line) for stay in stays)}
        allowed = {line.seq for line in self._lines.values() if any(stay.allows(line) for stay in stays)}
        times = Counter(seqs)
        highest = unordered = wrong = early = uninvited = 0
        seen: set[int] = set()
        for seq, message_id, tick in zip(seqs, ids, ticks, strict=True):
            if seq in by_seq and seq not in allowed and seq not in seen:
                # Acknowledged before the join, told after it: its node was behind and said so in the group's body.
                is_early = any(stay.explains(tick) for stay in stays)
                early += is_early
                uninvited += not is_early
            line = by_seq.get(seq)
            if line is None or line.id != message_id:
                wrong += 1
                told = "nobody was told of" if line is None else f"its sender was told id {line.id}, not"
                self._show(f"member {member} got seq {seq} with id {message_id}: {told} this")
            unordered += seq < highest and seq not in seen
            highest = max(highest, seq)
            seen.add(seq)
        return Verdict(
            owed=len(owed),
            lost=len(owed - seen),
            doubled=len(seqs) - len(times),
            unordered=unordered,
            uninvited=uninvited,
            early=early,
            wrong=wrong,
        )


def _inversions(lines: Sequence[Line]) -> int:
    """Count the neighbours that stand in another order than they were sent in."""
    return sum(one.seq >= other.seq or one.id >= other.id for one, other in pairwise(lines))


def _by_author(lines: Iterable[Line]) -> Iterable[list[Line]]:
    found: dict[int, list[Line]] = {}
    for line in lines:
        found.setdefault(line.author, []).append(line)
    return found.values()
