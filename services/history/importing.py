"""Import: old messages into a channel that has none, in bulk, past the log and its workers.

Ring 4 (shell). The channel is closed by its first bucket, which is stored before all others and marked `closed`:

- A worker's first commit to the channel and this insert have the same unique name, so exactly one of them is stored
  (rule 1 of docs/rules.md). If it is the worker's, the channel has messages and the import is refused.
- While the head is empty every worker comes upon the first bucket, sees the mark and refuses what is sent, to be
  tried again. What it believed before, or sends late, meets the unique name (rule 2). Readers go by the head,
  so they see nothing yet.
- All other buckets are stored, each under its final name, before the head is raised; with that one write everything is
  there at once: for readers up to the head's seq, for workers from the head's tail on. Then the mark goes. Where there
  is one bucket only, the mark is what opens the channel; else it says nothing any more.

Killed at any point and begun again, the import finds by the fingerprint that the channel is its own, makes the same
buckets once more and stores those that are missing. Two that run at once store the same. Nothing is published: the head
says that it is no news (`Head.imported`). The buckets: `services.history.core.importing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from services.history.core.importing import Manifest, OldMessage, buckets_of, head_of
from shared.core.model import Channel
from shared.core.stream import Bucket, channel_stream
from shared.streams import StreamStore

BUCKETS_AT_ONCE: Final = 100
BYTES_AT_ONCE: Final = 8 * 1024 * 1024


class NotEmpty(Exception):
    """The channel has messages, or is being filled from another log; nothing was changed."""


@dataclass(frozen=True)
class Imported:
    """What an import came to. `was_done`: it was there already, and nothing was written."""

    messages: int
    was_done: bool


async def import_messages(
    streams: StreamStore,
    channel: Channel,
    manifest: Manifest,
    messages: Iterable[OldMessage],
    tell: Callable[[int], None] = lambda _: None,
) -> Imported:
    """Store these messages, which `manifest` is of, as the beginning of a channel. Begin again after any failure.

    `tell` hears how many are stored. Raises `NotEmpty`, `StoreUnavailable`.
    """
    if channel.type.is_direct:
        raise NotEmpty("a direct channel has an event of its own from the first day")
    stream = channel_stream(channel.id)
    buckets = iter(buckets_of(channel.id, channel.group_id, messages))
    first = msgspec.structs.replace(next(buckets), imported=manifest.fingerprint, closed=True)
    await streams.insert_buckets((first,))
    stored = await streams.read_bucket(stream, 1)
    if stored is None or stored.imported != manifest.fingerprint:
        raise NotEmpty("the channel has messages, or another log is being imported there")
    if not stored.closed:
        return Imported(manifest.messages, was_done=True)
    last = first
    for some in _bounded(buckets):
        await streams.insert_buckets(some)
        last = some[-1]
        tell(last.last_ordinal)
    await streams.raise_heads((head_of(last),))
    await streams.reopen(stream)
    tell(last.last_ordinal)
    return Imported(manifest.messages, was_done=False)


def _bounded(buckets: Iterable[Bucket]) -> Iterator[Sequence[Bucket]]:
    """Yield buckets in groups of a bounded number and size."""
    some: list[Bucket] = []
    size = 0
    for bucket in buckets:
        if some and (len(some) == BUCKETS_AT_ONCE or size + bucket.size > BYTES_AT_ONCE):
            yield some
            some, size = [], 0
        some.append(bucket)
        size += bucket.size
    if some:
        yield some
