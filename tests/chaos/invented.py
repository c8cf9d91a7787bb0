"""Histories that nobody lived through: a small correct Starling on paper. Read `wrongs` next.

Core, for the tests of the judge. The stored truth is made first; then each session is told it,
and the run's end reads it.
"""

from __future__ import annotations

import random
from typing import Final

import msgspec

from tests.chaos.history import (
    DOORS,
    PIN,
    READINGS,
    Acked,
    Bears,
    Began,
    Changed,
    Changing,
    Event,
    FaultBegan,
    FaultEnded,
    Heard,
    Joined,
    Joining,
    KeptOut,
    LoggedOut,
    LoggingIn,
    Looked,
    Looking,
    Lost,
    Marked,
    Marking,
    Measured,
    Paged,
    Record,
    Refused,
    Removed,
    Resumed,
    Seen,
    Sent,
    Settled,
    Unseen,
)

Story = list[Record]
CHANNEL: Final = 7
_FIRST_ID: Final = 1000


class _Teller:
    """Writes a correct story of one channel: steps by chance, everything told at once or after a resume."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 (no secret)
        self.story: Story = []
        self.events: list[Event] = []
        self.contents: dict[int, str] = {}
        self.marks: dict[tuple[int, str], set[int]] = {}
        self.at = 0.0
        self.s = 0
        self.sessions: dict[int, int] = {}
        self.lacks: dict[int, list[Heard]] = {}
        """By session without a connection, what it missed."""
        self.next_session = 0
        self.next_nonce = 0
        self.place = 0
        self.members: set[int] = set()
        self.look = 0

    def note(self, kind: type[Record], *values: object) -> None:
        self.at += 0.01
        self.story.append(kind(self.at, *values))  # type: ignore[arg-type]

    def join(self, who: int) -> None:
        self.note(Joining, who, CHANNEL)
        self.members.add(who)
        self.note(Joined, who, CHANNEL)
        self.begin(who)

    def begin(self, who: int) -> None:
        session = self.next_session
        self.next_session += 1
        self.sessions[session] = who
        self.place += 1
        self.note(Began, session, who, who % 2 == 0, "gateway-1")
        self.note(Seen, session, CHANNEL, len(self.events), self.place)

    def sessions_of(self, who: int) -> list[int]:
        found = [one for one, its in self.sessions.items() if its == who]
        for session in found:
            self.resume(session)
        return found

    def log_out(self, who: int) -> None:
        for session in self.sessions_of(who):
            self.note(LoggedOut, who, session)
            for door in DOORS:
                self.note(KeptOut, session, door)
            del self.sessions[session]
        self.note(LoggingIn, who)
        self.begin(who)

    def leave(self, who: int) -> None:
        self.members.discard(who)
        self.place += 1
        for session in self.sessions_of(who):
            self.note(Unseen, session, CHANNEL, self.place)
            del self.sessions[session]
        self.note(Removed, who, CHANNEL)
        nonce = self._sent(who)
        self.note(Refused, who, CHANNEL, nonce, 50001)

    def _sent(self, who: int) -> str:
        nonce = f"n{self.next_nonce}"
        self.next_nonce += 1
        self.note(Sent, who, CHANNEL, nonce, f"text {nonce}")
        return nonce

    def say(self, who: int, acks: int = 1) -> None:
        nonce = self._sent(who)
        message_id = _FIRST_ID + 10 * len(self.events)
        self._happen("MESSAGE_CREATE", message_id, nonce, who, f"text {nonce}")
        self.contents[message_id] = f"text {nonce}"
        for _ in range(acks):
            self.note(Acked, who, CHANNEL, nonce, message_id, self.events[-1].seq)
        self.note(Sent, who, CHANNEL, nonce, f"text {nonce}")

    def change(self, *, delete: bool) -> None:
        if not self.contents:
            return
        message_id = self.chance.choice(sorted(self.contents))
        author = next(event.author for event in self.events if event.id == message_id)
        content = None if delete else f"edited {len(self.events)}"
        self.note(Changing, author, CHANNEL, message_id, content)
        self._happen("MESSAGE_DELETE" if delete else "MESSAGE_UPDATE", message_id)
        if content is None:
            del self.contents[message_id]
        else:
            self.contents[message_id] = content
        self.note(Changed, author, CHANNEL, message_id, content)

    def mark(self, who: int, mark: str, *, on: bool) -> None:
        if not self.contents:
            return
        message_id = self.chance.choice(sorted(self.contents))
        self.note(Marking, who, CHANNEL, message_id, mark, on)
        its = self.marks.setdefault((message_id, mark), set())
        if on != (who in its):
            (its.add if on else its.discard)(who)
            if mark == PIN:
                self._happen("MESSAGE_UPDATE", message_id, content=self.contents[message_id])
            else:
                kind = "ADD" if on else "REMOVE"
                self._happen(f"MESSAGE_REACTION_{kind}", message_id, author=who, content=mark)
        self.note(Marked, who, CHANNEL, message_id, mark, on)

    def _happen(self, t: str, message_id: int, nonce: str = "", author: int = -1, content: str = "") -> None:
        seq = len(self.events) + 1
        self.events.append(Event(0.0, CHANNEL, seq, t, message_id, nonce, author, content))
        self.s += 1
        for session in self.sessions:
            heard = Heard(self.at, session, self.s, CHANNEL, seq, t, message_id, nonce, author, content)
            if session in self.lacks:
                self.lacks[session].append(heard)
            else:
                self._tell(heard)

    def _tell(self, heard: Heard) -> None:
        self.at += 0.01
        self.story.append(msgspec.structs.replace(heard, at=self.at))

    def lose(self, session: int) -> None:
        if session not in self.lacks:
            self.note(Lost, session)
            self.lacks[session] = []

    def resume(self, session: int) -> None:
        if session in self.lacks:
            for heard in self.lacks.pop(session):
                self._tell(heard)
            self.note(Resumed, session)

    def glance(self, who: int) -> None:
        self.look += 1
        self.note(Looking, self.look, who, CHANNEL)
        there = [one for one in self.events if one.t == "MESSAGE_CREATE" and one.id in self.contents]
        self.note(Looked, self.look, tuple((one.id, one.seq) for one in reversed(there[-5:])))

    def end(self) -> None:
        for session in list(self.lacks):
            self.resume(session)
        self.note(Settled)
        for event in self.events:
            known = event
            if event.t == "MESSAGE_CREATE":
                if event.id in self.contents:
                    known = msgspec.structs.replace(event, content=self.contents[event.id])
                else:
                    known = Event(0.0, CHANNEL, event.seq, None)
            self.story.append(msgspec.structs.replace(known, at=self.at))
        for reading in READINGS:
            for event in self.events:
                if event.t == "MESSAGE_CREATE" and event.id in self.contents:
                    content = self.contents[event.id]
                    self.note(Paged, reading, CHANNEL, event.id, event.seq, event.nonce, event.author, content)
        for (message_id, mark), its in self.marks.items():
            if its and message_id in self.contents:
                for _ in range(1 if mark == PIN else len(READINGS)):
                    self.note(Bears, CHANNEL, message_id, mark, len(its))


def tell(seed: int, steps: int = 40) -> Story:
    """Return a correct story: three stay all the time, a fourth comes and goes."""
    teller = _Teller(seed)
    chance = teller.chance
    for who in range(4):
        teller.join(who)
    teller.log_out(2)
    for _ in range(steps):
        match chance.randrange(13):
            case 0:
                teller.lose(chance.choice(sorted(teller.sessions)))
            case 1 | 2:
                teller.resume(chance.choice(sorted(teller.sessions)))
            case 3:
                teller.change(delete=chance.random() < 1 / 3)
            case 4:
                (teller.leave if 3 in teller.members else teller.join)(3)
            case 5:
                teller.glance(chance.choice(sorted(teller.members)))
            case 6:
                mark, who = chance.choice(((PIN, 0), ("+1", chance.choice(sorted(teller.members)))))
                teller.mark(who, mark, on=chance.random() < 2 / 3)
            case _:
                teller.say(chance.choice(sorted(teller.members)), chance.choice((1, 1, 2)))
    teller.note(FaultBegan, 1, "kill", "history-1")
    teller.say(0, 2)
    teller.note(FaultEnded, 1)
    teller.change(delete=False)
    teller.mark(1, "+1", on=True)
    teller.glance(0)
    if 3 not in teller.members:
        teller.join(3)
    teller.leave(3)
    for who in (0, 1, 2):
        teller.say(who)
    teller.note(Measured, "gateway-1", "queue", 10.0, 100.0)
    teller.end()
    return teller.story
