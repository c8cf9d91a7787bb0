"""The judge: from a run's history to which promise was broken by which fault at which time.

Core: a pure function over the records. The promises are those of README.md, by their numbers; each has its part here
or in `stored` (2) and `following` (4). A broken promise is told once for each place where it shows, so one fault of
the server can show as several.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tests.chaos.blame import Timeline
from tests.chaos.following import Following
from tests.chaos.history import (
    NOBODY,
    Acked,
    Began,
    Changed,
    Changing,
    Event,
    Heard,
    Joining,
    Looked,
    Looking,
    Measured,
    Record,
    Refused,
    Removed,
    Sent,
    Settled,
)
from tests.chaos.stored import CREATE, Stored

PROMISES: Final[Mapping[int, str]] = {
    1: "acknowledged means stored",
    2: "one order per channel",
    3: "sending is idempotent",
    4: "nothing is missed, each comes once and in order",
    5: "nothing is told that is not stored",
    6: "nothing grows without bound",
    7: "who is removed is out",
}
NONCE_S: Final = 600.0
"""So long the same nonce gives the same message."""


class Broken(msgspec.Struct, frozen=True):
    """A promise that was broken: when, what shows it, and which faults there were."""

    promise: int
    at: float
    what: str
    during: str


class Verdict(msgspec.Struct, frozen=True):
    """What came of a run. `checked` counts by promise what was held to it."""

    broken: tuple[Broken, ...]
    excepted: Mapping[str, int]
    checked: Mapping[int, int]
    counts: Mapping[str, int]

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept, and each was put to the test."""
        return not self.broken and all(self.checked.get(promise) for promise in PROMISES)


class _Message(msgspec.Struct):
    """A message of the run. `sent` is when it was sent first, `at` and `id` of its first ack."""

    who: int
    channel: int
    content: str
    sent: int
    sent_at: float
    is_refused: bool = False
    acked: int = 0
    acked_at: float = 0.0
    id: int = 0
    seq: int = 0


class _Judge:
    def __init__(self, records: Sequence[Record]) -> None:
        self.stored = Stored(records)
        self.timeline = Timeline(records)
        self.following = Following(self.stored, self.timeline, self.breaks)
        self.broken: list[Broken] = []
        self.checked: Counter[int] = Counter()
        self.messages: dict[str, _Message] = {}
        self.by_id: dict[tuple[int, int], _Message] = {}
        self.may_be: dict[tuple[int, int], set[str | None]] = {}
        self.changed_at: dict[tuple[int, int], float] = {}
        self.out: dict[tuple[int, int], int] = {}
        """Who is out of which channel, since which record."""
        self.looking: dict[int, tuple[int, Looking]] = {}
        self.sessions: dict[int, int] = {}
        self.now = 0
        self.is_settled = False

    def breaks(self, promise: int, at: float, what: str) -> None:
        self.broken.append(Broken(promise, at, what, self.timeline.around(at)))

    def take(self, record: Record) -> None:
        self.now += 1
        match record:
            case Sent():
                known = self.messages.get(record.nonce)
                if known is None:
                    self.messages[record.nonce] = _Message(
                        record.who, record.channel, record.content, self.now, record.at
                    )
            case Acked():
                self._ack(record)
            case Refused():
                self.messages[record.nonce].is_refused = True
            case Changing(channel=channel, id=message_id, content=content):
                self.may_be.setdefault((channel, message_id), set()).add(content)
            case Changed(at=at, channel=channel, id=message_id, content=content):
                self.may_be[channel, message_id] = {content}
                self.changed_at[channel, message_id] = at
            case Joining(who=who, channel=channel):
                self.out.pop((who, channel), None)
            case Removed(who=who, channel=channel):
                self.out.setdefault((who, channel), self.now)
            case Looking(number=number):
                self.looking[number] = (self.now, record)
            case Looked():
                self._look(record)
            case Heard():
                self._hear(record)
            case Measured(at=at, process=process, what=what, value=value, bound=bound):
                self.checked[6] += 1
                if value > bound:
                    self.breaks(6, at, f"{process}: {what} is {value:g}, above {bound:g}")
            case Settled():
                self.is_settled = True
            case Began(session=session, who=who):
                self.sessions[session] = who
            case _:
                pass
        self.following.take(record)

    def _ack(self, record: Acked) -> None:
        message = self.messages[record.nonce]
        if not message.acked:
            message.acked, message.acked_at, message.id, message.seq = self.now, record.at, record.id, record.seq
            self.by_id[message.channel, message.id] = message
        else:
            self.checked[3] += 1
            if (record.id, record.seq) != (message.id, message.seq) and record.at - message.acked_at < NONCE_S:
                told = f"{message.id} (seq {message.seq}), then {record.id} (seq {record.seq})"
                self.breaks(3, record.at, f"nonce {record.nonce} was acknowledged as {told}")
        out = self.out.get((record.who, record.channel))
        if out is not None and message.sent > out:
            text = f"{record.who} sent nonce {record.nonce} to channel {record.channel} after its removal was answered"
            self.breaks(7, record.at, f"{text}, and it was acknowledged")

    def _hear(self, record: Heard) -> None:
        self.checked[5] += 1
        event = self.stored.events.get(record.channel, {}).get(record.seq)
        what = f"session {record.session} got seq {record.seq}, id {record.id} of channel {record.channel}"
        if event is None:
            self.breaks(5, record.at, f"{what}, which is not stored")
        elif event.t is None:
            if record.t == CREATE and (record.channel, record.id) not in self.stored.deleted:
                self.breaks(5, record.at, f"{what}, a message that neither is there nor was deleted")
        elif (event.t, event.id) != (record.t, record.id):
            self.breaks(5, record.at, f"{what} ({record.t}); stored is id {event.id} ({event.t})")
        if record.t == CREATE:
            self._hear_message(record, what)

    def _hear_message(self, record: Heard, what: str) -> None:
        message = self.messages.get(record.nonce)
        if message is None:
            if record.author != NOBODY:
                self.breaks(5, record.at, f"{what}, which nobody sent")
            return
        if (record.author, record.channel) != (message.who, message.channel):
            self.breaks(5, record.at, f"{what} as of {record.author}; it was sent by {message.who}")
        changed = self.may_be.get((record.channel, record.id))
        if changed is None and record.content != message.content:
            self.breaks(5, record.at, f"{what} with another content than was sent")
        who = self.sessions[record.session]
        out = self.out.get((who, record.channel))
        self.checked[7] += 1
        if out is not None and message.sent > out:
            text = f"{what}, which was sent after the removal of {who} was answered"
            self.breaks(7, record.at, text)

    def _look(self, record: Looked) -> None:
        asked, looking = self.looking.pop(record.number)
        self.checked[1] += 1
        what = f"{looking.who} reading channel {looking.channel}"
        if (looking.who, looking.channel) in self.out and self.out[looking.who, looking.channel] < asked:
            self.breaks(7, record.at, f"{what} after its removal was answered: it was shown")
        shown = [seq for _, seq in record.messages]
        if shown != sorted(shown, reverse=True) or [one for one, _ in record.messages] != sorted(
            (one for one, _ in record.messages), reverse=True
        ):
            self.breaks(2, record.at, f"{what}: a page out of order")
        lowest = min(shown, default=0)
        missing = [
            message.seq
            for (channel, message_id), message in self.by_id.items()
            if channel == looking.channel
            and message.acked < asked
            and message.seq >= lowest
            and message.seq not in shown
            and None not in self.may_be.get((channel, message_id), ())
        ]
        if missing:
            self.breaks(1, record.at, f"{what}: seq {missing[0]}, acknowledged before, is not in the page")

    def judge(self) -> Verdict:
        at = self.stored.at
        self._judge_stored(at)
        self._judge_nonces(at)
        acked_at = {(one.channel, one.seq): one.acked_at for one in self.messages.values() if one.acked}
        for channel, seq, text in self.stored.disorder():
            self.breaks(2, acked_at.get((channel, seq), at), text)
        self.checked[2] = sum(map(len, self.stored.events.values()))
        self.checked[4] = self.following.checked
        if not self.is_settled:
            self.breaks(1, at, "the run did not settle, so nothing is proved")
        counts = {
            "messages sent": len(self.messages),
            "acknowledged": sum(bool(one.acked) for one in self.messages.values()),
            "refused": sum(one.is_refused and not one.acked for one in self.messages.values()),
            "never answered": sum(not one.acked and not one.is_refused for one in self.messages.values()),
        }
        broken = sorted(self.broken, key=lambda one: (one.at, one.promise))
        return Verdict(tuple(broken), dict(self.following.excepted), dict(self.checked), counts)

    def _judge_stored(self, at: float) -> None:
        """Hold what was acknowledged to what is there: all of it, as it was sent or changed."""
        there = {(one.channel, one.id): one for one in self._created()}
        for nonce, message in self.messages.items():
            if not message.acked:
                continue
            self.checked[1] += 1
            key = (message.channel, message.id)
            may_be = self.may_be.get(key, {message.content})
            event = there.get(key)
            what = f"nonce {nonce}, acknowledged at {message.acked_at:.2f} s as id {message.id}, seq {message.seq}"
            if event is None:
                if None not in may_be:
                    self.breaks(1, message.acked_at, f"{what}, is not stored")
            elif event.seq != message.seq:
                self.breaks(1, message.acked_at, f"{what}, is stored as seq {event.seq}")
            elif event.content not in may_be | ({message.content} if key not in self.changed_at else set()):
                changed_at = self.changed_at.get(key, at)
                self.breaks(1, changed_at, f"{what}, has a content that it was not given last: {event.content!r}")

    def _created(self) -> list[Event]:
        return [event for channel in self.stored.events for event in self.stored.messages(channel)]

    def _judge_nonces(self, at: float) -> None:
        """Hold what is there to what was sent: no nonce twice, nothing that nobody sent or that was refused."""
        by_nonce: dict[str, Event] = {}
        for event in self._created():
            if event.author == NOBODY:
                continue
            self.checked[3] += 1
            message = self.messages.get(event.nonce)
            if message is None:
                self.breaks(5, at, f"seq {event.seq} of channel {event.channel} is stored, and nobody sent it")
                continue
            if message.is_refused and not message.acked:
                text = f"nonce {event.nonce} was refused for good, and is stored as seq {event.seq}"
                self.breaks(3, message.sent_at, text)
            first = by_nonce.setdefault(event.nonce, event)
            if first is not event:
                text = f"nonce {event.nonce} is stored twice in channel {event.channel}: seq {first.seq}, {event.seq}"
                self.breaks(3, message.sent_at, text)


def judge(records: Sequence[Record]) -> Verdict:
    """Judge a run by its history."""
    judge = _Judge(records)
    for record in records:
        judge.take(record)
    return judge.judge()
