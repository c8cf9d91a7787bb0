"""The table of a comparison: figures side by side, ratios, and whether what was promised is met.

Pure. Where a figure is missing its ratio and its verdict are missing too; nothing is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Figures = Mapping[str, Mapping[str, float]]
"""By server, then by the row's name."""

OURS: Final = "starling"
LIMIT: Final = "limit"
PEER: Final = "socket.io"
_NOTHING: Final = 0.05
"""Below this a figure is shown as nothing, and a ratio to it says nothing."""


@dataclass(frozen=True)
class Promise:
    """A bound of our figure: times `of` (a server's figure in the same row), or as it is where `of` is empty."""

    bound: float
    of: str = ""
    at_least: bool = False

    def tells(self) -> str:
        """Return the promise as one reads it."""
        sign = ">=" if self.at_least else "<="
        return f"{sign} {self.bound:g}" + (f" x {self.of}" if self.of else "")

    def is_met(self, row: Mapping[str, float]) -> bool | None:
        """Return whether the row's figures keep it; None if one is missing."""
        ours, theirs = row.get(OURS), row.get(self.of) if self.of else 1.0
        if ours is None or theirs is None:
            return None
        return ours >= self.bound * theirs if self.at_least else ours <= self.bound * theirs


@dataclass(frozen=True)
class Row:
    """One figure of all servers. `tells` is what the table calls it, with `digits` behind the point."""

    name: str
    tells: str
    must: Promise | None = None
    aim: Promise | None = None
    digits: int = 1


def lines_of(rows: Sequence[Row], figures: Figures, headings: Mapping[str, str]) -> list[list[str]]:
    """Return the table's cells, its head first; `headings` names the servers, in their order."""
    ratios: tuple[tuple[str, str], ...] = ((LIMIT, "/ limit"), (PEER, "/ socket.io"))
    lines = [["", *headings.values(), *(f"ours {text}" for _, text in ratios), "must", "", "aim", ""]]
    for row in rows:
        found = {server: its[row.name] for server, its in figures.items() if row.name in its}
        lines.append(
            [
                row.tells,
                *(_number(found.get(server), row.digits) for server in headings),
                *(_ratio(found, server) for server, _ in ratios),
                *_promised(row.must, found),
                *_promised(row.aim, found),
            ]
        )
    return lines


def table_of(rows: Sequence[Row], figures: Figures, headings: Mapping[str, str]) -> str:
    """Return the table as plain text."""
    return _aligned(lines_of(rows, figures, headings))


def verdicts_of(rows: Sequence[Row], figures: Figures) -> dict[str, dict[str, bool | None]]:
    """Return for each row with a promise whether must and aim are met."""
    verdicts: dict[str, dict[str, bool | None]] = {}
    for row in rows:
        found = {server: its[row.name] for server, its in figures.items() if row.name in its}
        promises = {"must": row.must, "aim": row.aim}
        told = {name: promise.is_met(found) for name, promise in promises.items() if promise is not None}
        if told:
            verdicts[row.name] = told
    return verdicts


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _ratio(found: Mapping[str, float], server: str) -> str:
    ours, theirs = found.get(OURS), found.get(server)
    return f"{ours / theirs:.2f}" if ours is not None and theirs is not None and theirs >= _NOTHING else "-"


def _promised(promise: Promise | None, found: Mapping[str, float]) -> tuple[str, str]:
    if promise is None:
        return "", ""
    words = {True: "met", False: "NOT MET", None: "unknown"}
    return promise.tells(), words[promise.is_met(found)]


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    pads: list[Callable[[str, int], str]] = [str.ljust, *[str.rjust] * (len(widths) - 1)]
    return "\n".join(
        "  ".join(pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True)).rstrip()
        for line in lines
    )
