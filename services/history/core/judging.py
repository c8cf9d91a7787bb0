"""Judging: which of a lane's commands are written next, and the reply to each that is settled without a write.

Ring 1 (core). Repeats come first, and only for the rest expiry, permission and slow mode. What a single command comes
to is the business of `deciding`.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from typing import Any, Final

import msgspec

from services.history.core.deciding import Facts, Verdict, draft_of, keys_of, user_of
from services.history.core.lanes import Hit, Lane
from services.history.core.pauses import require_pause
from services.history.core.shard import Shard
from shared.core.commands import AnyCommand, DirectCommand, MessageCommand, OpenDirect, Reply, SendMessage, refusal_of
from shared.core.errors import StarlingError
from shared.core.group_errors import UnknownChannel
from shared.core.message_errors import CommandExpired
from shared.core.stream import Draft, Head, Key, Tail, group_stream, room_in
from shared.core.writing import ReadHead, Stored, Together

_BY_USERS: Final = (SendMessage, MessageCommand)


class CheckAccess(msgspec.Struct, frozen=True):
    """[list[Verdict]]: for each (channel id, user id), what that user may do there by today's facts.

    A retryable refusal says that nobody could tell.
    """

    pairs: tuple[tuple[int, int], ...]


def check_again(shard: Shard, commands: Sequence[AnyCommand], now: int) -> Generator[Any, Any, dict[int, Verdict]]:
    """Look again at what was permitted under older facts than this shard has heard of, or finds while in doubt."""
    asked = [
        (index, command)
        for index, command in enumerate(commands)
        if isinstance(command, _BY_USERS) and command.group_id
    ]
    yield from _look_up_groups(shard, {command.group_id for _, command in asked}, now)
    outdated = [
        (index, command) for index, command in asked if command.group_seq < shard.group_seqs.get(command.group_id, 0)
    ]
    if not outdated:
        return {}
    pairs = tuple((command.channel_id, user_of(command)) for _, command in outdated)
    verdicts: list[Verdict] = yield CheckAccess(pairs)
    return {index: verdict for (index, _), verdict in zip(outdated, verdicts, strict=True)}


def _look_up_groups(shard: Shard, group_ids: Collection[int], now: int) -> Generator[Any, Any, None]:
    """While in doubt: read how far these groups have moved, each once as long as what is heard can be relied on."""
    doubt = shard.doubt
    unsure = shard.unsure_of(group_ids, now)
    if not unsure:
        return
    heads: list[Head] = yield Together(tuple(ReadHead(group_stream(group_id)) for group_id in unsure))
    for group_id, head in zip(unsure, heads, strict=True):
        shard.note_group_seq(group_id, head.seq)
    if shard.doubt is doubt:
        doubt.sure_of.update(unsure)


def decide(
    shard: Shard,
    lane: Lane,
    verdicts: dict[int, Verdict],
    replies: dict[int, Reply],
    hits: list[Hit],
    now: int,
) -> tuple[list[Draft], list[tuple[int, AnyCommand]]]:
    """Take commands off the lane: repeats and refusals are settled, the others come back to be written.

    First the dedupe lookup, and only for the rest expiry and permission. Each is decided on what those before it
    make of the messages.
    """
    drafts: list[Draft] = []
    taken: list[tuple[int, AnyCommand]] = []
    keys: set[Key] = set()
    facts, room = lane.facts, room_in(lane.known.tail, shard.limits)
    if not lane.is_plain:
        facts, room = facts.copy(), shard.limits.messages
    writing: set[int] = set()
    while lane.queue and len(drafts) < room:
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
        if isinstance(command, DirectCommand):
            break  # it may say who may do what comes next
    return drafts, taken


def _judge(
    shard: Shard,
    lane: Lane,
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
        _require_recipient(lane.known.tail, command)
        drafted = draft_of(command, facts, verdict, now)
        require_pause(shard, lane.stream, command, verdict, writing, now)
        return drafted or Reply(command.command_id)
    except StarlingError as refusal:
        reply = refusal_of(command.command_id, refusal)
        if isinstance(command, SendMessage) and not refusal.retryable:  # what can't be known now holds nobody to it
            shard.remember_refusal(lane.stream, command, reply, now)
        return reply


def _require_recipient(tail: Tail, command: AnyCommand) -> None:
    """Raise unless who does something in a direct channel is in it, whatever was so when that was permitted."""
    if tail.group_id or tail.next_seq == 1 or isinstance(command, OpenDirect):
        return
    if user_of(command) not in tail.recipients:
        raise UnknownChannel


def _begun_by(command: AnyCommand, tail: Tail) -> Tail:
    """Return the tail of a stream that begins with this command: it says whom the stream's events go to."""
    match command:
        case SendMessage(group_id=group_id, to=to):
            return msgspec.structs.replace(tail, group_id=group_id, to=to)
        case OpenDirect(channel=channel):
            return msgspec.structs.replace(tail, to=tuple(user.id for user in channel.recipients))
        case _:
            return tail  # about a message that a rival wrote: the stream has begun, and this write will be lost
