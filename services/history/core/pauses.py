"""Pauses: slow mode in a batch. Whose pause matters, and who writes before it is over.

Ring 1 (core). Read `pacing` next: how it is known when who wrote last.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from services.history.core.deciding import Verdict
from services.history.core.lanes import Lane
from services.history.core.pacing import Pace, read_pace
from services.history.core.shard import Shard
from shared.core.commands import AnyCommand, SendMessage
from shared.core.message_errors import SlowMode
from shared.core.message_events import MessageCreated
from shared.core.stream import Write
from shared.core.writing import together


def learn_paces(
    shard: Shard, lanes: Iterable[Lane], verdicts: dict[int, Verdict], now: int
) -> Generator[Any, Any, None]:
    """Learn who wrote lately in channels with slow mode."""
    unknown: list[tuple[str, Generator[Any, Any, Pace]]] = []
    for lane in lanes:
        if lane.is_plain and not verdicts:
            continue
        slow_s = max((_slow_s_of(command, verdicts.get(index)) for index, command in lane.queue), default=0)
        since = now - slow_s * 1000
        if slow_s and (lane.stream not in shard.paces or shard.paces[lane.stream].since > since):
            unknown.append((lane.stream, read_pace(lane.known.tail, since)))
    paces = yield from together([reading for _, reading in unknown])
    for (stream, _), pace in zip(unknown, paces, strict=True):
        shard.paces[stream] = pace


def keep_pace(shard: Shard, stream: str, write: Write) -> None:
    """Note who wrote, where that is known of those before."""
    if (pace := shard.paces.get(stream)) is not None:
        for record in write.messages:
            if isinstance(record.body, MessageCreated):
                pace.note(record.body.author.id, record.at)


def require_pause(
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


def _slow_s_of(command: AnyCommand, verdict: Verdict | None) -> int:
    """Return the pause that slow mode asks of who sends a message, by what was looked up again or by its node."""
    if not isinstance(command, SendMessage) or command.kind:
        return 0
    return command.slow_s if verdict is None else verdict.slow_s
