"""Drafts: what may stand in a message, and what is told where it may not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.calls import Mentionable, ReadMentionable
from shared.core.drafts import SUPPRESS_EMBEDS, SUPPRESS_NOTIFICATIONS, Draft, Given, Reference, draft_of
from shared.core.error_catalogue import CATALOGUE, error_of, name_of
from shared.core.errors import InvalidForm, StarlingError
from shared.core.mentions import Called, Mentioned
from shared.core.message_errors import EmptyMessage
from shared.core.model import Channel, ChannelType, User
from shared.core.permissions import ALL, DEFAULT, DIRECT, Permission
from shared.core.sending import called_by, place_of, question_of, refusal_of_draft

ANN, BEN = User(11, "ann"), User(12, "ben")
TEXT = Channel(7, ChannelType.TEXT, "general", 5)
PAIR = Channel(9, ChannelType.DIRECT, recipients=(ANN, BEN))
EMBED = {"type": "rich", "title": "t"}


def judge(content: Any = "x", **fields: Any) -> Draft | StarlingError:
    """Judge a message to channel 7."""
    return draft_of(Given(channel_id="7", content=content, **fields), 2000)


def draft(content: Any = "x", **fields: Any) -> Draft:
    """Return a draft that is well-formed."""
    judged = judge(content, **fields)
    assert isinstance(judged, Draft)
    return judged


def test_content_counts_code_points() -> None:
    """2,000 characters whatever their bytes are; the setting decides."""
    assert draft("\U0001f600" * 2000).content == "\U0001f600" * 2000
    assert isinstance(judge("x" * 2001), InvalidForm)
    assert isinstance(draft_of(Given(7, "x" * 4000), 4000), Draft)


@pytest.mark.parametrize(
    "fields",
    [{"content": None}, {"content": ""}, {"content": " \n\t"}, {"content": None, "embeds": [{}]}, {"embeds": []}],
)
def test_nothing_to_see_is_no_message(fields: dict[str, Any]) -> None:
    """Without content and embeds there is nothing to send."""
    assert isinstance(judge(**{"content": None, **fields}), EmptyMessage)


def test_embeds_alone_are_a_message() -> None:
    """Content may be missing then."""
    assert draft(None, embeds=[EMBED]) == Draft(7, "", embeds=(EMBED,))
    assert draft("  ", embeds=[EMBED]).content == ""


def test_flags_of_a_sender() -> None:
    """Two are kept, others ignored."""
    assert draft(flags=SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | 1 << 13 | 1).flags == 4 | 4096
    assert draft(flags=None).flags == 0
    values: list[Any] = [True, "4", [], 1.5]
    for wrong in values:
        error = judge(flags=wrong)
        assert isinstance(error, InvalidForm)
        assert "flags" in error.fields


@pytest.mark.parametrize(
    ("reference", "kept"),
    [
        (None, None),
        ({"message_id": "5"}, Reference(5)),
        ({"message_id": 5, "channel_id": "7", "guild_id": "5", "type": 0, "fail_if_not_exists": True}, Reference(5)),
        ({"message_id": 5, "fail_if_not_exists": False}, Reference(5, required=False)),
        ({"message_id": 5, "channel_id": "8", "fail_if_not_exists": False}, None),
    ],
)
def test_a_reply_names_a_message_of_its_channel(reference: Any, kept: Reference | None) -> None:
    """One of another channel is as one that does not exist."""
    assert draft(message_reference=reference).reference == kept


@pytest.mark.parametrize(
    ("reference", "field", "code"),
    [
        ("5", "message_reference", "DICT_TYPE_CONVERT"),
        ({}, "message_reference.message_id", "NUMBER_TYPE_COERCE"),
        ({"message_id": "x"}, "message_reference.message_id", "NUMBER_TYPE_COERCE"),
        ({"message_id": "5", "type": 1}, "message_reference.type", "BASE_TYPE_CHOICES"),
        ({"message_id": "5", "channel_id": "8"}, "message_reference", "REPLIES_UNKNOWN_MESSAGE"),
        ({"message_id": "5", "fail_if_not_exists": 1}, "message_reference.fail_if_not_exists", "BOOLEAN_TYPE_CONVERT"),
    ],
)
def test_a_reference_that_makes_no_sense(reference: Any, field: str, code: str) -> None:
    """Discord's errors, at the field that is wrong."""
    error = judge(message_reference=reference)
    assert isinstance(error, InvalidForm)
    assert {path: reasons[0][0] for path, reasons in error.fields.items()} == {field: code}


def test_an_unknown_reference_travels() -> None:
    """As a shard tells it by name, the sender gets Discord's shape."""
    error = CATALOGUE["UnknownReference"]()
    told = error_of(name_of(error), error.text)
    assert isinstance(told, InvalidForm)
    assert told.tree() == {
        "message_reference": {"_errors": [{"code": "REPLIES_UNKNOWN_MESSAGE", "message": "Unknown message"}]}
    }


def test_what_is_allowed_decides_whom_it_calls() -> None:
    """Mentions are those of the content that `allowed_mentions` lets through."""
    assert draft("<@11> @here").mentioned == Mentioned((11,), (), everyone=True)
    none = draft("<@11> @here", allowed_mentions={"parse": []})
    assert (none.mentioned, none.calls_replied) == (Mentioned(), False)
    assert draft().calls_replied


@pytest.mark.parametrize(
    ("fields", "permissions", "refusal"),
    [
        ({}, DEFAULT, ""),
        ({}, 0, "MissingAccess"),
        ({}, Permission.VIEW_CHANNEL, "MissingPermissions"),
        ({"embeds": [EMBED]}, DEFAULT, ""),
        ({"embeds": [EMBED]}, DEFAULT & ~Permission.EMBED_LINKS, "MissingPermissions"),
        ({"message_reference": {"message_id": 5}}, DEFAULT, ""),
        ({"message_reference": {"message_id": 5}}, DEFAULT & ~Permission.READ_MESSAGE_HISTORY, "CannotReply"),
    ],
)
def test_what_a_draft_needs(fields: dict[str, Any], permissions: int, refusal: str) -> None:
    """Each part of a message asks for its own permission."""
    assert refusal_of_draft(draft(**fields), place_of(TEXT, 3, permissions)) == refusal


def test_groups_are_asked_only_about_somebody() -> None:
    """A content that calls nobody, or everyone, costs no question; nor does one in a direct channel."""
    place = place_of(TEXT, 3, DEFAULT)
    assert question_of(draft("hello"), place) is None
    assert question_of(draft("@everyone"), place) is None
    assert question_of(draft("<@11> <@&21>"), place) == ReadMentionable(5, (11,), (21,))
    assert question_of(draft("<@11>"), place_of(PAIR, 0, DIRECT)) is None


def test_a_direct_message_calls_its_users() -> None:
    """Those that the channel holds, and no other."""
    assert called_by(draft("<@12> <@13>"), place_of(PAIR, 0, DIRECT)) == Called((BEN,))


def test_a_message_in_a_group_calls_who_is_there() -> None:
    """By the answer of groups, and by what its author may do."""
    there = Mentionable((ANN,), (21, 22), (22,))
    mentioning = draft("<@11> <@&21> <@&22> @everyone")
    assert called_by(mentioning, place_of(TEXT, 3, DEFAULT), there) == Called((ANN,), (22,))
    assert called_by(mentioning, place_of(TEXT, 3, ALL), there) == Called((ANN,), (21, 22), everyone=True)


_names = st.sampled_from(["message_id", "channel_id", "type", "fail_if_not_exists", "parse", "users", "title"])
_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=6,
)


@given(st.builds(Given, *([_values] * 7)))
def test_any_message_is_judged(message: Given) -> None:
    """Nothing that comes makes it raise."""
    assert isinstance(draft_of(message, 2000), Draft | StarlingError)
