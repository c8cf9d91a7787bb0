"""Finding: what must be read for a batch: messages, reactions and pins that its commands are about or that it tells.

Ring 1 (core). Read `judging` next: who decides on it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final

import msgspec

from services.history.core.deciding import (
    Facts,
    message_ids_of,
    messages_in,
    needs_direct,
    needs_pins,
    reactor_keys_of,
    record_of,
)
from services.history.core.lanes import Hit, Lane
from services.history.core.marks import Mark, Pin, PutMarks, ReadDirects, ReadPins, ReadReactors, marks_of
from shared.core.commands import OpenDirect, Reply, refusal_of
from shared.core.errors import InternalError, StarlingError
from shared.core.model import Channel
from shared.core.replies import NOTHING, messages_among, place_of_reference, referenced_of
from shared.core.stream import Bucket, Event, Tail, event_of, owner_of
from shared.core.writing import FindBucket, ReadBucket, Together

_BUCKETS_AT_ONCE: Final = 32
"""Most whole buckets that are read side by side to find the messages of a batch's commands."""


def broken() -> StarlingError:
    """Return the refusal of what concerns a channel whose stored chain contradicts itself."""
    return InternalError("The channel's history is broken")


def find_facts(lanes: Sequence[Lane], now: int) -> Generator[Any, Any, None]:
    """Read what the lanes' commands are decided on, beside the channels themselves; nothing for plain ones."""
    lanes = [lane for lane in lanes if not lane.is_plain]
    yield from _find_messages(lanes, now)
    yield from _find_reactors(lanes)
    yield from _find_pins(lanes)
    yield from _find_directs(lanes)


def _find_messages(lanes: Sequence[Lane], now: int) -> Generator[Any, Any, None]:
    """Read the messages that commands are about."""
    wanted: list[tuple[Lane, list[int]]] = []
    for lane in lanes:
        lane.facts = Facts()
        ids = {
            message_id
            for _, command in lane.queue
            for message_id in message_ids_of(command)
            if lane.known.stored_at(command.command_id, now) is None
        }
        if ids:
            wanted.append((lane, sorted(ids)))
    while wanted:
        reading, wanted = wanted[:_BUCKETS_AT_ONCE], wanted[_BUCKETS_AT_ONCE:]
        buckets: list[Bucket | None] = yield Together(
            tuple(_search_of(lane.known.tail, message_ids[-1]) for lane, message_ids in reading)
        )
        for (lane, message_ids), bucket in zip(reading, buckets, strict=True):
            found = messages_in(bucket) if bucket is not None else {}
            while message_ids and (bucket is None or message_ids[-1] >= bucket.first_id):
                if (standing := found.get(message_id := message_ids.pop())) is not None:
                    lane.facts.messages[message_id] = standing
            if message_ids:
                wanted.append((lane, message_ids))


def _find_reactors(lanes: Sequence[Lane]) -> Generator[Any, Any, None]:
    """Read whose reactions commands are about, of the messages that there are."""
    keys = [
        (lane, key)
        for lane in lanes
        for key in {key for _, command in lane.queue for key in reactor_keys_of(command)}
        if key[0] in lane.facts.messages
    ]
    if keys:
        epochs: list[int] = yield ReadReactors(tuple(key for _, key in keys))
        for (lane, key), epoch in zip(keys, epochs, strict=True):
            lane.facts.reactors[key] = epoch


def _find_pins(lanes: Sequence[Lane]) -> Generator[Any, Any, None]:
    """Read the pins of channels whose commands are about them."""
    asking = [lane for lane in lanes if any(needs_pins(command) for _, command in lane.queue)]
    if asking:
        found: list[list[Pin]] = yield ReadPins(tuple(owner_of(lane.stream) for lane in asking))
        for lane, pins in zip(asking, found, strict=True):
            lane.facts.pins = {pin.message_id: pin.at for pin in pins}


def _find_directs(lanes: Sequence[Lane]) -> Generator[Any, Any, None]:
    """Read the direct channels that commands are about."""
    asking = [lane for lane in lanes if any(needs_direct(command) for _, command in lane.queue)]
    if asking:
        found: list[Channel | None] = yield ReadDirects(tuple(owner_of(lane.stream) for lane in asking))
        for lane, channel in zip(asking, found, strict=True):
            lane.facts.direct = channel


def _search_of(tail: Tail, message_id: int) -> ReadBucket | FindBucket:
    """Return how to find the bucket of a message: what is new is in the tail.

    One above all that is known is looked for too: a rival may have written it, and nobody is told that it is not there.
    """
    if 0 < tail.first_id <= message_id <= tail.last_id:
        return ReadBucket(tail.stream, tail.first_seq)
    return FindBucket(tail.stream, message_id)


def find_again(hits: Sequence[Hit], replies: dict[int, Reply]) -> Generator[Any, Any, None]:
    """Reply to repeats with what is stored, and let their events be published again.

    A direct channel that is opened once more is projected once more, too: its first event may be older than that.
    """
    places = list(dict.fromkeys((lane.stream, place.first_seq) for _, _, lane, place in hits))
    if not places:
        return
    buckets: list[Bucket | None] = yield Together(tuple(ReadBucket(*place) for place in places))
    by_place = dict(zip(places, buckets, strict=True))
    marks: list[Mark] = []
    for index, command, lane, place in hits:
        bucket = by_place[lane.stream, place.first_seq]
        record = next((one for one in bucket.records() if one.seq == place.seq), None) if bucket else None
        if bucket is None or record is None:
            replies[index] = refusal_of(command.command_id, broken())
            continue
        lane.events[record.seq] = event_of(bucket, record)
        replies[index] = Reply(command.command_id, record.seq, record.id)
        if isinstance(command, OpenDirect):
            marks += marks_of(lane.stream, lane.known.tail.group_id, (record,))
    if marks:
        yield PutMarks(tuple(marks))


def find_referenced(lanes: Iterable[Lane]) -> Generator[Any, Any, None]:
    """Give each reply the message that it replies to: as it was decided on, or read where that was elsewhere."""
    missing: dict[tuple[str, int], list[tuple[Lane, Event]]] = {}
    for lane in lanes:
        for event in lane.events.values():
            place = place_of_reference(event.record)
            if place is None:
                continue
            standing = lane.facts.messages.get(place[1])
            if standing is None:
                missing.setdefault((lane.stream, place[0]), []).append((lane, event))
            else:
                lane.events[event.record.seq] = msgspec.structs.replace(event, referenced=record_of(standing))
    if not missing:
        return
    buckets: list[Bucket | None] = yield Together(tuple(ReadBucket(*place) for place in missing))
    for bucket, replies in zip(buckets, missing.values(), strict=True):
        found = messages_among(bucket.messages) if bucket is not None else NOTHING
        for lane, event in replies:
            lane.events[event.record.seq] = msgspec.structs.replace(
                event, referenced=referenced_of(event.record, found)
            )
