"""One change to a group's or user's stream: decide, commit, project, publish, then answer.

Ring 1 (core). Any replica may run this; rivals meet at the conditional commit and decide again
(rule 7 of docs/rules.md). A repeat that changes nothing also waits until everything it was
decided on is published, and publishes what is missing itself. Rules: `shared.core.stream`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

import msgspec

from shared.core.errors import Unavailable
from shared.core.events import AnyBody
from shared.core.group_errors import UnknownGroup
from shared.core.ids import IdSource
from shared.core.stream import CHANGE_LIMITS, Draft, Event, Head, Limits, Record, owner_of, plan
from shared.core.writing import Commit, Knowledge, Publish, RaiseHeads, load

ATTEMPTS: Final = 32
"""How often a change is decided anew after it lost against a rival, before the caller is told to retry.

A process takes turns on a stream, so rivals are other replicas: with four of them, one in 10,000 gives up.
"""

_NONE: Final = 1 << 62
"""A seq that no event has: no command need be recognised."""


class Actor(msgspec.Struct, frozen=True):
    """The user who asks for a change of a group, and why: what its audit log tells."""

    user_id: int
    reason: str = ""


NOBODY: Final = Actor(0)
"""Nobody is to be named: the change is the doing of whom it is about, or our own."""


class Project(msgspec.Struct, frozen=True):
    """[None]: apply these events, in order, to the projections of their stream (idempotent by seq)."""

    stream: str
    records: tuple[Record, ...]


class Decide(msgspec.Struct, frozen=True):
    """[AnyBody | None]: what happens, on projections complete to `seq`; None changes nothing. May refuse by raising."""

    seq: int


class Follow(msgspec.Struct, frozen=True):
    """[None]: do what these published events ask for in other streams (idempotent)."""

    stream: str
    records: tuple[Record, ...]


class Clean(msgspec.Struct, frozen=True):
    """[None]: take the dirty mark from the bucket if its `next_seq` is still this."""

    stream: str
    first_seq: int
    next_seq: int


def event_of_change(stream: str, record: Record) -> Event:
    """Return the event of a record of a group's or user's stream: whom it goes to stands in the stream's name."""
    owner = owner_of(stream)
    if stream.startswith("g:"):
        return Event(stream, record, group_id=owner)
    return Event(stream, record, to=(owner,))


def _finish(known: Knowledge, records: list[Record]) -> Generator[Any, Any, None]:
    """Project, raise the head, publish, follow, raise `published`: rule 3, for all above what the head says."""
    stream = known.tail.stream
    last = known.tail.next_seq - 1
    if todo := tuple(record for record in records if record.seq > known.projected):
        yield Project(stream, todo)
    known.projected = max(known.projected, last)
    yield RaiseHeads((known.head(),))
    if todo := tuple(record for record in records if record.seq > known.published):
        yield Publish(tuple(event_of_change(stream, record) for record in todo))
        yield Follow(stream, todo)
        known.published = last
        yield RaiseHeads((Head(stream, published=last),))
        yield Clean(stream, known.tail.first_seq, known.tail.next_seq)


def settle(stream: str, now: int, since: int = _NONE) -> Generator[Any, Any, Knowledge]:
    """Finish whatever was committed to the stream and not yet projected, published and followed.

    What is known then recognises commands from seq `since` on.
    """
    known = yield from load(stream, now, since)
    if known.pending:
        yield from _finish(known, [event.record for event in known.pending])
    return known


def change(
    stream: str,
    now: int,
    ids: IdSource,
    *,
    command_id: int = 0,
    actor: Actor = NOBODY,
    limits: Limits = CHANGE_LIMITS,
) -> Generator[Any, Any, int]:
    """Decide on complete facts, commit, and return the head's seq when all of it is published.

    With a `command_id`, new for each change, a commit of unknown outcome that was stored is recognised and not decided
    again. `actor` is named in the group's audit log. Raises what `Decide` raises, `UnknownGroup` where the stream is
    that of a deleted group, and `Unavailable` after `ATTEMPTS` lost commits.
    """
    since = _NONE
    for _ in range(ATTEMPTS):
        known = yield from settle(stream, now, since)
        since = min(since, known.tail.next_seq)  # what is ours can stand from there on only
        if command_id and known.stored_at(command_id, now) is not None:
            return known.tail.next_seq - 1
        if known.is_over:
            raise UnknownGroup
        body: AnyBody | None = yield Decide(known.tail.next_seq - 1)
        if body is None:
            return known.tail.next_seq - 1
        draft = Draft(body, command_id, by=actor.user_id, reason=actor.reason)
        write, _ = plan(known.tail, (draft,), now, ids, limits, dirty=True)
        (stored,) = yield Commit((write,))
        if stored:
            known.advance(write)
            yield from _finish(known, list(write.records))
            return known.tail.next_seq - 1
    raise Unavailable("Too many changes at once, try again")
