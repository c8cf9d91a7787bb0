"""Generated tables in the documents: `python -m docs.generate` rewrites them, `--check` fails if one is stale.

A table stands between `<!-- generated: name -->` and `<!-- end -->`; the text around it is written by hand.
tests/test_docs.py runs the check.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docs import limit_tables, protocol_tables, system_tables
from shared.logs import configure_logs

DOCS: Final = Path(__file__).parent
_TABLES: Final[Mapping[str, Callable[[], str]]] = {
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
}
_PLACE: Final = re.compile(r"(<!-- generated: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def generated(text: str) -> str:
    """Return a document with its tables made anew. Raises `KeyError` for a table that nobody makes."""
    return _PLACE.sub(lambda place: f"{place[1]}\n{_TABLES[place[2]]()}\n\n{place[3]}", text)


def main() -> int:
    """Rewrite the documents, or with `--check` say which are stale and return 1."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description="Make the tables in the documents.")
    parser.add_argument("--check", action="store_true", help="change nothing, fail if a table is stale")
    is_check = parser.parse_args().check
    configure_logs(level="warning")  # the services are opened for their metrics
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
