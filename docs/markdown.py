"""Tables in Markdown. Read `docs.generate` next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; cells are Markdown, but for the bar, which is escaped."""
    lines = [_line(heads), _line(["---"] * len(heads))]
    lines += [_line([str(cell) for cell in row]) for row in rows]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def code(text: object) -> str:
    """Return text as code; nothing for nothing."""
    return f"`{text}`" if f"{text}" else ""


def first_line(doc: str | None) -> str:
    """Return the first line of a docstring."""
    return (doc or "").strip().partition("\n")[0]
