"""Lanes: one channel's part of a batch, from the commands that came to the events that go out.

Ring 1 (core). Read `finding` next: what a lane's commands must know.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from itertools import chain
from typing import Any

from services.history.core.deciding import Facts, is_plain
from services.history.core.marks import PutMarks, marks_of
from shared.core.amending import amendments_of
from shared.core.commands import AnyCommand, Reply
from shared.core.message_events import MessageCreated
from shared.core.stream import Event, Record, Tail, Write, channel_stream, event_of
from shared.core.writing import Amend, Knowledge, Stored, Together


class Lane:
    """One channel's part of a batch.

    `changes` are committed and perhaps not projected; `facts` are what its commands are decided on, as things
    stand after all that is committed. `is_plain`: its commands write messages that depend on no others.
    """

    __slots__ = ("attempts", "changes", "events", "facts", "is_plain", "known", "queue", "stream", "touched")

    def __init__(self, channel_id: int) -> None:
        self.stream = stream = channel_stream(channel_id)
        self.known = Knowledge(Tail(stream), 0, 0)
        self.queue: deque[tuple[int, AnyCommand]] = deque()
        self.events: dict[int, Event] = {}
        self.changes: list[Record] = []
        self.facts = Facts()
        self.attempts = 0
        self.is_plain = True
        self.touched = False

    def add(self, index: int, command: AnyCommand) -> None:
        """Take one more command of the batch."""
        self.queue.append((index, command))
        if self.is_plain and not is_plain(command):
            self.is_plain = False

    def learn(self, known: Knowledge) -> None:
        """Take fresh knowledge; what was found unprojected or unpublished is so with this batch."""
        self.known = known
        for event in known.pending:
            self.events[event.record.seq] = event
            self.touched = True
        records = (event.record for event in known.pending)
        self.changes = [record for record in records if record.seq > known.projected and _is_projected(record)]
        known.pending = []

    def take_in(self, write: Write, taken: Sequence[tuple[int, AnyCommand]], replies: dict[int, Reply]) -> None:
        """Take in that a write with what these commands came to was stored, and reply to them."""
        self.known.advance(write)
        self.touched = True
        changes = [one for one in write.records if _is_projected(one)] if write.after.to else write.changes
        self.changes += changes
        for record in changes:
            self.facts.take_in(record.body)
        for (index, command), record in zip(taken, write.records, strict=True):
            replies[index] = Reply(command.command_id, record.seq, record.id)
            self.events[record.seq] = event_of(write.after, record)


def _is_projected(record: Record) -> bool:
    """Whether an event changes more than the end of the channel: it is no message, or one that tells of a change."""
    return not record.id or (isinstance(record.body, MessageCreated) and record.body.channel is not None)


Hit = tuple[int, AnyCommand, Lane, Stored]
"""A command that is stored already, with its index, and where."""


def project(lanes: Iterable[Lane]) -> Generator[Any, Any, None]:
    """Project what is committed: onto its messages by one update for each bucket, and as marks (rule 3)."""
    changed = [lane for lane in lanes if lane.changes]
    effects: list[Amend | PutMarks] = []
    if amendments := tuple(chain.from_iterable(amendments_of(lane.stream, lane.changes) for lane in changed)):
        effects.append(Amend(amendments))
    if marks := tuple(
        chain.from_iterable(marks_of(lane.stream, lane.known.tail.group_id, lane.changes) for lane in changed)
    ):
        effects.append(PutMarks(marks))
    if len(effects) > 1:
        yield Together(tuple(effects))
    elif effects:
        yield effects[0]
    for lane in changed:
        lane.changes.clear()
