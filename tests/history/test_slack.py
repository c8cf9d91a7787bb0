"""Slack's shape in Discord's: marks, attachments, and whatever tools may send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.history.core.slack import converted
from shared.core.embeds import embeds_of
from shared.core.errors import InvalidForm

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        "title",
        "text",
        "pretext",
        "fallback",
        "color",
        "ts",
        "fields",
        "footer",
        "author_name",
        "author_icon",
        "image_url",
    ]
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain *bold*", "plain *bold*"),
        ("a &lt;b&gt; &amp;amp;", "a <b> &amp;"),
        ("<https://x.example/a?b=1&amp;c>", "https://x.example/a?b=1&c"),
        ("<https://x.example|see here>", "[see here](https://x.example)"),
        ("<mailto:a@x.example|a@x.example>", "[a@x.example](mailto:a@x.example)"),
        ("<!channel> <!everyone> <!here>", "@everyone @everyone @here"),
        ("<!date^1392734382^{date}|Feb 18>", "Feb 18"),
        ("<#C024BE7LR|general>", "#general"),
        ("<@175928847299117063>", "<@175928847299117063>"),
        ("a < b > c <", "a < b > c <"),
    ],
)
def test_marks(text: str, shown: str) -> None:
    """Addresses, calls and escaped letters are told as Discord writes them; the rest stays."""
    assert converted({"text": text}).content == shown


def test_an_attachment_with_everything() -> None:
    """Each part of it has its place in an embed, which passes as one."""
    message = converted(
        {
            "attachments": [
                {
                    "fallback": "unused",
                    "color": "#36a64f",
                    "pretext": "before",
                    "author_name": "Bobby",
                    "author_link": "https://x.example/b",
                    "author_icon": "https://x.example/b.png",
                    "title": "API",
                    "title_link": "https://x.example/api",
                    "text": "text",
                    "fields": [{"title": "Priority", "value": "High", "short": True}, {"title": "", "value": 5}],
                    "image_url": "https://x.example/i.png",
                    "thumb_url": "https://x.example/t.png",
                    "footer": "foot",
                    "footer_icon": "https://x.example/f.png",
                    "ts": "123456789.5",
                }
            ]
        }
    )
    assert embeds_of(message.embeds) == (
        {
            "type": "rich",
            "title": "API",
            "url": "https://x.example/api",
            "description": "before\ntext",
            "color": 0x36A64F,
            "timestamp": "1973-11-29T21:33:09.500000+00:00",
            "author": {
                "name": "Bobby",
                "url": "https://x.example/b",
                "icon_url": "https://x.example/b.png",
            },
            "footer": {"text": "foot", "icon_url": "https://x.example/f.png"},
            "image": {"url": "https://x.example/i.png"},
            "thumbnail": {"url": "https://x.example/t.png"},
            "fields": [
                {"inline": True, "name": "Priority", "value": "High"},
                {"inline": False, "name": "\u200b", "value": "5"},
            ],
        },
    )


def test_the_fallback_is_for_what_would_show_nothing() -> None:
    """A tool's plain summary is better than an empty message."""
    (shown,) = converted({"attachments": [{"fallback": "it broke", "color": "warning", "ts": "never"}]}).embeds
    assert embeds_of([shown]) == ({"type": "rich", "description": "it broke", "color": 0xDAA038},)


@given(st.dictionaries(st.sampled_from(["text", "username", "icon_url", "attachments"]), ANY, max_size=4))
def test_whatever_comes_is_converted_or_refused_by_name(given_message: dict[str, object]) -> None:
    """No shape breaks it; what comes out is judged as any embeds are."""
    try:
        message = converted(given_message)
    except InvalidForm:
        return
    assert isinstance(embeds_of(message.embeds), tuple | InvalidForm)


@given(st.lists(st.dictionaries(NAMES, ANY, max_size=6), max_size=3))
def test_whatever_attachments_come(attachments: list[dict[str, object]]) -> None:
    """The same of what is inside."""
    try:
        message = converted({"attachments": attachments})
    except InvalidForm:
        return
    assert isinstance(embeds_of(message.embeds), tuple | InvalidForm)
