"""A bench for the sequencer: one worker on a memory store, whose every effect a test sees, and commands for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from services.history.core.deciding import Verdict
from services.history.core.judging import CheckAccess
from services.history.core.marks import PutMarks, ReadPins, ReadReactors
from services.history.core.sequencer import ReadClock, Settled, sequence
from services.history.core.shard import Shard
from services.history.memory_marks import MemoryMarks
from shared.core.commands import (
    COMMAND_LIFETIME_MS,
    AnyCommand,
    DeleteMessage,
    DeleteMessages,
    EditMessage,
    MessageCommand,
    SendMessage,
)
from shared.core.ids import MAX_ID, IdSource
from shared.core.message_events import MessageCreated
from shared.core.model import User
from shared.core.permissions import ALL, DEFAULT
from shared.core.stream import CHANNEL_LIMITS, Event, Head, Limits, channel_stream, group_stream
from shared.core.writing import (
    Amend,
    Commit,
    FindBucket,
    Publish,
    RaiseHeads,
    ReadBucket,
    ReadHead,
    Together,
)
from shared.memory_streams import MemoryStreams

NOW = 1_700_000_000_000
ADA = User(id=1, username="ada")
CHANNEL = 11
BEN = User(id=2, username="ben")


def command(number: int, now: int = NOW, **changes: Any) -> SendMessage:
    """Return the send of one message, numbered."""
    sent = SendMessage(
        command_id=number,
        channel_id=CHANNEL,
        reply_to="node",
        expires_at=now + COMMAND_LIFETIME_MS,
        author=ADA,
        content=f"message {number}",
        group_id=9,
        group_seq=5,
    )
    return msgspec.structs.replace(sent, **changes)


class Bench:
    """One worker on a memory store. `fail` says which commits are lost; `stop_at` crashes before such an effect."""

    def __init__(self, limits: Limits = CHANNEL_LIMITS) -> None:
        self.store = MemoryStreams()
        self.marks = MemoryMarks()
        self.shard = Shard(limits)
        self.ids = IdSource(1)
        self.effects: list[Any] = []
        self.published: list[Event] = []
        self.fail: Callable[[str], bool] = lambda stream: False
        self.verdict = Verdict(ALL)
        self.silent_ms = 0
        self.now = NOW
        self.waits_ms = 0
        """How long each commit takes and each question for a permission."""
        self.meanwhile: Callable[[Any], None] = lambda effect: None
        """What happens while an effect is performed."""

    def move_group(self, seq: int) -> None:
        """Change the commands' group, which nobody tells the shard."""
        asyncio.run(self.store.raise_heads([Head(group_stream(9), seq=seq)]))

    def settle(self, *commands: AnyCommand, now: int = NOW, stop_at: type | None = None) -> Settled | None:
        """Run a batch; None if it was stopped."""
        self.effects = []
        self.now = now
        self.shard.heard_at = now - self.silent_ms
        writer = sequence(self.shard, commands, now, self.ids)
        result = None
        while True:
            try:
                effect = writer.send(result)
            except StopIteration as stop:
                settled: Settled = stop.value
                return settled
            if stop_at is not None and isinstance(effect, stop_at):
                writer.close()
                self.shard.forget()
                return None
            self.effects.append(effect)
            result = self.perform(effect)
            self.meanwhile(effect)

    def perform(self, effect: Any) -> Any:
        """Do what the sequencer asks for."""
        match effect:
            case Together(effects):
                return [self.perform(one) for one in effects]
            case ReadHead(stream):
                return asyncio.run(self.store.read_head(stream))
            case ReadBucket(stream, first_seq):
                return asyncio.run(self.store.read_bucket(stream, first_seq))
            case FindBucket(stream, message_id):
                return asyncio.run(self.store.find_bucket_of_id(stream, message_id))
            case Amend(amendments):
                return asyncio.run(self.store.amend(amendments))
            case RaiseHeads(heads):
                return asyncio.run(self.store.raise_heads(heads))
            case ReadClock():
                return self.now
            case Commit(writes):
                self.now += self.waits_ms
                return [
                    not self.fail(write.before.stream) and asyncio.run(self.store.commit((write,)))[0]
                    for write in writes
                ]
            case Publish(events):
                self.published += events
                return None
            case ReadReactors(keys):
                return asyncio.run(self.marks.read_epochs(keys))
            case ReadPins(channel_ids):
                return [asyncio.run(self.marks.list_pins(one, MAX_ID, 100)) for one in channel_ids]
            case PutMarks(marks):
                return asyncio.run(self.marks.put(marks))
            case CheckAccess(pairs):
                self.now += self.waits_ms
                return [self.verdict] * len(pairs)
        raise AssertionError(effect)


def edit(number: int, message_id: int, content: str = "better", **changes: Any) -> EditMessage:
    """Return the edit of a message by Ada, numbered."""
    asked = EditMessage(
        command_id=number,
        channel_id=CHANNEL,
        reply_to="node",
        expires_at=NOW + COMMAND_LIFETIME_MS,
        user_id=ADA.id,
        permissions=DEFAULT,
        group_id=9,
        group_seq=5,
        message_id=message_id,
        content=content,
    )
    return msgspec.structs.replace(asked, **changes)


def deletion(number: int, *message_ids: int, **changes: Any) -> DeleteMessage | DeleteMessages:
    """Return the deletion of one message or several by Ada, numbered."""
    fields = {name: getattr(edit(number, 0), name) for name in MessageCommand.__struct_fields__} | changes
    if len(message_ids) == 1:
        return DeleteMessage(**fields, message_id=message_ids[0])
    return DeleteMessages(**fields, message_ids=message_ids)


def sent(bench: Bench, *numbers: int, **changes: Any) -> list[int]:
    """Store messages; return their ids."""
    settled = bench.settle(*(command(number, **changes) for number in numbers))
    assert settled is not None
    return [settled.replies[index].id for index in range(len(numbers))]


def contents(bench: Bench) -> list[str | None]:
    """Return what stands in the first bucket, None for stubs."""
    bucket = asyncio.run(bench.store.read_bucket(channel_stream(CHANNEL), 1))
    assert bucket is not None
    return [one.body.content if isinstance(one.body, MessageCreated) else None for one in bucket.messages]
