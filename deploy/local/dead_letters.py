"""`make dead-letters`: those of the cluster on a data folder, or of the Starling that the environment names.

Deployment code: `python -m deploy.local.dead_letters --data .data [--replay ID | --drop ID]`. Finds the broker and
leaves the rest to `services.history.dead_letters`, which containers run themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Final

from deploy.local.folder import STATUS
from services.history import dead_letters

_URL: Final = "STARLING_BUS__URL"


def main() -> int:
    """List, replay or drop; 0, or 1 with what was in the way."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.dead_letters", description="Dead letters.")
    parser.add_argument("--data", type=Path, default=Path(".data"), help="the cluster's folder (.data)")
    parser.add_argument("--replay", metavar="ID", default="", help="put this one back into the log")
    parser.add_argument("--drop", metavar="ID", default="", help="forget this one")
    chosen = parser.parse_args()
    data = chosen.data.resolve()
    if _URL not in os.environ:
        try:
            processes = json.loads((data / STATUS).read_text())["processes"]
            os.environ[_URL] = next(one["address"] for one in processes if one["kind"] == "rabbitmq")
        except (OSError, ValueError, KeyError, StopIteration):
            print(
                f"dead letters: no cluster runs on {data}. `make run` has its bus in memory: its dead letters end with "
                f"it, and only its log tells of them. For another Starling set {_URL}.",
                file=sys.stderr,
            )
            return 1
    words = [("--replay", chosen.replay), ("--drop", chosen.drop)]
    return dead_letters.main([part for word in words if word[1] for part in word])


if __name__ == "__main__":
    sys.exit(main())
