"""What came of each step, as a table: for the terminal and for the README."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_README: Final = Path(__file__).parent.parent.parent / "README.md"
_BEGIN: Final = "<!-- made by make clients -->"
_END: Final = "<!-- end -->"


class Results:
    """What went wrong, by library, mode and step; "" for nothing."""

    def __init__(self) -> None:
        self._wrong: dict[tuple[str, str, str], str] = {}

    def note(self, library: str, mode: str, step: str, wrong: str) -> None:
        """Take in what came of a step."""
        self._wrong[library, mode, step] = wrong

    def columns(self) -> list[tuple[str, str]]:
        """Return (library, mode) pairs in the order in which libraries were run."""
        pairs = list(dict.fromkeys((library, mode) for library, mode, _ in self._wrong))
        order = {library: place for place, library in enumerate(dict.fromkeys(library for library, _ in pairs))}
        return sorted(pairs, key=lambda pair: order[pair[0]])

    def steps(self) -> list[str]:
        """Return the steps that were taken, in the order of the first system that took them."""
        return list(dict.fromkeys(step for _, _, step in self._wrong))

    def cell(self, library: str, mode: str, step: str) -> str:
        """Return yes, no, or nothing where the step was not taken."""
        wrong = self._wrong.get((library, mode, step))
        return "" if wrong is None else "no" if wrong else "yes"

    def failures(self) -> list[str]:
        """Return a line for each step that went wrong."""
        return [f"{mode}: {library}: {step}: {text}" for (library, mode, step), text in self._wrong.items() if text]


def table_of(results: Results) -> str:
    """Return the table in Markdown."""
    columns = results.columns()
    lines = [
        ["", *(f"{library}, {mode}" for library, mode in columns)],
        ["---"] * (len(columns) + 1),
        *([step, *(results.cell(*column, step) for column in columns)] for step in results.steps()),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_table(results: Results) -> None:
    """Write the table into the README, between its marks."""
    text = _README.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    _README.write_text(f"{before}{_BEGIN}\n\n{table_of(results)}\n\n{_END}{after}")
