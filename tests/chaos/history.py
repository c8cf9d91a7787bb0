"""What happened in a run, as it happened: records in one order, appended to a file, read by `judging`.

Core: frozen values and their bytes. One process writes all of them, so the order of the records is the order of what
happened to it: a record of something asked stands before it was sent, one of an answer after it came. `at` is seconds
since the run began; `who` is a person's number, `session` a session's (a new one for each IDENTIFY).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

NOBODY: Final = -1
"""The author of a message whom the run does not know."""
PIN: Final = "pin"
"""The mark of a pinned message; every other mark is a reaction's emoji."""
DOORS: Final = ("gateway", "groups", "history")
"""Where a token opens something."""
READINGS: Final[Mapping[int, tuple[int, bool]]] = {1: (100, True), 2: (50, False)}
"""Who reads all pages at the end, by number: page size, and whether from the newest back."""


class _Record(msgspec.Struct, frozen=True, array_like=True, tag=True):
    at: float


class FaultBegan(_Record, frozen=True, tag=True):
    """A fault begins. `kind` and `target` are those of `schedule`; a process that is hit is named `gateway-1`."""

    number: int
    kind: str
    target: str


class FaultEnded(_Record, frozen=True, tag=True):
    """All is as before the fault: who was killed is ready again, who was halted goes on."""

    number: int


class Sent(_Record, frozen=True, tag=True):
    """A message is about to be sent, for the first time or again with its nonce."""

    who: int
    channel: int
    nonce: str
    content: str


class Acked(_Record, frozen=True, tag=True):
    """A message was acknowledged, by a SEND_ACK or a 200."""

    who: int
    channel: int
    nonce: str
    id: int
    seq: int


class Refused(_Record, frozen=True, tag=True):
    """A message was refused for good."""

    who: int
    channel: int
    nonce: str
    code: int


class Changing(_Record, frozen=True, tag=True):
    """An edit of a message is about to be asked for, or its deletion (`content` None)."""

    who: int
    channel: int
    id: int
    content: str | None


class Changed(_Record, frozen=True, tag=True):
    """The change was answered as done."""

    who: int
    channel: int
    id: int
    content: str | None


class Marking(_Record, frozen=True, tag=True):
    """A reaction (the `mark` is the emoji) or a pin is about to be asked for, or to be taken back."""

    who: int
    channel: int
    id: int
    mark: str
    on: bool


class Marked(_Record, frozen=True, tag=True):
    """That was answered as done."""

    who: int
    channel: int
    id: int
    mark: str
    on: bool


class Joining(_Record, frozen=True, tag=True):
    """Somebody is about to ask to join."""

    who: int
    channel: int


class Joined(_Record, frozen=True, tag=True):
    """It was answered that somebody is in the group of a channel, or has the direct channel."""

    who: int
    channel: int


class Removed(_Record, frozen=True, tag=True):
    """It was answered that somebody is out of the group of a channel."""

    who: int
    channel: int


class Began(_Record, frozen=True, tag=True):
    """A session began with READY."""

    session: int
    who: int
    tells_positions: bool
    node: str


class Seen(_Record, frozen=True, tag=True):
    """A session was told of a channel: what comes after `head` comes to it. `place` numbers the group's tellings."""

    session: int
    channel: int
    head: int
    place: int


class Unseen(_Record, frozen=True, tag=True):
    """A session was told that it is out of the group of a channel."""

    session: int
    channel: int
    place: int


class Heard(_Record, frozen=True, tag=True):
    """A session got an event of a channel. `id` is the message's; the last three are a creation's.

    Of an edit there is the `content`, too, of a reaction who reacted (`author`) and the emoji (`content`).
    """

    session: int
    s: int
    channel: int
    seq: int
    t: str
    id: int
    nonce: str = ""
    author: int = NOBODY
    content: str = ""


class Lost(_Record, frozen=True, tag=True):
    """A session's connection is gone."""

    session: int


class Resumed(_Record, frozen=True, tag=True):
    """A session goes on: all that it missed has come."""

    session: int


class Invalid(_Record, frozen=True, tag=True):
    """A session was told that it can't go on."""

    session: int


class Ended(_Record, frozen=True, tag=True):
    """A client ended its session."""

    session: int


class LoggedOut(_Record, frozen=True, tag=True):
    """It was answered that the token of a person's session is revoked."""

    who: int
    session: int


class KeptOut(_Record, frozen=True, tag=True):
    """The revoked token was refused by one of `DOORS`: the gateway has closed the session, REST answered 401."""

    session: int
    door: str


class LoggingIn(_Record, frozen=True, tag=True):
    """Somebody is about to ask for a new token."""

    who: int


class Looking(_Record, frozen=True, tag=True):
    """Somebody is about to ask for a channel's latest messages."""

    number: int
    who: int
    channel: int


class Looked(_Record, frozen=True, tag=True):
    """It was answered with these (id, seq), newest first."""

    number: int
    messages: tuple[tuple[int, int], ...]


class Event(_Record, frozen=True, tag=True):
    """After the run: an event of a channel as the server has it; `t` None where there is nothing to tell any more."""

    channel: int
    seq: int
    t: str | None
    id: int = 0
    nonce: str = ""
    author: int = NOBODY
    content: str = ""


class Paged(_Record, frozen=True, tag=True):
    """After the run: a message as it stands in a reading of all pages, in the order of the pages, oldest first."""

    reading: int
    channel: int
    id: int
    seq: int
    nonce: str
    author: int
    content: str


class Bears(_Record, frozen=True, tag=True):
    """After the run: so many have put a mark on a message, as it is shown."""

    channel: int
    id: int
    mark: str
    count: int


class Measured(_Record, frozen=True, tag=True):
    """What a process told of something that must not grow above `bound`."""

    process: str
    what: str
    value: float
    bound: float


class Settled(_Record, frozen=True, tag=True):
    """All faults are healed, nobody asks for anything any more, and what had to come had its time to come."""


Record = (
    FaultBegan | FaultEnded | Sent | Acked | Refused | Changing | Changed | Marking | Marked | Joining | Joined
    | Removed | Began | Seen | Unseen | Heard | Lost | Resumed | Invalid | Ended | LoggedOut | KeptOut | LoggingIn
    | Looking | Looked | Event | Paged | Bears | Measured | Settled
)  # fmt: skip

_encoder: Final = msgspec.json.Encoder()
_decode: Final = msgspec.json.Decoder(Record).decode


class History:
    """The records of a run, in memory and in a file that is appended to: a crash leaves what there was."""

    def __init__(self, path: Path) -> None:
        self.records: list[Record] = []
        self._file = path.open("wb")

    def note(self, record: Record) -> None:
        """Take in a record."""
        self.records.append(record)
        self._file.write(_encoder.encode(record) + b"\n")

    def close(self) -> None:
        """Write what is not written yet."""
        self._file.close()


def read_history(path: Path) -> Iterator[Record]:
    """Read a file of records."""
    with path.open("rb") as file:
        for line in file:
            yield _decode(line)
