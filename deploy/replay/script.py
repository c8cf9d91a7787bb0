"""What a chat log says, as steps that users take: who joins, who leaves, who says what, in the log's order.

Core: synchronous, text in, values out; whatever stands in a log, it does not raise. The logs are #ubuntu's (IRC):

    [hh:mm] <nick> text           said
    [hh:mm]  * nick text          done ("/me"); said as "text" here, as older logs write `=== nick text`
    === nick has joined #channel  joined; also `has left` and `has quit`
    === nick is now known as other

A person is whoever is behind a nick at that place of the log: a changed nick stays the same person, and who takes
a nick that somebody left behind is another one. Whoever speaks without having joined joins first; joining twice or
leaving without being there is no step. What can't be said is skipped and counted, never bent into something else; a
text over the limit is said in several messages. Read `account` next: what must come of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

CONTENT_CHARACTERS: Final = 2000
"""Longest content that the service takes in its standard settings."""

OWNER: Final = 0
"""The number of the group's owner, who is in no log: an extra person who never leaves."""

_SAID = re.compile(r"\[\d\d:\d\d\] <([^>]+)>(?: (.*))?", re.DOTALL)
_DONE = re.compile(r"\[\d\d:\d\d\] +\* (\S+)(?: (.*))?", re.DOTALL)
_CAME = re.compile(r"=== (\S+)\s+(?:\[\S*@\S*\]\s+)?has joined #\S+\s*")
_WENT = re.compile(r"=== (\S+)\s+(?:\[\S*@\S*\]\s+)?has (?:left|quit)\b.*", re.DOTALL)
_RENAMED = re.compile(r"=== (\S+) is now known as (\S+)\s*")
_SERVER = re.compile(r"=== (?:mode/|\.\.\[).*", re.DOTALL)
_DONE_AS_NOTICE = re.compile(r"=== (\S+)(?: (.*))?", re.DOTALL)

_NOT_IN_USERNAMES = re.compile(r"[^A-Za-z0-9_.\-\[\]{}|^\\]")
_NICK_CHARACTERS: Final = 16


class Join(msgspec.Struct, frozen=True):
    """A person joins the group."""

    person: int


class Leave(msgspec.Struct, frozen=True):
    """A person leaves the group."""

    person: int


class Say(msgspec.Struct, frozen=True):
    """A person, who is in the group, says something."""

    person: int
    content: str


Step = Join | Leave | Say


class Script(msgspec.Struct, frozen=True):
    """A log as steps. `nicks`: by number of the person, the owner's first; `skipped`: lines by why."""

    name: str
    nicks: tuple[str, ...]
    steps: tuple[Step, ...]
    skipped: Mapping[str, int]

    @property
    def messages(self) -> int:
        """How many messages are said."""
        return sum(isinstance(step, Say) for step in self.steps)


class _Reader:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.nicks = ["owner"]
        self.steps: list[Step] = []
        self.skipped: Counter[str] = Counter()
        self._known: dict[str, int] = {}
        self._inside: set[int] = set()

    def take(self, line: str) -> None:
        if not line.strip():
            self.skipped["blank"] += 1
        elif (found := _SAID.fullmatch(line)) or (found := _DONE.fullmatch(line)):
            self._say(found[1].strip(), found[2] or "")
        elif found := _CAME.fullmatch(line):
            self._join(self._person(found[1]))
        elif found := _WENT.fullmatch(line):
            self._leave(self._person(found[1]))
        elif found := _RENAMED.fullmatch(line):
            self._rename(found[1], found[2])
        elif _SERVER.fullmatch(line):
            self.skipped["notice of the server"] += 1
        elif found := _DONE_AS_NOTICE.fullmatch(line):
            self._say(found[1], found[2] or "")
        else:
            self.skipped["not understood"] += 1

    def _person(self, nick: str) -> int:
        if nick not in self._known:
            self._known[nick] = len(self.nicks)
            self.nicks.append(nick)
        return self._known[nick]

    def _say(self, nick: str, text: str) -> None:
        if not text.strip():
            self.skipped["without text"] += 1
        elif "\0" in text:
            self.skipped["holds NUL"] += 1
        else:
            person = self._person(nick)
            self._join(person)
            self.steps.extend(Say(person, piece) for piece in _pieces(text, self._limit))

    def _join(self, person: int) -> None:
        if person not in self._inside:
            self._inside.add(person)
            self.steps.append(Join(person))

    def _leave(self, person: int) -> None:
        if person in self._inside:
            self._inside.remove(person)
            self.steps.append(Leave(person))

    def _rename(self, old: str, new: str) -> None:
        person = self._person(old)
        if new == old:
            return
        if new in self._known:
            self._leave(self._known[new])  # nicks are unique, so whoever had it is gone; logs without quits don't say
        del self._known[old]
        self._known[new] = person


def _pieces(text: str, limit: int) -> Iterator[str]:
    """Cut a text into contents; a piece of nothing but blanks, which can't be sent, is left out."""
    for start in range(0, len(text), limit):
        piece = text[start : start + limit]
        if piece.strip():
            yield piece


def script_of(name: str, data: bytes, content_characters: int = CONTENT_CHARACTERS) -> Script:
    """Read a log. Bytes that are not UTF-8 become U+FFFD, and their lines are counted as `repaired`."""
    reader = _Reader(content_characters)
    # By "\n" alone: str.splitlines would also cut at form feeds and the like, which people typed.
    for raw in data.removesuffix(b"\n").split(b"\n") if data else ():
        line = raw.removesuffix(b"\r").decode(errors="replace")
        if "\ufffd" in line and not _is_utf8(raw):
            reader.skipped["(repaired, not skipped)"] += 1
        reader.take(line)
    return Script(name, tuple(reader.nicks), tuple(reader.steps), dict(reader.skipped))


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def username_of(nick: str, run: str, number: int) -> str:
    """Return a valid username: what of the nick may stand in one, and what makes it unique.

    `number` is unique in the run and `run` among runs, so no two nicks meet, however alike.
    """
    return f"{_NOT_IN_USERNAMES.sub('_', nick)[:_NICK_CHARACTERS]}.{run}.{number}"
