"""Promise 7: who was removed from a group is out, and a revoked token opens nothing.

Core. What is told to somebody counts by when it was first asked for: what was asked after a removal was answered is
nothing for who was removed. A token that was revoked must be refused at each door in the end, and soon where no fault
was felt meanwhile.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from tests.chaos.blame import Timeline
from tests.chaos.following import Breaks
from tests.chaos.history import (
    DOORS,
    Acked,
    Began,
    Changing,
    Heard,
    Joining,
    KeptOut,
    LoggedOut,
    LoggingIn,
    Looked,
    Looking,
    Marking,
    Record,
    Removed,
    Sent,
    Settled,
)

REVOKED_S: Final = 5.0
"""A second is promised; the rest is what a busy machine takes to notice it."""


class Out:
    """Who is out of what. `checked` counts by kind."""

    def __init__(self, timeline: Timeline, breaks: Breaks) -> None:
        self._timeline = timeline
        self._breaks = breaks
        self._now = 0
        self._out: dict[tuple[int, int], int] = {}
        """Who is out of which channel, since which record."""
        self._asked: dict[tuple[object, ...], int] = {}
        """What was asked for first at which record, as `_what_of` names it."""
        self._looking: dict[int, tuple[int, Looking]] = {}
        self._sessions: dict[int, int] = {}
        self._logged_out: dict[int, tuple[LoggedOut, set[str]]] = {}
        """By session, with the doors that are closed to it."""
        self._without_token: set[int] = set()
        self.checked: Counter[str] = Counter()

    def take(self, record: Record) -> None:
        """Take in the next record."""
        self._now += 1
        match record:
            case Joining(who=who, channel=channel):
                self._out.pop((who, channel), None)
            case Removed(who=who, channel=channel):
                self._out.setdefault((who, channel), self._now)
                self.checked["removals"] += 1
            case Sent(who=who, channel=channel, nonce=nonce):
                self._ask("MESSAGE_CREATE", channel, nonce)
                self.checked["tries of who is out"] += (who, channel) in self._out
            case Changing(channel=channel, id=message_id, content=None):
                self._ask("MESSAGE_DELETE", channel, message_id)
            case Changing(channel=channel, id=message_id, content=content):
                self._ask("MESSAGE_UPDATE", channel, message_id, content)
            case Marking(who=who, channel=channel, id=message_id, mark=mark, on=on):
                self._ask(f"MESSAGE_REACTION_{'ADD' if on else 'REMOVE'}", channel, message_id, who, mark)
            case Began(session=session, who=who):
                self._sessions[session] = who
                if who in self._without_token:
                    self._breaks(7, record.at, f"session {session} of {who} began with a revoked token")
            case Heard():
                self._hear(record)
            case Acked():
                self._ack(record)
            case Looking(number=number, who=who, channel=channel):
                self._looking[number] = self._now, record
                self.checked["tries of who is out"] += (who, channel) in self._out
            case Looked(at=at, number=number):
                asked, looking = self._looking.pop(number)
                if self._out.get((looking.who, looking.channel), asked) < asked:
                    what = f"{looking.who} was shown channel {looking.channel} after its removal was answered"
                    self._breaks(7, at, what)
            case LoggedOut(who=who, session=session):
                self._logged_out[session] = record, set()
                self._without_token.add(who)
            case KeptOut():
                self._keep_out(record)
            case LoggingIn(who=who):
                self._without_token.discard(who)
            case Settled(at=at):
                self._settle(at)

    def _ask(self, *what: object) -> None:
        self._asked.setdefault(what, self._now)

    def _hear(self, record: Heard) -> None:
        who = self._sessions[record.session]
        out = self._out.get((who, record.channel))
        if out is not None and self._asked.get(_what_of(record), 0) > out:
            what = f"session {record.session} got seq {record.seq} of channel {record.channel}"
            self._breaks(7, record.at, f"{what}, which was asked for after the removal of {who} was answered")

    def _ack(self, record: Acked) -> None:
        out = self._out.get((record.who, record.channel))
        if out is not None and self._asked["MESSAGE_CREATE", record.channel, record.nonce] > out:
            what = f"{record.who} sent nonce {record.nonce} to channel {record.channel} after its removal was answered"
            self._breaks(7, record.at, f"{what}, and it was acknowledged")

    def _keep_out(self, record: KeptOut) -> None:
        logged_out, closed = self._logged_out[record.session]
        closed.add(record.door)
        self.checked["revoked tokens, by door"] += 1
        took_s = record.at - logged_out.at
        if took_s > REVOKED_S and self._timeline.is_quiet(logged_out.at, record.at):
            what = f"the token of session {record.session} of {logged_out.who} was refused by the {record.door}"
            self._breaks(7, record.at, f"{what} only {took_s:.1f} s after the logout was answered")

    def _settle(self, at: float) -> None:
        for session, (logged_out, closed) in self._logged_out.items():
            for door in sorted(set(DOORS) - closed):
                what = f"the token of session {session} of {logged_out.who} was never refused by the {door}"
                self._breaks(7, at, f"{what}; the logout was answered at {logged_out.at:.2f} s")


def _what_of(heard: Heard) -> tuple[object, ...]:
    """Name what is told as it is named when it is asked for."""
    match heard.t:
        case "MESSAGE_CREATE":
            return heard.t, heard.channel, heard.nonce
        case "MESSAGE_UPDATE":
            return heard.t, heard.channel, heard.id, heard.content
        case "MESSAGE_DELETE":
            return heard.t, heard.channel, heard.id
        case _:
            return heard.t, heard.channel, heard.id, heard.author, heard.content
