"""Embeds: Discord's limits, and nothing kept but what is known."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.embeds import MAX_BYTES, MAX_EMBEDS, MAX_TEXT, embeds_of
from shared.core.errors import InvalidForm

FULL: dict[str, Any] = {
    "type": "rich",
    "title": "t",
    "description": "d",
    "url": "https://example.org/x",
    "timestamp": "2024-01-02T03:04:05+00:00",
    "color": 0xFF8800,
    "footer": {"text": "f", "icon_url": "https://example.org/i.png"},
    "image": {"url": "https://example.org/a.png"},
    "thumbnail": {"url": "http://example.org/b.png"},
    "author": {"name": "n", "url": "https://example.org", "icon_url": "https://example.org/c.png"},
    "fields": [{"name": "k", "value": "v", "inline": True}, {"name": "k", "value": "v", "inline": False}],
}


def test_an_embed_is_kept_as_it_came() -> None:
    """All known fields of it."""
    assert embeds_of([FULL]) == (FULL,)


def test_what_nobody_knows_or_sees_is_left_out() -> None:
    """Unknown keys, empty texts, embeds that show nothing; a time without a zone is of UTC."""
    given_embed = {"title": " t ", "$where": 1, "footer": {"text": ""}, "timestamp": "2024-01-02T03:04:05", "url": ""}
    assert embeds_of([given_embed, {"color": 1, "url": "https://example.org"}, {}]) == (
        {"type": "rich", "title": "t", "timestamp": "2024-01-02T03:04:05+00:00"},
    )
    assert embeds_of(None) == embeds_of([]) == ()


@pytest.mark.parametrize(
    ("value", "field", "code"),
    [
        ({}, "embeds", "LIST_TYPE_CONVERT"),
        ([{"title": "x"}] * (MAX_EMBEDS + 1), "embeds", "BASE_TYPE_MAX_LENGTH"),
        ([{"title": "x"}, 5], "embeds.1", "DICT_TYPE_CONVERT"),
        ([{"title": "x" * 257}], "embeds.0.title", "BASE_TYPE_MAX_LENGTH"),
        ([{"title": 5}], "embeds.0.title", "STRING_TYPE_CONVERT"),
        ([{"description": "x" * 4097}], "embeds.0.description", "BASE_TYPE_MAX_LENGTH"),
        ([{"footer": {"text": "x" * 2049}}], "embeds.0.footer.text", "BASE_TYPE_MAX_LENGTH"),
        ([{"footer": "x"}], "embeds.0.footer", "DICT_TYPE_CONVERT"),
        ([{"author": {"name": "x" * 257}}], "embeds.0.author.name", "BASE_TYPE_MAX_LENGTH"),
        ([{"fields": [{"name": "n", "value": "v"}] * 26}], "embeds.0.fields", "BASE_TYPE_MAX_LENGTH"),
        ([{"fields": "x"}], "embeds.0.fields", "LIST_TYPE_CONVERT"),
        ([{"fields": [{"name": "n"}]}], "embeds.0.fields.0.value", "BASE_TYPE_REQUIRED"),
        ([{"fields": [{"name": " ", "value": "v"}]}], "embeds.0.fields.0.name", "BASE_TYPE_REQUIRED"),
        ([{"fields": [{"name": "n", "value": "x" * 1025}]}], "embeds.0.fields.0.value", "BASE_TYPE_MAX_LENGTH"),
        ([{"fields": [{"name": "n", "value": "v", "inline": 1}]}], "embeds.0.fields.0.inline", "BOOLEAN_TYPE_CONVERT"),
        ([{"color": 1 << 24}], "embeds.0.color", "NUMBER_TYPE_MAX"),
        ([{"color": True}], "embeds.0.color", "NUMBER_TYPE_COERCE"),
        ([{"timestamp": "soon"}], "embeds.0.timestamp", "DATE_TIME_TYPE_PARSE"),
        ([{"timestamp": 5}], "embeds.0.timestamp", "DATE_TIME_TYPE_PARSE"),
        ([{"url": "javascript:alert(1)"}], "embeds.0.url", "URL_TYPE_INVALID_SCHEME"),
        ([{"url": "https://"}], "embeds.0.url", "URL_TYPE_INVALID_URL"),
        ([{"url": "https://[x"}], "embeds.0.url", "URL_TYPE_INVALID_URL"),
        ([{"url": "https://a b"}], "embeds.0.url", "URL_TYPE_INVALID_URL"),
        ([{"image": {"url": "attachment://a.png"}}], "embeds.0.image.url", "URL_TYPE_INVALID_SCHEME"),
        ([{"url": "https://example.org/" + "x" * 2048}], "embeds.0.url", "URL_TYPE_INVALID_URL"),
    ],
)
def test_what_is_over_a_limit_is_told_by_its_field(value: Any, field: str, code: str) -> None:
    """Discord's errors, at the field that is wrong."""
    error = embeds_of(value)
    assert isinstance(error, InvalidForm)
    assert {path: reasons[0][0] for path, reasons in error.fields.items()} == {field: code}


def test_all_of_them_together_are_bounded() -> None:
    """6,000 characters over all embeds, and their bytes."""
    text = {"description": "x" * 3000}
    assert embeds_of([text, text]) == ({"type": "rich", **text},) * 2
    for value in ([text, text, {"title": "y"}], [{"image": {"url": "https://example.org/" + "x" * 2000}}] * 10):
        judged = embeds_of(value)
        assert isinstance(judged, InvalidForm) == (value[0] is text)
    heavy = {
        name: {"url": "https://example.org/" + "x" * 2000, "icon_url": "https://example.org/" + "x" * 2000}
        for name in ("image", "thumbnail", "author")
    }
    error = embeds_of([heavy] * MAX_EMBEDS)
    assert isinstance(error, InvalidForm)
    assert error.fields["embeds"][0][0] == "MAX_EMBED_SIZE_EXCEEDED"


_keys = st.sampled_from([*FULL, "text", "icon_url", "name", "value", "inline", "$set"])
_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats() | st.just("https://example.org"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=5),
    max_leaves=12,
)


@given(st.lists(_values, max_size=3) | _values)
def test_any_value_is_judged(value: Any) -> None:
    """Nothing that comes makes it raise, and what is kept is small, encodable and of known keys."""
    judged = embeds_of(value)
    if isinstance(judged, InvalidForm):
        assert judged.fields
        return
    assert len(msgspec.msgpack.encode(judged)) <= MAX_BYTES
    assert all(embed.keys() <= FULL.keys() for embed in judged)
    assert sum(len(embed.get("description", "")) for embed in judged) <= MAX_TEXT
    assert embeds_of(list(judged)) == judged
