"""The sequencer: from a batch of commands to stored events, in the one order that everybody sees.

Ring 1 (core). A generator per batch, driven by `services.history.worker`. The order of steps is rule 3 of
docs/rules.md: commit, project, raise the heads, publish; the worker then replies and acks. What it
knows of channels lives in `Shard` and is dropped whenever a batch does not come to its end. Each channel's part of a
batch is a `Lane`; what its commands must know is read by `finding`, which of them are written says `judging`, what a
change does to messages `shared.core.amending`. Rules of streams: `shared.core.stream`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final

import msgspec

from services.history.core.finding import broken, find_again, find_facts, find_referenced
from services.history.core.judging import check_again, decide
from services.history.core.lanes import Hit, Lane, project
from services.history.core.pauses import keep_pace, learn_paces
from services.history.core.shard import Shard
from shared.core.commands import AnyCommand, Reply, refusal_of
from shared.core.errors import StarlingError
from shared.core.ids import IdSource
from shared.core.message_errors import ChannelClosed
from shared.core.stream import Write, plan
from shared.core.writing import (
    Commit,
    Knowledge,
    Publish,
    RaiseHeads,
    StreamBroken,
    StreamClosed,
    load,
    together,
)

ATTEMPTS: Final = 4
"""How often a channel's commit is tried anew after it was lost, before the shard is given back (rule 2)."""
CLOSED_RETRY_S: Final = 5.0
"""When a sender may try again where an import keeps the channel closed."""


class ReadClock(msgspec.Struct, frozen=True):
    """[int]: Unix ms. Asked for where a batch has waited, so that what expired meanwhile is not stored."""


class Settled(msgspec.Struct, frozen=True):
    """The end of a batch: replies by index of the command; the rest was given back, to be delivered again."""

    replies: dict[int, Reply]
    given_back: tuple[int, ...] = ()


def sequence(shard: Shard, commands: Sequence[AnyCommand], now: int, ids: IdSource) -> Generator[Any, Any, Settled]:
    """Store and publish a batch; return the replies, to be sent before the batch is acked.

    A command that is stored already is not written again, but published and replied to again. Commands
    of one channel keep their order. If this raises or is dropped, `shard.forget()` must follow.
    """
    lanes: dict[int, Lane] = {}
    for index, command in enumerate(commands):
        if (lane := lanes.get(command.channel_id)) is None:
            lane = lanes[command.channel_id] = Lane(command.channel_id)
        lane.add(index, command)
    replies: dict[int, Reply] = {}
    given_back: list[int] = []
    hits: list[Hit] = []

    yield from _learn(shard, list(lanes.values()), replies, now)
    verdicts = yield from check_again(shard, commands, now)
    if verdicts:
        now = yield ReadClock()
    yield from learn_paces(shard, lanes.values(), verdicts, now)

    open_lanes = [lane for lane in lanes.values() if lane.queue]
    while open_lanes:
        writes: list[Write] = []
        writing: list[tuple[Lane, list[tuple[int, AnyCommand]]]] = []
        for lane in open_lanes:
            drafts, taken = decide(shard, lane, verdicts, replies, hits, now)
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
                    lane.take_in(write, taken, replies)
                    keep_pace(shard, lane.stream, write)
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
                yield from learn_paces(shard, lost, verdicts, now)
        open_lanes = [lane for lane in open_lanes if lane.queue]

    yield from project(lanes.values())
    yield from find_again(hits, replies)
    yield from find_referenced(lanes.values())
    yield from _publish(list(lanes.values()))
    shard.trim()
    return Settled(replies, tuple(given_back))


def _learn(shard: Shard, lanes: Sequence[Lane], replies: dict[int, Reply], now: int) -> Generator[Any, Any, None]:
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
    yield from project(lanes)  # a decision reads messages that are complete to the tail
    yield from find_facts(lanes, now)


def _load(stream: str, now: int) -> Generator[Any, Any, Knowledge | StarlingError]:
    try:
        return (yield from load(stream, now))
    except StreamBroken:
        return broken()
    except StreamClosed:
        return ChannelClosed(retry_after=CLOSED_RETRY_S)


def _publish(lanes: Sequence[Lane]) -> Generator[Any, Any, None]:
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
