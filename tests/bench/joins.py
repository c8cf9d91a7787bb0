"""Joins of a crowd that was there before: at once after it left, and when the server has let it go since.

In turns with a rival's, because what else happens on the machine makes all slower and dearer; medians of all turns.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from deploy.load.console import say
from tests.bench.crowd import Crowd
from tests.bench.process import counting, wait_quiet

JOIN_S: Final = 300.0
BOUND: Final = "bound"
LET_GO: Final = "let_go"
_TURNS: Final = {BOUND: 5, LET_GO: 3}

Figures = dict[str, float]


@dataclass(frozen=True)
class Comers:
    """Those of a crowd who leave and come again, at the server of this pid; `behind` is what else works for it."""

    crowd: Crowd
    pid: int
    tokens: Sequence[str]
    behind: Mapping[str, int] = field(default_factory=dict)

    def come(self) -> Figures:
        """Let them join, then leave: return joins per second, and us of processor time for each join by process."""
        with counting({"": self.pid, **{f"_{name}": pid for name, pid in self.behind.items()}}) as used:
            rate = len(self.tokens) / self.crowd.join(self.tokens, JOIN_S)
        self.leave()
        return {"joins": rate} | {f"cpu{name}": seconds / len(self.tokens) * 1e6 for name, seconds in used.items()}

    def leave(self) -> None:
        """Let them leave, and wait until the server has done what that brings."""
        self.crowd.leave(len(self.tokens), JOIN_S)
        wait_quiet(self.pid)


def measure_joins(ours: Comers, rival: Comers | None, let_go: Callable[[], None]) -> tuple[Figures, Figures]:
    """Return our figures and the rival's, `joins_bound` and so on. All have left; `let_go` waits until that is all."""
    figures: Figures = {}
    beside: Figures = {}
    for when, turns in _TURNS.items():
        taken: list[tuple[Figures, Figures]] = []
        for _ in range(turns):
            if when == LET_GO:
                let_go()
            taken.append((ours.come(), rival.come() if rival is not None else {}))
        for its, one in ((figures, 0), (beside, 1)):
            medians = {name: statistics.median(turn[one][name] for turn in taken) for name in taken[0][one]}
            its |= {_named(name, when): value for name, value in medians.items()}
        rates = " beside ".join(f"{its[f'joins_{when}']:.0f}" for its in (figures, beside) if its)
        say(f"  {when.replace('_', ' ')}: {rates} joins/s")
    return figures, beside


def _named(name: str, when: str) -> str:
    """Return `cpu_rabbitmq` as `cpu_bound_rabbitmq`."""
    what, _, process = name.partition("_")
    return f"{what}_{when}" + (f"_{process}" if process else "")
