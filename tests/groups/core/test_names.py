"""Names and passwords: what is accepted, and what counts as the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.groups.core.names import (
    group_name_key,
    pair_key,
    require_channel_name,
    require_group_name,
    require_password,
    require_username,
    username_key,
)
from shared.core.errors import InvalidForm
from shared.core.titles import key_of_name

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=60)


@pytest.mark.parametrize("name", ["ab", "Ann", "a" * 32, "josé", "名前", "ann lee", "x_y.z-1", "🦜🦜"])
def test_usernames_kept_as_typed(name: str) -> None:
    """What people are called is kept as they typed it."""
    assert require_username(name) == name


@pytest.mark.parametrize(
    ("typed", "kept"), [(" ann ", "ann"), ("\uff21nn", "Ann"), ("e\u0301a", "\u00e9a"), ("\ufb01n", "fin")]
)
def test_usernames_normalised(typed: str, kept: str) -> None:
    """Letters that look the same are kept as the same, and no space hides at an end."""
    assert require_username(typed) == kept


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        " a ",
        "a" * 33,
        "a\nb",
        "a\0b",
        "a\u200db",
        "a\u202eb",
        "a\ud800",
        "a\u3164b",
        "a\ufe0fb",
        "\u0301ab",
        "a  b",
        "a@b",
        "a#1",
        "a:b",
        "here",
        "EVERYONE",
        "\ufdfa" * 2,
    ],
)
def test_usernames_refused(name: str) -> None:
    """What can't be seen, can't be typed or means something else is no username."""
    with pytest.raises(InvalidForm):
        require_username(name)


@given(ANYTHING)
def test_any_text_is_a_name_or_refused(text: str) -> None:
    """Whatever comes in: a form error or a name that is accepted again unchanged, never another exception."""
    for require in (require_username, require_group_name, require_channel_name):
        try:
            name = require(text)
        except InvalidForm:
            continue
        assert require(name) == name
        name.encode()


@given(st.text(max_size=40))
def test_keys_are_stable(text: str) -> None:
    """The key of a key is itself, and case, width and composition never make a new one."""
    key = key_of_name(text)
    assert key_of_name(key) == key
    assert key_of_name(text.casefold()) == key


def test_names_that_are_the_same() -> None:
    """One key for all ways to type a name; usernames, groups and pairs never meet."""
    assert len({username_key(name) for name in ("Straße", "STRASSE", "\uff33trasse", "stras\u200bse")}) == 1
    assert username_key("room") != group_name_key("room")
    assert pair_key(1, 2) == pair_key(2, 1) != pair_key(1, 3)


@pytest.mark.parametrize("name", ["👨\u200d👩\u200d👧 family", "❤\ufe0f room", "ab", "x" * 100])
def test_group_names_may_have_any_emoji(name: str) -> None:
    """Joined and coloured emoji are fine in the title of a group."""
    assert require_group_name(name) == name


@pytest.mark.parametrize("name", ["", "x", " x ", "x" * 101, "a\tb", "\u200d\u200d", "\u3164\u3164", "\ud83d!"])
def test_group_names_refused(name: str) -> None:
    """A group needs a name that can be seen."""
    with pytest.raises(InvalidForm):
        require_group_name(name)


@pytest.mark.parametrize("password", ["short", "x" * 7, "x" * 257, "long enough \ud800"])
def test_passwords_refused(password: str) -> None:
    """Too short to be safe, too long to be hashed for strangers, or no text."""
    with pytest.raises(InvalidForm):
        require_password(password)


@pytest.mark.parametrize("password", ["x" * 8, "x" * 256, "  spaces stay  ", "пароль и ещё"])
def test_passwords_kept(password: str) -> None:
    """A password is taken to the letter."""
    assert require_password(password) == password
