"""Importing: what a channel's buckets are when its messages were said long ago.

Ring 1 (core). The buckets are those that `plan` would have made, had each message been sequenced at its own time: same
windows, limits, ordinals and seqs, so that nobody can tell them apart afterwards and the worker goes on behind them.
All of it follows from the channel and the messages alone: making them again makes the same. How they are stored, and
why nobody writes meanwhile, is `services.history.importing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

import msgspec

from shared.core.ids import WORKERS, IdSource, first_id_at, stable_hash
from shared.core.message_events import MessageCreated
from shared.core.model import User
from shared.core.stream import (
    CHANNEL_LIMITS,
    Bucket,
    Draft,
    Head,
    Limits,
    Record,
    Tail,
    bucket_of,
    channel_stream,
    plan,
)

EARLIEST_MS: Final = 1_420_070_400_000
"""2015-01-01: no id tells an earlier time (`shared.core.ids`)."""

_DAY_MS: Final = 24 * 3600 * 1000

_encoder = msgspec.msgpack.Encoder()


class OldMessage(msgspec.Struct, frozen=True):
    """A message as it was said elsewhere: when (Unix ms), by whom, what."""

    at: int
    author: User
    content: str


class Unfit(Exception):
    """A message can't be imported. The text says which one, counted from 1, and why."""


class Manifest(msgspec.Struct, frozen=True):
    """What an import is of: how many messages, and a fingerprint of the channel and all of them in their order."""

    messages: int
    fingerprint: str


def survey(channel_id: int, messages: Iterable[OldMessage], *, now: int, content_characters: int) -> Manifest:
    """Judge all messages before the first is stored. Raises `Unfit`.

    Times may stand still or go back (then ids only count on), but are neither before 2015 nor in the future.
    """
    digest = sha256(channel_id.to_bytes(8, "big"))
    count = 0
    for message in messages:
        count += 1
        if (reason := _unfit(message, now, content_characters)) is not None:
            raise Unfit(f"message {count:,} {reason}")
        digest.update(_encoder.encode(message))
    if not count:
        raise Unfit("there is no message")
    return Manifest(count, digest.hexdigest())


def _unfit(message: OldMessage, now: int, content_characters: int) -> str | None:
    if message.at < EARLIEST_MS:
        return "was said before 2015, and no id tells such a time; let the log begin later"
    if message.at > now:
        return "is to be said in the future"
    content = message.content
    if not content.strip():
        return "is empty"
    if len(content) > content_characters:
        return f"is longer than {content_characters:,} characters"
    if "\0" in content or not _is_text(content):
        return "holds what is no text"
    if not message.author.username or not _is_text(message.author.username) or message.author.id <= 0:
        return "has no valid author"
    return None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # lone surrogates
        return False
    return True


def ids_of(channel_id: int) -> IdSource:
    """Return the source of a channel's imported ids: always the same one, so that a repeat mints the same ids.

    Its worker is the channel's hash. Two channels of one hash may get an id twice for messages of one millisecond; ids
    are unique within a channel.
    """
    return IdSource(stable_hash(channel_id) % WORKERS)


def author_id_of(channel_id: int, name: str) -> int:
    """Return the id of an author who has no account: always the same for a name in a channel.

    It is of 2015's first day, below any that is minted; of 10,000 names two meet with a chance of 1 in 7 million.
    """
    digest = sha256(f"{channel_id}:{name}".encode(errors="replace")).digest()
    return 1 + int.from_bytes(digest[:8], "big") % (first_id_at(EARLIEST_MS + _DAY_MS) - 1)


def buckets_of(
    channel_id: int,
    group_id: int,
    messages: Iterable[OldMessage],
    limits: Limits = CHANNEL_LIMITS,
) -> Iterator[Bucket]:
    """Yield the buckets of a channel with these messages, one after the other; only the last may be unsealed."""
    ids = ids_of(channel_id)
    tail = Tail(channel_stream(channel_id), group_id=group_id)
    records: list[Record] = []
    for message in messages:
        drafts = (Draft(MessageCreated(message.author, message.content)),)
        taken = 0
        while not taken:
            write, taken = plan(tail, drafts, message.at, ids, limits)
            records += write.messages
            tail = write.after
            if tail.sealed:
                yield bucket_of(tail, records)
                records = []
    if records:
        yield bucket_of(tail, records)


def head_of(last: Bucket) -> Head:
    """Return the head of a channel whose import ends with this bucket: nothing of it is left to publish."""
    seq = last.next_seq - 1
    return Head(
        last.stream,
        seq=seq,
        last_id=last.last_id,
        ordinal=last.last_ordinal,
        tail=last.first_seq,
        projected=seq,
        published=seq,
        imported=seq,
    )
