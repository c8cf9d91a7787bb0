"""Logs become steps: every kind of line of the ten real logs, with invented people and words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.replay.script import Join, Leave, Say, Script, script_of, username_of
from services.groups.core.names import require_username
from shared.core.titles import key_of_name


def read(*lines: str) -> Script:
    """Read lines as a log."""
    return script_of("garden", "".join(f"{line}\n" for line in lines).encode())


@pytest.mark.parametrize(
    ("line", "content"),
    [
        ("[08:24] <ada> good morning", "good morning"),
        ("[08:24] <ada>  two  spaces ", " two  spaces "),
        ("[08:24] <ada> <ben> said so", "<ben> said so"),
        ("[08:24]  * ada waters the roses", "waters the roses"),
        ("=== ada waters the roses", "waters the roses"),
        ("=== ada has joined the discussion late", "has joined the discussion late"),
        ("[08:24] <ada> form\x0bfeed\x0c\x1c\u2028stay\x08", "form\x0bfeed\x0c\x1c\u2028stay\x08"),
        ("[08:24] <ada> \ufeffmark", "\ufeffmark"),
    ],
)
def test_who_speaks_says_the_text_of_the_line(line: str, content: str) -> None:
    """The content is the line's text to the letter; who has not joined before joins first."""
    assert read(line).steps == (Join(1), Say(1, content))


def test_joins_and_leaves_are_steps_once() -> None:
    """Joining twice and leaving without being there are no steps; all ways to write a join or a leave are known."""
    script = read(
        "=== ada has joined #garden",
        "=== ada has joined #Garden",
        "=== ben has left #garden []",
        "=== ada has left #garden [“Back later.”]",
        "=== ada  [~ada@host.example.org]  has joined #garden",
        "=== ada has quit [Ping timeout]",
    )
    assert script.nicks == ("owner", "ada", "ben")
    assert script.steps == (Join(1), Leave(1), Join(1), Leave(1))


def test_a_changed_nick_is_the_same_person() -> None:
    """Who is known by another nick speaks on as the same user; whoever takes the old nick is somebody else."""
    script = read(
        "[08:24] <ada> one",
        "=== ada is now known as ada_away",
        "[08:25] <ada_away> two",
        "[08:26] <ada> a stranger",
    )
    assert script.nicks == ("owner", "ada", "ada")
    assert script.steps == (Join(1), Say(1, "one"), Say(1, "two"), Join(2), Say(2, "a stranger"))


def test_a_nick_that_is_taken_over_was_left_by_its_holder() -> None:
    """Nicks are unique: when somebody takes one, its holder had gone; to one's own nick is no change."""
    script = read(
        "[08:24] <ada> here",
        "[08:24] <ben_> here too",
        "=== ben_ is now known as ada",
        "=== ada is now known as ada",
        "[08:25] <ada> it is ben",
    )
    assert script.steps[-2:] == (Leave(1), Say(2, "it is ben"))


def test_what_cannot_be_said_is_skipped_and_counted() -> None:
    """Nothing is bent into a message: lines without text, notices and what is not understood are counted by why."""
    script = read(
        "",
        "[08:24] <ada>",
        "[08:24] <ada>  ",
        "=== ada",
        "=== mode/#garden by ben",
        "=== ..[topic/#garden:ben] : roses",
        "[08:24] <ada> nul \0 byte",
        "ada says hello",
    )
    assert script.steps == ()
    assert script.skipped == {
        "blank": 1,
        "without text": 3,
        "notice of the server": 2,
        "holds NUL": 1,
        "not understood": 1,
    }


def test_bytes_that_are_not_utf_8_are_repaired_and_counted() -> None:
    """The line is said with the mark for what could not be read, and the table tells so; line ends may be CRLF."""
    script = script_of("garden", b"[08:24] <ada> caf\xe9\r\n[08:25] <ada> caf\xc3\xa9 \xef\xbf\xbd")
    assert script.steps == (Join(1), Say(1, "caf\ufffd"), Say(1, "café \ufffd"))
    assert script.skipped == {"(repaired, not skipped)": 1}


def test_a_long_line_is_said_in_pieces() -> None:
    """Nothing is cut away: the pieces together are the line."""
    script = script_of("garden", f"[08:24] <ada> {'rose ' * 9}".encode(), content_characters=20)
    pieces = [step.content for step in script.steps if isinstance(step, Say)]
    assert "".join(pieces) == "rose " * 9
    assert max(map(len, pieces)) == 20
    assert script.messages == len(pieces) == 3


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_log_breaks_it(data: bytes) -> None:
    """Whatever stands in a log, there are steps, and they fit together: only who is inside speaks or leaves."""
    inside: set[int] = set()
    script = script_of("any", data)
    for step in script.steps:
        assert 0 < step.person < len(script.nicks)
        match step:
            case Join(person):
                assert person not in inside
                inside.add(person)
            case Leave(person):
                inside.remove(person)
            case Say(person, content):
                assert person in inside
                assert content.strip()


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_any_nick_makes_a_valid_username_of_its_own(nicks: list[str]) -> None:
    """The service takes every one of them as it is, and no two are the same to it, however alike the nicks are."""
    names = [username_of(nick, "c0ffee", number) for number, nick in enumerate((*nicks, *nicks))]
    assert [require_username(name) for name in names] == names
    assert len({key_of_name(name) for name in names}) == len(names)
