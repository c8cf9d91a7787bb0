"""Emoji: what is one, and that each has one spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.emoji import MAX_CHARACTERS, emoji_of

QUALIFIED = [
    "👍",
    "👍🏽",
    "❤️",
    "☺️",
    "✌🏽",
    "⛹🏽‍♂️",
    "🏳️‍🌈",
    "👁️‍🗨️",
    "👨‍👩‍👧‍👦",
    "🧑🏻‍❤️‍💋‍🧑🏿",
    "👩🏽‍💻",
    "🇩🇪",
    "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "1️⃣",
    "#️⃣",
    "🫩",
    "©️",
    "⌚",
]


@pytest.mark.parametrize("emoji", QUALIFIED)
def test_emoji_are_kept_in_one_spelling(emoji: str) -> None:
    """With selectors or without, it is the same reaction."""
    assert emoji_of(emoji) == emoji
    assert emoji_of(emoji.replace("\ufe0f", "")) == emoji


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "1",
        "👍👍",
        "👍 ",
        "👍\u200d",
        "\u200d👍",
        "\ufe0f",
        "🇩",
        "🇩🇪🇫",
        "party:41771983429993937",
        "🏴󠁧󠁢",
        "👍\0",
        "\ud83d",
        "👨" + "\u200d👨" * 10,
        "👍" * MAX_CHARACTERS,
    ],
)
def test_what_is_none(text: str) -> None:
    """Letters, several at once, halves of one, names of a group's own."""
    assert emoji_of(text) is None


@given(st.text(alphabet="👍❤☺1#\u20e3\ufe0f\u200d🏽🇩🇪🏴\U000e0067\U000e007fa", max_size=12))
def test_a_spelling_is_kept_for_good(text: str) -> None:
    """What is kept is kept as it is, and short."""
    emoji = emoji_of(text)
    if emoji is not None:
        assert emoji_of(emoji) == emoji
        assert emoji.replace("\ufe0f", "") == text.replace("\ufe0f", "")
