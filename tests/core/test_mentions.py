"""Mentions: whom a content calls, and what its author may allow and may do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.calls import Mentionable
from shared.core.errors import InvalidForm
from shared.core.mentions import (
    EVERYTHING,
    MAX_MENTIONS,
    NOBODY,
    Allowed,
    Called,
    Mentioned,
    allowed_of,
    called,
    mentioned_in,
)
from shared.core.model import User

ANN, BEN = User(11, "ann"), User(12, "ben")


@pytest.mark.parametrize(
    ("content", "mentioned"),
    [
        ("nobody", NOBODY),
        ("<@11> and <@!12>, <@11> again", Mentioned((11, 12))),
        ("<@&21><@&22>", Mentioned((), (21, 22))),
        ("hi @everyone", Mentioned(everyone=True)),
        ("@here!", Mentioned(everyone=True)),
        ("me@hereford.example", NOBODY),
        ("<@ 11> <@x> <@> <#11> <@&> <@-1> <@0>", NOBODY),
        ("<@99999999999999999999999>", NOBODY),
        ("<@१२>", NOBODY),
        ("`<@11>` ``@everyone`` ```\n<@&21>\n``` <@12>", Mentioned((12,))),
        ("` <@11>", Mentioned((11,))),
        ("", NOBODY),
    ],
)
def test_whom_a_content_calls(content: str, mentioned: Mentioned) -> None:
    """Users, roles and everyone, each once and in order; not what stands in code, and no nonsense."""
    assert mentioned_in(content) == mentioned


def test_no_more_than_may_be_called_are_looked_at() -> None:
    """A content full of ids calls the first hundred users and roles."""
    content = "".join(f"<@{number}><@&{number}>" for number in range(1, 200))
    mentioned = mentioned_in(content)
    assert (mentioned.users, mentioned.roles) == (tuple(range(1, MAX_MENTIONS + 1)),) * 2


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        (None, EVERYTHING),
        ({}, Allowed(frozenset(), frozenset(), everyone=False, replied_user=False)),
        ({"parse": []}, Allowed(frozenset(), frozenset(), everyone=False, replied_user=False)),
        ({"parse": None, "users": None}, Allowed(frozenset(), frozenset(), everyone=False, replied_user=False)),
        ({"parse": ["users"]}, Allowed(None, frozenset(), everyone=False, replied_user=False)),
        ({"parse": ["roles", "everyone"], "users": ["11", 12]}, Allowed(frozenset({11, 12}), None, replied_user=False)),
        ({"parse": ["users"], "users": []}, Allowed(None, frozenset(), everyone=False, replied_user=False)),
        ({"replied_user": True, "x": 1}, Allowed(frozenset(), frozenset(), everyone=False)),
    ],
)
def test_what_is_allowed(value: Any, allowed: Allowed) -> None:
    """Nothing said: all; something said: only that."""
    assert allowed_of(value) == allowed


@pytest.mark.parametrize(
    ("value", "field", "code"),
    [
        ([], "allowed_mentions", "DICT_TYPE_CONVERT"),
        ({"parse": "users"}, "allowed_mentions.parse", "LIST_TYPE_CONVERT"),
        ({"parse": ["all"]}, "allowed_mentions.parse.0", "BASE_TYPE_CHOICES"),
        ({"parse": ["users", {}]}, "allowed_mentions.parse.1", "BASE_TYPE_CHOICES"),
        ({"parse": ["users", "users"]}, "allowed_mentions.parse", "SET_TYPE_ALREADY_CONTAINS_VALUE"),
        ({"users": "11"}, "allowed_mentions.users", "LIST_TYPE_CONVERT"),
        ({"roles": [True]}, "allowed_mentions.roles.0", "NUMBER_TYPE_COERCE"),
        ({"users": list(range(1, 102))}, "allowed_mentions.users", "BASE_TYPE_MAX_LENGTH"),
        ({"parse": ["users"], "users": [1]}, "allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE"),
        ({"replied_user": "yes"}, "allowed_mentions.replied_user", "BOOLEAN_TYPE_CONVERT"),
    ],
)
def test_what_makes_no_sense_is_told_by_its_field(value: Any, field: str, code: str) -> None:
    """Discord's errors, at the field that is wrong."""
    error = allowed_of(value)
    assert isinstance(error, InvalidForm)
    assert {path: reasons[0][0] for path, reasons in error.fields.items()} == {field: code}


def test_only_what_is_allowed_is_called() -> None:
    """Ids that are not listed, and everyone unless said so, are text."""
    content = "<@11> <@12> <@&21> @everyone"
    assert mentioned_in(content, Allowed(frozenset({12}), None, everyone=False)) == Mentioned((12,), (21,))
    assert mentioned_in(content, Allowed(frozenset(), frozenset())) == Mentioned(everyone=True)


def test_who_may_not_call_all_calls_members_and_open_roles() -> None:
    """Everyone, and roles that are not open, are only called by who may."""
    mentioned = Mentioned((11, 12, 13), (21, 22), everyone=True)
    there = Mentionable((ANN, BEN), (21, 22), (22,))
    assert called(mentioned, there, may_call_all=True) == Called((ANN, BEN), (21, 22), everyone=True)
    assert called(mentioned, there, may_call_all=False) == Called((ANN, BEN), (22,))


_noise = st.text(alphabet="<@!&>`0123 \n#everyonher", max_size=60)


@given(_noise)
def test_any_text_is_taken(content: str) -> None:
    """Whatever is written, what is called is bounded, without repeats, and stands in the text."""
    mentioned = mentioned_in(content)
    for ids, marks in ((mentioned.users, ("<@", "<@!")), (mentioned.roles, ("<@&",))):
        assert len(set(ids)) == len(ids) <= MAX_MENTIONS
        for one in ids:
            assert any(mark in content for mark in marks)
            assert str(one) in content
    assert not mentioned.everyone or "@everyone" in content or "@here" in content


_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["users", "roles", "everyone"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["parse", "users", "roles", "replied_user", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(_values)
def test_any_value_is_judged(value: Any) -> None:
    """Nothing that comes makes it raise."""
    assert isinstance(allowed_of(value), Allowed | InvalidForm)
