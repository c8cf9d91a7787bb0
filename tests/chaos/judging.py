"""The judge: from a run's history to which promise was broken by which fault at which time.

Core: a pure function over the records. The promises are those of README.md, by their numbers; each has its part here
or in `stored` (2), `following` (4), `marks` (1 and 5) and `out` (7). A broken promise is told once for each place where
it shows, so one fault of the server can show as several.
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
    Changed,
    Changing,
    Event,
    Heard,
    Looked,
    Looking,
    Measured,
    Record,
    Refused,
    Sent,
    Settled,
)
from tests.chaos.marks import Marks
from tests.chaos.out import Out
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
CHECKS: Final[Mapping[str, int]] = {
    "messages acknowledged": 1,
    "edits and deletions answered": 1,
    "reactions and pins answered": 1,
    "pages read meanwhile": 1,
    "events in a row": 2,
    "messages in pages": 2,
    "nonces acknowledged again": 3,
    "nonces stored": 3,
    "deliveries": 4,
    "resumes": 4,
    "channels followed to the end": 4,
    "events told": 5,
    "figures of processes": 6,
    "removals": 7,
    "tries of who is out": 7,
    "revoked tokens, by door": 7,
}
"""What is held to which promise. A run that had none of one kind proves nothing of it."""
NONCE_S: Final = 600.0
"""So long the same nonce gives the same message."""


class Broken(msgspec.Struct, frozen=True):
    """A promise that was broken: when, what shows it, and which faults there were."""

    promise: int
    at: float
    what: str
    during: str


class Verdict(msgspec.Struct, frozen=True):
    """What came of a run. `checked` counts by kind what was held to a promise, of those of `CHECKS` that can be."""

    broken: tuple[Broken, ...]
    excepted: Mapping[str, int]
    checked: Mapping[str, int]
    counts: Mapping[str, int]

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept, and each was put to the test."""
        return not self.broken and not self.unchecked

    @property
    def unchecked(self) -> list[str]:
        """The kinds of which there was nothing to judge."""
        return [kind for kind, count in self.checked.items() if not count]


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
        self.out = Out(self.timeline, self.breaks)
        self.marks = Marks(self.breaks)
        self.broken: list[Broken] = []
        self.checked: Counter[str] = Counter()
        self.messages: dict[str, _Message] = {}
        self.by_id: dict[tuple[int, int], _Message] = {}
        self.may_be: dict[tuple[int, int], set[str | None]] = {}
        self.changed_at: dict[tuple[int, int], float] = {}
        self.looking: dict[int, tuple[int, Looking]] = {}
        self.notices: Counter[int] = Counter()
        """Stored messages that tell of a pin, by channel."""
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
                self.checked["edits and deletions answered"] += 1
                self.may_be[channel, message_id] = {content}
                self.changed_at[channel, message_id] = at
            case Looking(number=number):
                self.looking[number] = (self.now, record)
            case Looked():
                self._look(record)
            case Heard():
                self._hear(record)
            case Measured(at=at, process=process, what=what, value=value, bound=bound):
                self.checked["figures of processes"] += 1
                if value > bound:
                    self.breaks(6, at, f"{process}: {what} is {value:g}, above {bound:g}")
            case Settled():
                self.is_settled = True
        for part in (self.following, self.out, self.marks):
            part.take(record)

    def _ack(self, record: Acked) -> None:
        message = self.messages[record.nonce]
        if not message.acked:
            message.acked, message.acked_at, message.id, message.seq = self.now, record.at, record.id, record.seq
            self.by_id[message.channel, message.id] = message
        else:
            self.checked["nonces acknowledged again"] += 1
            if (record.id, record.seq) != (message.id, message.seq) and record.at - message.acked_at < NONCE_S:
                told = f"{message.id} (seq {message.seq}), then {record.id} (seq {record.seq})"
                self.breaks(3, record.at, f"nonce {record.nonce} was acknowledged as {told}")

    def _hear(self, record: Heard) -> None:
        self.checked["events told"] += 1
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
            if record.author != NOBODY and not _is_notice(record):
                self.breaks(5, record.at, f"{what}, which nobody sent")
            return
        if (record.author, record.channel) != (message.who, message.channel):
            self.breaks(5, record.at, f"{what} as of {record.author}; it was sent by {message.who}")
        changed = self.may_be.get((record.channel, record.id))
        if changed is None and record.content != message.content:
            self.breaks(5, record.at, f"{what} with another content than was sent")

    def _look(self, record: Looked) -> None:
        asked, looking = self.looking.pop(record.number)
        self.checked["pages read meanwhile"] += 1
        what = f"{looking.who} reading channel {looking.channel}"
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
        self.marks.judge(at, {key for key, contents in self.may_be.items() if None in contents})
        self.checked["reactions and pins answered"] = self.marks.checked
        self.checked["events in a row"] = sum(map(len, self.stored.events.values()))
        self.checked["messages in pages"] = sum(map(len, self.stored.pages.values()))
        checked = self.checked + self.following.checked + self.out.checked
        kinds = [kind for kind in CHECKS if kind != "resumes" or any(span.cuts_clients for span in self.timeline.spans)]
        if not self.is_settled:
            self.breaks(1, at, "the run did not settle, so nothing is proved")
        counts = {
            "messages sent": len(self.messages),
            "acknowledged": sum(bool(one.acked) for one in self.messages.values()),
            "refused": sum(one.is_refused and not one.acked for one in self.messages.values()),
            "never answered": sum(not one.acked and not one.is_refused for one in self.messages.values()),
        }
        broken = sorted(self.broken, key=lambda one: (one.at, one.promise))
        return Verdict(tuple(broken), dict(self.following.excepted), {kind: checked[kind] for kind in kinds}, counts)

    def _judge_stored(self, at: float) -> None:
        """Hold what was acknowledged to what is there: all of it, as it was sent or changed."""
        there = {(one.channel, one.id): one for one in self._created()}
        for nonce, message in self.messages.items():
            if not message.acked:
                continue
            self.checked["messages acknowledged"] += 1
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
            if _is_notice(event):
                self.notices[event.channel] += 1
                if self.notices[event.channel] > self.marks.pins_asked(event.channel):
                    self.breaks(5, at, f"seq {event.seq} of channel {event.channel} tells of a pin, and nobody pinned")
                continue
            self.checked["nonces stored"] += 1
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


def _is_notice(one: Event | Heard) -> bool:
    """Whether a message is one that tells of a pin: by nobody's words."""
    return not one.nonce and not one.content


def judge(records: Sequence[Record]) -> Verdict:
    """Judge a run by its history."""
    judge = _Judge(records)
    for record in records:
        judge.take(record)
    return judge.judge()
