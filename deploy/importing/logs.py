"""What is in a file of old messages: lines of JSON, or a log of IRC.

Core: text in, values out. A line of JSON is `{"at": ..., "author": ..., "content": ...}`: `at` in Unix ms or ISO 8601;
`author` a name, or `{"id", "username", "global_name", "avatar", "bot"}` of somebody with an account. Of IRC's lines
`[hh:mm] <nick> text` and `[hh:mm]  * nick text` are messages, the others are none; the day of the first line stands at
the beginning of the file's name (2016-12-19_20.log), and where the clock goes back by more than half a day the next one
has begun. Read `services.history.core.importing` next: what may be imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from services.history.core.importing import OldMessage, author_id_of
from shared.core.model import User

_SAID: Final = re.compile(r"\[(\d\d):(\d\d)\] (?:<([^>]+)>| +\* (\S+)) (.*)", re.DOTALL)
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_HALF_A_DAY: Final = timedelta(hours=12)
_USERNAME_CHARACTERS: Final = 32
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Unreadable(Exception):
    """A file can't be read as what its name says it is. The text says where and why."""


class _Author(msgspec.Struct):
    id: int | str
    username: str
    global_name: str | None = None
    avatar: str | None = None
    bot: bool = False


class _Line(msgspec.Struct):
    at: int | datetime
    author: str | _Author
    content: str


_line_decoder = msgspec.json.Decoder(_Line)


def messages_of(
    name: str, lines: Iterable[bytes], channel_id: int, *, content_characters: int, begin_ms: int | None = None
) -> Iterator[OldMessage]:
    """Yield the messages of a file by its name and lines; with `begin_ms` its first message was said then (Unix ms).

    Raises `Unreadable`.
    """
    if name.endswith((".jsonl", ".ndjson")):
        messages = _json_messages(lines, channel_id)
    else:
        messages = _irc_messages(name, lines, channel_id, content_characters, begin_ms)
    shift: int | None = 0 if begin_ms is None else None
    for message in messages:
        if begin_ms is not None and shift is None:
            shift = begin_ms - message.at
        yield msgspec.structs.replace(message, at=message.at + shift) if shift else message


def _json_messages(lines: Iterable[bytes], channel_id: int) -> Iterator[OldMessage]:
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        try:
            line = _line_decoder.decode(raw)
            author = _user_of(line.author, channel_id)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unreadable(f"line {number:,}: {error}") from error
        yield OldMessage(_ms_of(line.at), author, line.content)


def _user_of(author: str | _Author, channel_id: int) -> User:
    if isinstance(author, str):
        return User(author_id_of(channel_id, author), author[:_USERNAME_CHARACTERS])
    return User(int(author.id), author.username, author.global_name, author.avatar, author.bot)


def _ms_of(at: int | datetime) -> int:
    if isinstance(at, int):
        return at
    # In whole numbers: a float of seconds would round milliseconds away.
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)


def _irc_messages(
    name: str, lines: Iterable[bytes], channel_id: int, content_characters: int, begin_ms: int | None
) -> Iterator[OldMessage]:
    found = _DAY.match(name)
    if found is None and begin_ms is None:
        raise Unreadable("the name does not begin with the day (2016-12-19), so say when the log begins")
    day = datetime.fromisoformat(found[0] if found else "2015-01-01").replace(tzinfo=UTC)
    last = day
    for raw in lines:
        said = _SAID.fullmatch(raw.rstrip(b"\r\n").decode(errors="replace"))
        if said is None or not said[5].strip():
            continue
        hour, minute = int(said[1]), int(said[2])
        if hour > 23 or minute > 59:
            continue
        at = day.replace(hour=hour, minute=minute)
        if last - at > _HALF_A_DAY:
            day += timedelta(days=1)
            at += timedelta(days=1)
        last = at
        author = _user_of((said[3] or said[4]).strip(), channel_id)
        text = said[5].replace("\0", "")
        for start in range(0, len(text), content_characters):
            if (piece := text[start : start + content_characters]).strip():
                yield OldMessage(_ms_of(at), author, piece)
