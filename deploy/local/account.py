"""`make account`: show, block, unblock or delete an account of the Starling on a folder, or that the environment names.

Deployment code: `python -m deploy.local.account --data .data [--show | --block | --unblock | --delete] NAME`. Finds the
database and leaves the rest to `services.groups.moderate`, which containers run themselves.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from deploy.local.folder import Refused, database_url_of
from services.groups import moderate

_URL: Final = "STARLING_MONGO__URL"


def main() -> int:
    """Show, block, unblock or delete; 0, or 1 with what was in the way."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.account", description="Accounts, for operators.")
    parser.add_argument("--data", type=Path, default=Path(".data"), help="the folder of what runs (.data)")
    for action in ("show", "block", "unblock", "delete"):
        parser.add_argument(f"--{action}", metavar="NAME_OR_ID", default="")
    chosen = parser.parse_args()
    asked = [(action, getattr(chosen, action)) for action in ("show", "block", "unblock", "delete")]
    asked = [pair for pair in asked if pair[1]]
    if len(asked) != 1:
        print("account: say one of SHOW, BLOCK, UNBLOCK and DELETE, each with a name or id", file=sys.stderr)
        return 1
    if _URL not in os.environ:
        try:
            os.environ[_URL] = database_url_of(chosen.data.resolve())
        except Refused as failure:
            print(f"account: {failure}", file=sys.stderr)
            return 1
    return moderate.main(asked[0])


if __name__ == "__main__":
    sys.exit(main())
