"""Files of old messages: what is a message in them, said when and by whom."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.importing.logs import Unreadable, messages_of
from services.history.core.importing import OldMessage, author_id_of
from shared.core.model import User

CHANNEL = 11


def ms(*when: int) -> int:
    """Return Unix ms of a time in UTC."""
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1000  # type: ignore[arg-type, misc]


def read(name: str, text: str, **options: Any) -> list[OldMessage]:
    """Return what is in a file."""
    lines = text.encode().splitlines(keepends=True)
    return list(messages_of(name, lines, CHANNEL, **{"content_characters": 10, **options}))


def test_lines_of_json() -> None:
    """Times are ms or ISO 8601, with or without a zone; an author is a name, or somebody with an id."""
    eve = {"id": "5", "username": "eve", "global_name": "Eve", "bot": True}
    lines = [
        {"at": 1_600_000_000_123, "author": "ada", "content": "one"},
        {"at": "2020-09-13T12:26:41.005+00:00", "author": eve, "content": "two"},
        {"at": "2020-09-13T12:26:42", "author": "ada", "content": "three", "more": 1},
    ]
    ada = User(author_id_of(CHANNEL, "ada"), "ada")
    assert read("a.jsonl", "\n\n".join(map(json.dumps, lines)) + "\n") == [
        OldMessage(1_600_000_000_123, ada, "one"),
        OldMessage(1_600_000_001_005, User(5, "eve", "Eve", bot=True), "two"),
        OldMessage(1_600_000_002_000, ada, "three"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"at": 1, "author": "a"}',
        '{"at": "x", "author": "a", "content": "b"}',
        '{"at": 1, "author": {"id": "x", "username": "a"}, "content": ""}',
    ],
)
def test_a_line_that_is_wrong_is_named(line: str) -> None:
    """It says which line."""
    with pytest.raises(Unreadable, match="line 2"):
        read("a.jsonl", '{"at": 1, "author": "a", "content": "b"}\n' + line)


IRC = """\
=== bob has joined #ubuntu
[23:58] <ada> hi
[23:58]  * bob waves
[23:57] <ada> late
[00:01] <ada> 0123456789abc
[25:00] <ada> no time
[00:02] <ada>  \n\
not a line
"""


def test_lines_of_irc() -> None:
    """The day stands in the name, after midnight it is the next; a little back is no new day; long texts are cut."""
    said = [(message.at, message.author.username, message.content) for message in read("2016-12-19_20.log", IRC)]
    assert said == [
        (ms(2016, 12, 19, 23, 58), "ada", "hi"),
        (ms(2016, 12, 19, 23, 58), "bob", "waves"),
        (ms(2016, 12, 19, 23, 57), "ada", "late"),
        (ms(2016, 12, 20, 0, 1), "ada", "0123456789"),
        (ms(2016, 12, 20, 0, 1), "ada", "abc"),
    ]


def test_a_log_can_begin_later() -> None:
    """The first message is moved to the day that is told, the others with it; without any day it is refused."""
    begin = ms(2020, 1, 1)
    said = read("2004-12-19.log", IRC, begin_ms=begin)
    assert [message.at - begin for message in said] == [0, 0, -60_000, 180_000, 180_000]
    assert read("ubuntu.log", IRC, begin_ms=begin) == said
    with pytest.raises(Unreadable, match="when the log begins"):
        read("ubuntu.log", IRC)
