"""Pacing: when who last wrote in a channel with slow mode, so that the shard can say how long somebody has to wait.

Ring 1 (core). Read from the stream where a worker first needs it, kept while the worker has the channel. The sender's
node says how slow the channel is for the sender (0 for who is free of it); the shard, which alone knows the order, says
whether the pause is over. Read `sequencer` next: who asks.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from shared.core.message_events import MessageCreated, MessageStub
from shared.core.stream import Bucket, Tail
from shared.core.writing import ReadBucket

MOST_BUCKETS: Final = 50
"""So far back a stream is read at most; who wrote before that, in a channel that is so busy, waits no more."""
MOST_AUTHORS: Final = 10_000
"""Authors remembered per channel; who wrote longest ago is forgotten first."""


class Pace:
    """When each author last wrote in one channel (Unix ms), complete for all since `since`."""

    __slots__ = ("_sent", "since")

    def __init__(self, since: int) -> None:
        self.since = since
        self._sent: dict[int, int] = {}

    def note(self, author_id: int, at: int) -> None:
        """Take in a message."""
        last = self._sent.pop(author_id, 0)
        self._sent[author_id] = max(last, at)
        if len(self._sent) > MOST_AUTHORS:
            del self._sent[next(iter(self._sent))]

    def wait_s(self, author_id: int, slow_s: int, now: int) -> float:
        """Return how many seconds an author has to wait until the next message; 0 for not at all."""
        return max(0.0, self._sent.get(author_id, -slow_s * 1000) / 1000 + slow_s - now / 1000)


def read_pace(tail: Tail, since: int) -> Generator[Any, Any, Pace]:
    """Read who wrote in a stream since then, at most `MOST_BUCKETS` back."""
    pace = Pace(since)
    sent: list[tuple[int, int]] = []
    first_seq = tail.first_seq if tail.next_seq > 1 else 0
    for _ in range(MOST_BUCKETS):
        if not first_seq:
            break
        bucket: Bucket | None = yield ReadBucket(tail.stream, first_seq)
        if bucket is None:
            break
        for record in bucket.messages:
            match record.body:
                case MessageCreated(author=author):
                    sent.append((record.at, author.id))
                case MessageStub(author_id):
                    sent.append((record.at, author_id))
        if bucket.messages and bucket.messages[0].at < since:
            break
        first_seq = bucket.prev
    for at, author_id in sorted(sent):
        pace.note(author_id, at)
    return pace
