"""What chaos looks at is what processes tell."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.watching import BOUNDS

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def test_what_has_a_bound_is_told() -> None:
    """A metric that was renamed would never be over its bound."""
    told = OPERATIONS.read_text()
    assert [name for name in BOUNDS if f"| `{name}` |" not in told] == []
