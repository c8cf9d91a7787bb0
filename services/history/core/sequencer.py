"""The sequencer: from a batch of commands to stored events, in the one order that everybody sees.

Ring 1 (core). A generator per batch, driven by `services.history.worker`. The order of steps is rule 3 of
docs/rules.md: commit, project, raise the heads, publish; the worker then replies and acks. What it
knows of channels lives in `Shard` and is dropped whenever a batch does not come to its end. What a command comes to
is the business of `deciding`, what a change does to messages that of `shared.core.amending`.
Rules of streams: `shared.core.stream`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from services.history.core.deciding import (
    Facts,
    Verdict,
    draft_of,
    keys_of,
    message_ids_of,
    messages_in,
    needs_pins,
    reactor_keys_of,
    record_of,
    user_of,
)
from services.history.core.marks import Pin, PutMarks, ReadPins, ReadReactors, marks_of
from services.history.core.pacing import Pace, read_pace
from services.history.core.shard import Shard
from shared.core.amending import amendments_of
from shared.core.commands import AnyCommand, MessageCommand, OpenDirect, Reply, SendMessage, refusal_of
from shared.core.errors import InternalError, StarlingError
from shared.core.events import MessageCreated
from shared.core.ids import IdSource
from shared.core.message_errors import ChannelClosed, CommandExpired, SlowMode
from shared.core.replies import NOTHING, messages_among, place_of_reference, referenced_of
from shared.core.stream import Bucket, Draft, Event, Key, Record, Tail, Write, channel_stream, event_of, owner_of, plan
from shared.core.writing import (
    Amend,
    Commit,
    FindBucket,
    Knowledge,
    Publish,
    RaiseHeads,
    ReadBucket,
    Stored,
    StreamBroken,
    StreamClosed,
    Together,
    load,
    together,
)

ATTEMPTS: Final = 4
"""How often a channel's commit is tried anew after it was lost, before the shard is given back (rule 2)."""
CLOSED_RETRY_S: Final = 5.0
"""When a sender may try again where an import keeps the channel closed."""
_BY_USERS: Final = (SendMessage, MessageCommand)
_BUCKETS_AT_ONCE: Final = 32
"""Most whole buckets that are read side by side to find the messages of a batch's commands."""


class CheckAccess(msgspec.Struct, frozen=True):
    """[list[Verdict]]: for each (channel id, user id), what that user may do there by today's facts.

    A retryable refusal says that nobody could tell.
    """

    pairs: tuple[tuple[int, int], ...]


class ReadClock(msgspec.Struct, frozen=True):
    """[int]: Unix ms. Asked for where a batch has waited, so that what expired meanwhile is not stored."""


class Settled(msgspec.Struct, frozen=True):
    """The end of a batch: replies by index of the command; the rest was given back, to be delivered again."""

    replies: dict[int, Reply]
    given_back: tuple[int, ...] = ()


class _Lane:
    """One channel's part of a batch.

    `changes` are committed and perhaps not projected; `facts` are what its commands are decided on, as things
    stand after all that is committed.
    """

    __slots__ = ("attempts", "changes", "events", "facts", "known", "queue", "stream", "touched")

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.known = Knowledge(Tail(stream), 0, 0)
        self.queue: deque[tuple[int, AnyCommand]] = deque()
        self.events: dict[int, Event] = {}
        self.changes: list[Record] = []
        self.facts = Facts()
        self.attempts = 0
        self.touched = False

    def learn(self, known: Knowledge) -> None:
        """Take fresh knowledge; what was found unprojected or unpublished is so with this batch."""
        self.known = known
        for record in known.pending:
            self.events[record.seq] = event_of(known.tail, record)
            self.touched = True
        self.changes = [record for record in known.pending if record.seq > known.projected and not record.id]
        known.pending = []


def sequence(shard: Shard, commands: Sequence[AnyCommand], now: int, ids: IdSource) -> Generator[Any, Any, Settled]:
    """Store and publish a batch; return the replies, to be sent before the batch is acked.

    A command that is stored already is not written again, but published and replied to again. Commands
    of one channel keep their order. If this raises or is dropped, `shard.forget()` must follow.
    """
    lanes: dict[str, _Lane] = {}
    for index, command in enumerate(commands):
        stream = channel_stream(command.channel_id)
        lanes.setdefault(stream, _Lane(stream)).queue.append((index, command))
    replies: dict[int, Reply] = {}
    given_back: list[int] = []
    hits: list[tuple[int, AnyCommand, _Lane, Stored]] = []

    yield from _learn(shard, list(lanes.values()), replies, now)
    verdicts = yield from _check_again(shard, commands, now)
    if verdicts:
        now = yield ReadClock()
    yield from _learn_paces(shard, lanes.values(), verdicts, now)

    open_lanes = [lane for lane in lanes.values() if lane.queue]
    while open_lanes:
        writes: list[Write] = []
        writing: list[tuple[_Lane, list[tuple[int, AnyCommand]]]] = []
        for lane in open_lanes:
            drafts, taken = _decide(shard, lane, verdicts, replies, hits, now)
            if drafts:
                write, count = plan(lane.known.tail, drafts, now, ids, shard.limits)
                lane.queue.extendleft(reversed(taken[count:]))
                writes.append(write)
                writing.append((lane, taken[:count]))
        if writes:
            outcomes: list[bool] = yield Commit(tuple(writes))
            lost = []
            for (lane, taken), write, stored in zip(writing, writes, outcomes, strict=True):
                if stored:
                    _take_in(lane, write, taken, replies)
                    _keep_pace(shard, lane.stream, write)
                    continue
                lane.queue.extendleft(reversed(taken))
                lane.attempts += 1
                shard.known.pop(lane.stream, None)
                shard.paces.pop(lane.stream, None)
                if lane.attempts < ATTEMPTS:
                    lost.append(lane)
                else:
                    given_back += [index for index, _ in lane.queue]
                    lane.queue.clear()
            if lost:
                now = yield ReadClock()
                yield from _learn(shard, lost, replies, now)
                yield from _learn_paces(shard, lost, verdicts, now)
        open_lanes = [lane for lane in open_lanes if lane.queue]

    yield from _project(lanes.values())
    yield from _find_again(hits, replies)
    yield from _find_referenced(lanes.values())
    yield from _publish(list(lanes.values()))
    shard.trim()
    return Settled(replies, tuple(given_back))


def _learn(shard: Shard, lanes: Sequence[_Lane], replies: dict[int, Reply], now: int) -> Generator[Any, Any, None]:
    """Give each lane its channel's knowledge, read where the shard has none, and its commands' messages."""
    unknown = [lane for lane in lanes if lane.stream not in shard.known]
    loaded = yield from together([_load(lane.stream, now) for lane in unknown])
    for lane, known in zip(unknown, loaded, strict=True):
        if isinstance(known, Knowledge):
            shard.known[lane.stream] = known
            continue
        while lane.queue:  # a broken chain is no reason to stop the shard's other channels, nor is a closed one
            index, command = lane.queue.popleft()
            replies[index] = refusal_of(command.command_id, known)
    for lane in lanes:
        known = shard.known.pop(lane.stream, None)
        if known is not None:
            shard.known[lane.stream] = known  # now the last to be trimmed
            known.prune(now)
            lane.learn(known)
    yield from _project(lanes)  # a decision reads messages that are complete to the tail
    yield from _find_messages(lanes, now)
    yield from _find_reactors(lanes)
    yield from _find_pins(lanes)


def _learn_paces(
    shard: Shard, lanes: Iterable[_Lane], verdicts: dict[int, Verdict], now: int
) -> Generator[Any, Any, None]:
    """Learn who wrote lately in channels with slow mode."""
    unknown: list[tuple[str, Generator[Any, Any, Pace]]] = []
    for lane in lanes:
        slow_s = max((_slow_s_of(command, verdicts.get(index)) for index, command in lane.queue), default=0)
        since = now - slow_s * 1000
        if slow_s and (lane.stream not in shard.paces or shard.paces[lane.stream].since > since):
            unknown.append((lane.stream, read_pace(lane.known.tail, since)))
    paces = yield from together([reading for _, reading in unknown])
    for (stream, _), pace in zip(unknown, paces, strict=True):
        shard.paces[stream] = pace


def _slow_s_of(command: AnyCommand, verdict: Verdict | None) -> int:
    """Return the pause that slow mode asks of who sends a message, by what was looked up again or by its node."""
    if not isinstance(command, SendMessage) or command.kind:
        return 0
    return command.slow_s if verdict is None else verdict.slow_s


def _keep_pace(shard: Shard, stream: str, write: Write) -> None:
    if (pace := shard.paces.get(stream)) is not None:
        for record in write.messages:
            if isinstance(record.body, MessageCreated):
                pace.note(record.body.author.id, record.at)


def _load(stream: str, now: int) -> Generator[Any, Any, Knowledge | StarlingError]:
    try:
        return (yield from load(stream, now))
    except StreamBroken:
        return _broken()
    except StreamClosed:
        return ChannelClosed(retry_after=CLOSED_RETRY_S)


def _project(lanes: Iterable[_Lane]) -> Generator[Any, Any, None]:
    """Project what is committed: onto its messages by one update for each bucket, and as marks (rule 3)."""
    changed = [lane for lane in lanes if lane.changes]
    effects: list[Amend | PutMarks] = []
    if amendments := tuple(chain.from_iterable(amendments_of(lane.stream, lane.changes) for lane in changed)):
        effects.append(Amend(amendments))
    if marks := tuple(chain.from_iterable(marks_of(owner_of(lane.stream), lane.changes) for lane in changed)):
        effects.append(PutMarks(marks))
    if len(effects) > 1:
        yield Together(tuple(effects))
    elif effects:
        yield effects[0]
    for lane in changed:
        lane.changes.clear()


def _find_messages(lanes: Sequence[_Lane], now: int) -> Generator[Any, Any, None]:
    """Read the messages that commands are about; nothing for those that write new ones."""
    wanted: list[tuple[_Lane, list[int]]] = []
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


def _find_reactors(lanes: Sequence[_Lane]) -> Generator[Any, Any, None]:
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


def _find_pins(lanes: Sequence[_Lane]) -> Generator[Any, Any, None]:
    """Read the pins of channels whose commands are about them."""
    asking = [lane for lane in lanes if any(needs_pins(command) for _, command in lane.queue)]
    if asking:
        found: list[list[Pin]] = yield ReadPins(tuple(owner_of(lane.stream) for lane in asking))
        for lane, pins in zip(asking, found, strict=True):
            lane.facts.pins = {pin.message_id: pin.at for pin in pins}


def _search_of(tail: Tail, message_id: int) -> ReadBucket | FindBucket:
    """Return how to find the bucket of a message: what is new is in the tail.

    One above all that is known is looked for too: a rival may have written it, and nobody is told that it is not there.
    """
    if 0 < tail.first_id <= message_id <= tail.last_id:
        return ReadBucket(tail.stream, tail.first_seq)
    return FindBucket(tail.stream, message_id)


def _check_again(shard: Shard, commands: Sequence[AnyCommand], now: int) -> Generator[Any, Any, dict[int, Verdict]]:
    """Look again at what was permitted under older facts than this shard has heard of."""
    doubtful = [
        (index, command)
        for index, command in enumerate(commands)
        if isinstance(command, _BY_USERS)
        and command.group_id
        and (shard.is_in_doubt(now) or command.group_seq < shard.group_seqs.get(command.group_id, 0))
    ]
    if not doubtful:
        return {}
    pairs = tuple((command.channel_id, user_of(command)) for _, command in doubtful)
    verdicts: list[Verdict] = yield CheckAccess(pairs)
    return {index: verdict for (index, _), verdict in zip(doubtful, verdicts, strict=True)}


def _decide(
    shard: Shard,
    lane: _Lane,
    verdicts: dict[int, Verdict],
    replies: dict[int, Reply],
    hits: list[tuple[int, AnyCommand, _Lane, Stored]],
    now: int,
) -> tuple[list[Draft], list[tuple[int, AnyCommand]]]:
    """Take commands off the lane: repeats and refusals are settled, the others come back to be written.

    First the dedupe lookup, and only for the rest expiry and permission. Each is decided on what those before it
    make of the messages.
    """
    drafts: list[Draft] = []
    taken: list[tuple[int, AnyCommand]] = []
    keys: set[Key] = set()
    facts = lane.facts.copy()
    writing: set[int] = set()
    while lane.queue and len(drafts) < shard.limits.messages:
        index, command = lane.queue[0]
        its_keys = keys_of(command)
        place = lane.known.find(its_keys, now)
        if place is None and isinstance(command, OpenDirect) and lane.known.tail.next_seq > 1:
            place = Stored(seq=1, first_seq=1, at=now)
        if place is not None:
            hits.append((index, command, lane, place))
            lane.queue.popleft()
            continue
        if not keys.isdisjoint(its_keys) or (isinstance(command, OpenDirect) and drafts):
            break  # a repeat within this batch: decided when the first of them is stored
        lane.queue.popleft()
        decided = _judge(shard, lane, command, facts, verdicts.get(index), writing, now)
        if isinstance(decided, Reply):
            replies[index] = decided
            continue
        if lane.known.tail.next_seq == 1 and not drafts:
            lane.known.tail = _begun_by(command, lane.known.tail)
        facts.take_in(decided.body)
        if isinstance(command, SendMessage):
            writing.add(command.author.id)
        drafts.append(decided)
        taken.append((index, command))
        keys.update(its_keys)
    return drafts, taken


def _judge(
    shard: Shard,
    lane: _Lane,
    command: AnyCommand,
    facts: Facts,
    verdict: Verdict | None,
    writing: set[int],
    now: int,
) -> Draft | Reply:
    """Return what a command comes to, or the reply that settles it. `writing`: whose messages go with this write."""
    if isinstance(command, SendMessage) and (before := shard.refused_before(lane.stream, command, now)) is not None:
        return msgspec.structs.replace(before, command_id=command.command_id)
    if command.expires_at <= now:
        return refusal_of(command.command_id, CommandExpired())
    try:
        drafted = draft_of(command, facts, verdict, now)
        _require_pause(shard, lane.stream, command, verdict, writing, now)
        return drafted or Reply(command.command_id)
    except StarlingError as refusal:
        reply = refusal_of(command.command_id, refusal)
        if isinstance(command, SendMessage) and not refusal.retryable:  # what can't be known now holds nobody to it
            shard.remember_refusal(lane.stream, command, reply, now)
        return reply


def _require_pause(
    shard: Shard, stream: str, command: AnyCommand, verdict: Verdict | None, writing: set[int], now: int
) -> None:
    """Raise `SlowMode` for who wrote too short a time ago; the same nonce may come again when the pause is over."""
    slow_s = _slow_s_of(command, verdict)
    if not slow_s or not isinstance(command, SendMessage):
        return
    author_id = command.author.id
    pace = shard.paces.get(stream)
    wait_s = slow_s if author_id in writing else pace.wait_s(author_id, slow_s, now) if pace is not None else 0.0
    if wait_s > 0:
        raise SlowMode(retry_after=wait_s)


def _begun_by(command: AnyCommand, tail: Tail) -> Tail:
    """Return the tail of a stream that begins with this command: it says whom the stream's events go to."""
    match command:
        case SendMessage(group_id=group_id, to=to):
            return msgspec.structs.replace(tail, group_id=group_id, to=to)
        case OpenDirect(channel=channel):
            return msgspec.structs.replace(tail, to=tuple(user.id for user in channel.recipients))
        case _:
            return tail  # about a message that a rival wrote: the stream has begun, and this write will be lost


def _broken() -> StarlingError:
    return InternalError("The channel's history is broken")


def _take_in(lane: _Lane, write: Write, taken: Sequence[tuple[int, AnyCommand]], replies: dict[int, Reply]) -> None:
    lane.known.advance(write)
    lane.touched = True
    lane.changes += write.changes
    for record in write.changes:
        lane.facts.take_in(record.body)
    for (index, command), record in zip(taken, write.records, strict=True):
        replies[index] = Reply(command.command_id, record.seq, record.id)
        lane.events[record.seq] = event_of(write.after, record)


def _find_again(
    hits: Sequence[tuple[int, AnyCommand, _Lane, Stored]], replies: dict[int, Reply]
) -> Generator[Any, Any, None]:
    """Reply to repeats with what is stored, and let their events be published again."""
    places = list(dict.fromkeys((lane.stream, place.first_seq) for _, _, lane, place in hits))
    if not places:
        return
    buckets: list[Bucket | None] = yield Together(tuple(ReadBucket(*place) for place in places))
    by_place = dict(zip(places, buckets, strict=True))
    for index, command, lane, place in hits:
        bucket = by_place[lane.stream, place.first_seq]
        record = next((one for one in bucket.records() if one.seq == place.seq), None) if bucket else None
        if bucket is None or record is None:
            replies[index] = refusal_of(command.command_id, _broken())
            continue
        lane.events[record.seq] = event_of(bucket, record)
        replies[index] = Reply(command.command_id, record.seq, record.id)


def _find_referenced(lanes: Iterable[_Lane]) -> Generator[Any, Any, None]:
    """Give each reply the message that it replies to: as it was decided on, or read where that was elsewhere."""
    missing: dict[tuple[str, int], list[tuple[_Lane, Event]]] = {}
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


def _publish(lanes: Sequence[_Lane]) -> Generator[Any, Any, None]:
    """Raise the heads, then publish in the order of each stream.

    `published` is raised with the next batch's head: a successor publishes the last batch once more, and
    nodes drop a repeat.
    """
    touched = [lane for lane in lanes if lane.touched]
    if touched:
        for lane in touched:
            lane.known.projected = lane.known.tail.next_seq - 1
        yield RaiseHeads(tuple(lane.known.head() for lane in touched))
    events = tuple(lane.events[seq] for lane in lanes for seq in sorted(lane.events))
    if events:
        yield Publish(events)
    for lane in touched:
        lane.known.published = lane.known.tail.next_seq - 1
