"""Titles: names that people give, as they are kept; shared by all services that take one.

Ring 1 (core). Names are kept as typed after NFKC; two names are the same if their keys are: NFKC, case-folded,
without what can't be seen. So nobody can be impersonated by a full-width letter or a zero-width joiner.
Refusals are Discord's "Invalid Form Body" with its codes.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from shared.core.errors import InvalidForm

INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0") | {
    chr(code) for code in range(0xFE00, 0xFE10)
}
"""Letters and marks that leave no trace on the screen, though Unicode does not call them format characters."""
_JOINER: Final = "\u200d"


def key_of_name(name: str) -> str:
    """Return the key of a name: equal for all names that must not stand beside each other. Idempotent."""
    key = name
    for _ in range(2):  # folding can open a letter that normalises anew
        key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", key).casefold())
    return "".join(letter for letter in key if letter not in INVISIBLE and unicodedata.category(letter) != "Cf")


def invalid(field: str, code: str, text: str) -> InvalidForm:
    """Return the refusal of one field."""
    return InvalidForm({field: [(code, text)]})


def require_length(field: str, text: str, bounds: tuple[int, int]) -> None:
    """Raise `InvalidForm` for a text that has fewer or more characters than the bounds."""
    low, high = bounds
    if not low <= len(text) <= high:
        raise InvalidForm({field: [("BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")]})


def normalized(field: str, name: str, bounds: tuple[int, int]) -> str:
    """Return a name after NFKC, without space around it. Raises `InvalidForm` for this field."""
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise invalid(field, "BASE_TYPE_INVALID", "Must be valid Unicode.")
    name = unicodedata.normalize("NFKC", name).strip()
    require_length(field, name, bounds)
    return name


def require_title(field: str, name: str, bounds: tuple[int, int]) -> str:
    """Return a name that may be anything that can be seen. Raises `InvalidForm` for this field."""
    title = normalized(field, name, bounds)
    if not title.replace(_JOINER, "").isprintable() or not key_of_name(title).strip():
        raise invalid(field, "BASE_TYPE_INVALID", "Must only hold characters that can be seen.")
    return title
