"""Generated tables in the documents: `python -m docs.generate` rewrites them, `--check` fails if one is stale.

A table stands between `<!-- generated: name -->` and `<!-- end -->`; the text around it is written by hand.
`--results .bench` first takes the results of the benchmarks that ran there into docs/results.
tests/test_docs.py runs the check.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from docs import benchmark_tables, limit_tables, protocol_tables, system_tables
from shared.logs import configure_logs

DOCS: Final = Path(__file__).parent
_TABLES: Final[Mapping[str, Callable[[], str | None]]] = {
    "opcodes": protocol_tables.opcodes,
    "close codes": protocol_tables.close_codes,
    "errors": protocol_tables.error_catalogue,
    "routes": protocol_tables.routes,
    "limits": limit_tables.limits,
    "exchanges": system_tables.exchanges,
    "queues": system_tables.queues,
    "collections": system_tables.collections,
    "settings": system_tables.settings,
    "metrics": system_tables.metrics,
    "capacity": benchmark_tables.capacity,
    **{f"bench {name}": partial(benchmark_tables.figures_of, name) for name in benchmark_tables.NAMES},
}
_PLACE: Final = re.compile(r"(<!-- generated: ([a-z0-9 ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def generated(text: str) -> str:
    """Return a document with its tables made anew. Raises `KeyError` for a table that nobody makes."""
    return _PLACE.sub(_made, text)


def _made(place: re.Match[str]) -> str:
    table = _TABLES[place[2]]()
    return place[0] if table is None else f"{place[1]}\n{table}\n\n{place[3]}"


def main() -> int:
    """Rewrite the documents, or with `--check` say which are stale and return 1."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description="Make the tables in the documents.")
    parser.add_argument("--check", action="store_true", help="change nothing, fail if a table is stale")
    parser.add_argument("--results", type=Path, help="a folder that benchmarks ran in: take their results first")
    chosen = parser.parse_args()
    is_check = chosen.check
    configure_logs(level="warning")  # the services are opened for their metrics
    if chosen.results:
        for path in benchmark_tables.take(chosen.results):
            print(f"taken: {path.relative_to(DOCS.parent)}")
    code = 0
    for path in sorted(DOCS.glob("*.md")):
        old = path.read_text()
        new = generated(old)
        if new == old:
            continue
        if is_check:
            print(f"{path.relative_to(DOCS.parent)} is stale: run python -m docs.generate", file=sys.stderr)
            code = 1
        else:
            path.write_text(new)
    return code


if __name__ == "__main__":
    sys.exit(main())
