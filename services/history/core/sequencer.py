"""The sequencer: from a batch of commands to stored events, in the one order that everybody sees.

Ring 1 (core). A generator per batch, driven by `services.history.worker`. The order of steps is rule 3 of
docs/rules.md: commit, raise the heads, publish; the worker then replies and acks. What it
knows of channels lives in `Shard` and is dropped whenever a batch does not come to its end.
Rules of streams: `shared.core.stream`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from typing import Any, Final

import msgspec

from services.history.core.pulse import SILENCE_MS
from shared.core.commands import COMMAND_LIFETIME_MS, OpenDirect, Reply, SendMessage, refusal_of
from shared.core.errors import ChannelClosed, CommandExpired, InternalError, StarlingError, error_of
from shared.core.events import ChannelOpened, MessageCreated
from shared.core.ids import IdSource
from shared.core.stream import CHANNEL_LIMITS, Bucket, Draft, Event, Limits, Tail, Write, channel_stream, event_of, plan
from shared.core.writing import (
    Commit,
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
MAX_CHANNELS: Final = 20_000
"""Most channels that a shard's worker keeps knowledge of; the ones not touched for longest go first."""
MAX_REFUSALS: Final = 10_000
"""Most refusals remembered by nonce; the oldest go first."""

AnyCommand = SendMessage | OpenDirect


class CheckAccess(msgspec.Struct, frozen=True):
    """[list[str]]: for each (channel id, user id), the catalogue class name of today's refusal, or "".

    The name of a retryable one says that nobody could tell.
    """

    pairs: tuple[tuple[int, int], ...]


class Settled(msgspec.Struct, frozen=True):
    """The end of a batch: replies by index of the command; the rest was given back, to be delivered again."""

    replies: dict[int, Reply]
    given_back: tuple[int, ...] = ()


class Shard:
    """What a worker knows of the channels of its shard. `forget()` whenever a batch broke off."""

    def __init__(self, limits: Limits = CHANNEL_LIMITS) -> None:
        self.limits = limits
        self.known: dict[str, Knowledge] = {}
        self.refusals: dict[tuple[str, int, str], tuple[int, Reply]] = {}
        self.group_seqs: dict[int, int] = {}
        self.doubt_until = 0
        """Until then (Unix ms) changes of groups may have been missed, and no permission is taken for granted."""
        self.heard_at = 0
        """When invalidations, or the sign of life that stands for none, were last heard (Unix ms)."""

    def is_in_doubt(self, now: int) -> bool:
        """Whether changes of groups may have been missed, so that every permission is looked up."""
        return now < self.doubt_until or now - self.heard_at > SILENCE_MS

    def forget(self) -> None:
        """Drop all knowledge of channels. Refusals and groups' seqs stay true."""
        self.known.clear()

    def note_group_seq(self, group_id: int, seq: int) -> None:
        """Take in that a group has changed: sends permitted under older facts are looked at again."""
        if seq > self.group_seqs.get(group_id, 0):
            self.group_seqs.pop(group_id, None)
            self.group_seqs[group_id] = seq
            if len(self.group_seqs) > MAX_CHANNELS:
                del self.group_seqs[next(iter(self.group_seqs))]

    def remember_refusal(self, stream: str, command: SendMessage, reply: Reply, now: int) -> None:
        """Refuse this nonce alike while an earlier attempt of it can still be unexpired (rule 10)."""
        if command.nonce and command.enforce_nonce:
            self.refusals[stream, command.author.id, command.nonce] = (now + COMMAND_LIFETIME_MS, reply)
        while self.refusals:
            oldest = next(iter(self.refusals))
            if self.refusals[oldest][0] > now and len(self.refusals) <= MAX_REFUSALS:
                break
            del self.refusals[oldest]

    def refused_before(self, stream: str, command: SendMessage, now: int) -> Reply | None:
        """Return the remembered refusal of this author's nonce."""
        until, reply = self.refusals.get((stream, command.author.id, command.nonce), (0, None))
        return reply if until > now and command.enforce_nonce else None

    def trim(self) -> None:
        """Keep to `MAX_CHANNELS`."""
        while len(self.known) > MAX_CHANNELS:
            del self.known[next(iter(self.known))]


class _Lane:
    """One channel's part of a batch."""

    __slots__ = ("attempts", "events", "known", "queue", "stream", "touched")

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.known = Knowledge(Tail(stream), 0, 0)
        self.queue: deque[tuple[int, AnyCommand]] = deque()
        self.events: dict[int, Event] = {}
        self.attempts = 0
        self.touched = False

    def learn(self, known: Knowledge) -> None:
        """Take fresh knowledge; what was found unpublished goes out with this batch."""
        self.known = known
        for record in known.pending:
            self.events[record.seq] = event_of(known.tail, record)
            self.touched = True
        known.pending = []


def draft_of(command: AnyCommand) -> Draft:
    """Return the event that a command asks for."""
    if isinstance(command, SendMessage):
        enforced, shown = (command.nonce, "") if command.enforce_nonce else ("", command.nonce)
        body = MessageCreated(command.author, command.content, command.reference_id, shown)
        return Draft(body, command.command_id, enforced)
    return Draft(ChannelOpened(command.channel), command.command_id)


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
                    continue
                lane.queue.extendleft(reversed(taken))
                lane.attempts += 1
                shard.known.pop(lane.stream, None)
                if lane.attempts < ATTEMPTS:
                    lost.append(lane)
                else:
                    given_back += [index for index, _ in lane.queue]
                    lane.queue.clear()
            yield from _learn(shard, lost, replies, now)
        open_lanes = [lane for lane in open_lanes if lane.queue]

    yield from _find_again(hits, replies)
    yield from _publish(list(lanes.values()))
    shard.trim()
    return Settled(replies, tuple(given_back))


def _learn(shard: Shard, lanes: Sequence[_Lane], replies: dict[int, Reply], now: int) -> Generator[Any, Any, None]:
    """Give each lane its channel's knowledge, read where the shard has none."""
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


def _load(stream: str, now: int) -> Generator[Any, Any, Knowledge | StarlingError]:
    try:
        return (yield from load(stream, now))
    except StreamBroken:
        return _broken()
    except StreamClosed:
        return ChannelClosed(retry_after=CLOSED_RETRY_S)


def _check_again(shard: Shard, commands: Sequence[AnyCommand], now: int) -> Generator[Any, Any, dict[int, str]]:
    """Look again at what was permitted under older facts than this shard has heard of."""
    doubtful = [
        (index, command)
        for index, command in enumerate(commands)
        if isinstance(command, SendMessage)
        and command.group_id
        and (shard.is_in_doubt(now) or command.group_seq < shard.group_seqs.get(command.group_id, 0))
    ]
    if not doubtful:
        return {}
    pairs = tuple((command.channel_id, command.author.id) for _, command in doubtful)
    verdicts: list[str] = yield CheckAccess(pairs)
    return {index: verdict for (index, _), verdict in zip(doubtful, verdicts, strict=True)}


def _decide(
    shard: Shard,
    lane: _Lane,
    verdicts: dict[int, str],
    replies: dict[int, Reply],
    hits: list[tuple[int, AnyCommand, _Lane, Stored]],
    now: int,
) -> tuple[list[Draft], list[tuple[int, AnyCommand]]]:
    """Take commands off the lane: repeats and refusals are settled, the others come back to be written.

    First the dedupe lookup, and only for the rest expiry and permission.
    """
    drafts: list[Draft] = []
    taken: list[tuple[int, AnyCommand]] = []
    keys: set[Any] = set()
    while lane.queue and len(drafts) < shard.limits.messages:
        index, command = lane.queue[0]
        draft = draft_of(command)
        place = lane.known.find(draft, now)
        if place is None and isinstance(command, OpenDirect) and lane.known.tail.next_seq > 1:
            place = Stored(seq=1, first_seq=1, at=now)
        if place is not None:
            hits.append((index, command, lane, place))
            lane.queue.popleft()
            continue
        its_keys = {draft.command_id, draft.key} - {0, None}
        if keys & its_keys or (isinstance(command, OpenDirect) and drafts):
            break  # a repeat within this batch: decided when the first of them is stored
        lane.queue.popleft()
        refusal = _refusal(shard, lane.stream, command, verdicts.get(index, ""), now)
        if refusal is not None:
            replies[index] = refusal
            continue
        if lane.known.tail.next_seq == 1 and not drafts:
            to = command.to if isinstance(command, SendMessage) else _recipients(command)
            group_id = command.group_id if isinstance(command, SendMessage) else 0
            lane.known.tail = msgspec.structs.replace(lane.known.tail, group_id=group_id, to=to)
        drafts.append(draft)
        taken.append((index, command))
        keys |= its_keys
    return drafts, taken


def _broken() -> StarlingError:
    return InternalError("The channel's history is broken")


def _recipients(command: OpenDirect) -> tuple[int, ...]:
    return tuple(user.id for user in command.channel.recipients)


def _refusal(shard: Shard, stream: str, command: AnyCommand, verdict: str, now: int) -> Reply | None:
    if isinstance(command, SendMessage):
        before = shard.refused_before(stream, command, now)
        if before is not None:
            return msgspec.structs.replace(before, command_id=command.command_id)
    if command.expires_at <= now:
        return refusal_of(command.command_id, CommandExpired())
    if isinstance(command, SendMessage) and (reason := command.refusal or verdict):
        error = error_of(reason, "")
        reply = refusal_of(command.command_id, error)
        if not error.retryable:  # what can't be known now is nothing to hold an author to
            shard.remember_refusal(stream, command, reply, now)
        return reply
    return None


def _take_in(lane: _Lane, write: Write, taken: Sequence[tuple[int, AnyCommand]], replies: dict[int, Reply]) -> None:
    lane.known.advance(write)
    lane.touched = True
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
