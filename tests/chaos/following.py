"""Promise 4 for one session after the other: nothing is missed, and each event comes once and in order.

Core. A session that is placed in a channel at a head owes its client every later event of the channel, until it is
told to be out of it, or ends. What is missing shows at the next event that comes, or at the end of the run.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

from tests.chaos.blame import RESUME_WINDOW_S, Timeline
from tests.chaos.history import (
    Began,
    Ended,
    Heard,
    Invalid,
    Joined,
    LoggedOut,
    Lost,
    Record,
    Removed,
    Resumed,
    Seen,
    Settled,
    Unseen,
)
from tests.chaos.stored import Stored

REPEATS_S: Final = 0.5
"""A node stores every 250 ms how far it is, and an event has some way to go: what came so shortly before a node's death
may come again to a client that tells only `s`."""
_REMEMBERED: Final = 1024

Breaks = Callable[[int, float, str], None]
"""Is told of a broken promise: its number, when, what."""


class _Place:
    """Where a session stands in a channel."""

    def __init__(self, head: int, number: int) -> None:
        self.position = head
        self.number = number
        self.heard: OrderedDict[int, float] = OrderedDict()


class _Session:
    def __init__(self, began: Began) -> None:
        self.who = began.who
        self.tells_positions = began.tells_positions
        self.s = 0
        self.lost_at: float | None = None
        self.heard_at = began.at
        self.places: dict[int, _Place] = {}
        self.numbers: dict[int, int] = {}
        self.is_owed = True
        """Until its token is revoked."""


class Following:
    """All sessions of a run. `checked` counts by kind, `excepted` what the promise excepts."""

    def __init__(self, stored: Stored, timeline: Timeline, breaks: Breaks) -> None:
        self._stored = stored
        self._timeline = timeline
        self._breaks = breaks
        self._sessions: dict[int, _Session] = {}
        self._inside: dict[int, set[int]] = {}
        """The channels that each person has."""
        self.checked: Counter[str] = Counter()
        self.excepted: Counter[str] = Counter()

    def take(self, record: Record) -> None:
        """Take in the next record."""
        match record:
            case Began(session=number):
                self._sessions[number] = _Session(record)
            case Seen():
                self._see(record)
            case Unseen(session=number, channel=channel, place=place):
                session = self._sessions[number]
                if place >= session.numbers.get(channel, 0):  # a body complete to the removal itself comes before it
                    session.numbers[channel] = place
                    session.places.pop(channel, None)
            case Heard():
                self._hear(record)
            case Lost(session=number):
                session = self._sessions[number]
                session.lost_at = record.at if session.lost_at is None else session.lost_at
            case Resumed(session=number):
                self._sessions[number].lost_at = None
                self.checked["resumes"] += 1
            case Invalid(at=at, session=number):
                self._invalid(at, number)
            case Joined(who=who, channel=channel):
                self._inside.setdefault(who, set()).add(channel)
            case Removed(who=who, channel=channel):
                self._inside.get(who, set()).discard(channel)
            case LoggedOut(session=number):
                self._sessions[number].is_owed = False
            case Ended(session=number):
                self._sessions.pop(number, None)
            case Settled(at=at):
                self._settle(at)

    def _see(self, record: Seen) -> None:
        session = self._sessions[record.session]
        last = session.numbers.get(record.channel, -1)
        if record.place < last or (record.place == last and record.channel in session.places):
            return  # told again
        session.numbers[record.channel] = record.place
        session.places[record.channel] = _Place(record.head, record.place)

    def _hear(self, record: Heard) -> None:
        self.checked["deliveries"] += 1
        session = self._sessions[record.session]
        name = _name(record.session, session)
        if record.s < session.s:
            self._breaks(4, record.at, f"{name}: s went back from {session.s} to {record.s}")
        session.s = max(session.s, record.s)
        session.heard_at = record.at
        place = session.places.get(record.channel)
        if place is None:
            self._breaks(4, record.at, f"{name} got seq {record.seq} of channel {record.channel}, in which it is not")
            return
        if record.seq <= place.position:
            self._repeat(record, session, place)
            return
        missing = self._stored.told_between(record.channel, place.position, record.seq)
        if missing:
            text = (
                f"{name} missed {_seqs(missing)} of channel {record.channel}: after {place.position} came {record.seq}"
            )
            self._breaks(4, record.at, text)
        place.position = record.seq
        place.heard[record.seq] = record.at
        if len(place.heard) > _REMEMBERED:
            place.heard.popitem(last=False)

    def _repeat(self, record: Heard, session: _Session, place: _Place) -> None:
        name = _name(record.session, session)
        first_at = place.heard.get(record.seq)
        what = f"seq {record.seq} of channel {record.channel}"
        if first_at is None:
            self._breaks(4, record.at, f"{name} got {what} out of order, behind {place.position}")
            return
        if session.lost_at is not None and not session.tells_positions:
            if first_at >= session.lost_at:
                self.excepted["told again after a RESUME that broke, to who tells only s"] += 1
                return
            deaths = self._timeline.deaths(first_at, session.lost_at)
            if any(first_at >= min(span.began, session.lost_at) - REPEATS_S for span in deaths):
                self.excepted["told again after a node's death, to who tells only s"] += 1
                return
            if deaths and (double := self._timeline.double(session.lost_at, record.at)) is not None:
                self.excepted[f"told again after a double fault: {double}"] += 1
                return
        self._breaks(4, record.at, f"{name} got {what} again, first at {first_at:.2f} s")

    def _invalid(self, at: float, number: int) -> None:
        session = self._sessions.pop(number)
        if not session.is_owed:
            return
        name = _name(number, session)
        lost_at = session.lost_at if session.lost_at is not None else at
        if at - lost_at > RESUME_WINDOW_S:
            self.excepted["came back after the resume window"] += 1
        elif (double := self._timeline.double(lost_at, at)) is not None:
            self.excepted[f"INVALID_SESSION after a double fault: {double}"] += 1
        else:
            self._breaks(4, at, f"{name} was told INVALID_SESSION, without a connection since {lost_at:.1f} s")

    def _settle(self, at: float) -> None:
        for number, session in self._sessions.items():
            if not session.is_owed:
                continue
            name = _name(number, session)
            if session.lost_at is not None:
                self._breaks(4, at, f"{name} did not come back since {session.lost_at:.1f} s")
                continue
            for channel in sorted(self._inside.get(session.who, set()) - session.places.keys()):
                self._breaks(4, at, f"{name} is in channel {channel}, and was not told of it")
            for channel, place in session.places.items():
                self.checked["channels followed to the end"] += 1
                missing = self._stored.told_between(channel, place.position, self._stored.last(channel) + 1)
                if missing:
                    since = place.heard.get(place.position, session.heard_at)
                    self._breaks(4, since, f"{name} never got {_seqs(missing)} of channel {channel}")


def _name(number: int, session: _Session) -> str:
    return f"session {number} of {session.who}"


def _seqs(seqs: list[int]) -> str:
    some = ", ".join(map(str, seqs[:5]))
    return f"seq {some}" + (f" and {len(seqs) - 5} more" if len(seqs) > 5 else "")
