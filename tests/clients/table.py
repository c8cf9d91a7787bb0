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

    def libraries(self) -> list[str]:
        """Return the libraries in the order in which they were run."""
        return list(dict.fromkeys(library for library, _, _ in self._wrong))

    def steps(self) -> list[str]:
        """Return the steps that were taken, in the order of the first system that took them."""
        return list(dict.fromkeys(step for _, _, step in self._wrong))

    def cell(self, library: str, step: str) -> str:
        """Return yes, where it went wrong, or nothing where the step was not taken."""
        taken = {mode: wrong for (one, mode, other), wrong in self._wrong.items() if (one, other) == (library, step)}
        wrong = [mode for mode, text in taken.items() if text]
        return f"not in {', '.join(wrong)}" if wrong else "yes" if taken else ""

    def failures(self) -> list[str]:
        """Return a line for each step that went wrong."""
        return [f"{mode}: {library}: {step}: {text}" for (library, mode, step), text in self._wrong.items() if text]


def table_of(results: Results) -> str:
    """Return the table in Markdown: a step is a yes if it went well in each mode that has it."""
    libraries = results.libraries()
    lines = [
        ["", *libraries],
        ["---"] * (len(libraries) + 1),
        *([step, *(results.cell(library, step) for library in libraries)] for step in results.steps()),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_table(results: Results) -> None:
    """Write the table into the README, between its marks."""
    text = _README.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    _README.write_text(f"{before}{_BEGIN}\n\n{table_of(results)}\n\n{_END}{after}")
