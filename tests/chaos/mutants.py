"""`make chaos-mutants`: builds of Starling that are broken on purpose, each of which the judge must catch.

    python -m tests.chaos.mutants [--only dedupe] [--minutes 1]

Each is a copy of the source tree in which one rule is not kept, run for a minute of chaos with the faults under which
that rule matters. Nothing in the product knows of it. Exit code 0: each was caught, as a promise that it breaks.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local.program import ROOT

_PARTS: Final = ("shared", "services", "deploy", "tests", "docs")
_DEADLINE_S: Final = 900.0


@dataclass(frozen=True)
class Mutant:
    """One rule that is not kept: what stands in a file, and what stands there instead.

    `faults`: patterns of those that it needs; `breaks`: the promises that may be seen broken.
    """

    tells: str
    file: str
    old: str
    new: str
    faults: str
    breaks: frozenset[int]


MUTANTS: Final[Mapping[str, Mutant]] = {
    "publish-first": Mutant(
        "events are published before they are stored",
        "services/history/core/sequencer.py",
        "            outcomes: list[bool] = yield Commit(tuple(writes))\n",
        "            from shared.core.stream import event_of\n"
        "            yield Publish(tuple(event_of(one.after, record) for one in writes for record in one.records))\n"
        "            outcomes: list[bool] = yield Commit(tuple(writes))\n",
        "kill:mongo stop:mongo restart:mongo cut:mongo delay:history.mongo",
        frozenset({4, 5}),
    ),
    "dedupe": Mutant(
        "a repeated nonce is not looked up",
        "services/history/core/judging.py",
        "        place = lane.known.find(its_keys, now)\n",
        "        place = None\n",
        "kill:history cut:history.rabbitmq",
        frozenset({3}),
    ),
    "fence": Mutant(
        "a commit does not ask whether the stream is where the worker believes it to be",
        "shared/mongo_streams.py",
        'query = {"_id": name, "next_seq": before.next_seq, "sealed": {"$ne": True}}',
        'query = {"_id": name}',
        "overtake:history",
        frozenset({1, 2, 3, 4, 5}),
    ),
    "revoke": Mutant(
        "sessions do not hear that their token was revoked",
        "services/gateway/core/roster.py",
        "        return [Expel(tuple(user.sessions), user.revocations)] if user.sessions else []\n",
        "        return []\n",
        "delay:history.mongo",
        frozenset({7}),
    ),
}


def copy_of(mutant: Mutant, folder: Path) -> Path:
    """Copy the source tree into a new folder, and break the copy; return where it is. Raises `ValueError`."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in _PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    file = folder / mutant.file
    text = file.read_text()
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.file} does not hold once: {mutant.old.strip()}")
    file.write_text(text.replace(mutant.old, mutant.new))
    return folder


def catch(name: str, folder: Path, minutes: float, seed: int) -> bool:
    """Run a mutant; return whether the judge found what it breaks."""
    mutant = MUTANTS[name]
    source = copy_of(mutant, folder / name)
    print(f"{name}: {mutant.tells}", flush=True)
    command = [sys.executable, "-m", "tests.chaos", "--minutes", str(minutes), "--every", "2.5", "--says", "30"]
    command += ["--seed", str(seed), "--faults", mutant.faults, "--folder", str(folder / "runs" / name)]
    with (folder / f"{name}.log").open("wb") as log:
        done = subprocess.run(command, cwd=source, stdout=log, stderr=log, timeout=_DEADLINE_S, check=False)
    result = folder / "runs" / name / str(seed) / "result.json"
    if done.returncode != 1 or not result.exists():
        print(f"  NOT CAUGHT: exit code {done.returncode}, see {folder / name}.log", flush=True)
        return False
    broken = json.loads(result.read_text())["broken"]
    told = [one for one in broken if one["promise"] in mutant.breaks]
    if not told:
        print(f"  NOT CAUGHT: {len(broken)} broken promises, none of them its own", flush=True)
        return False
    counts = {promise: sum(one["promise"] == promise for one in broken) for promise in sorted(mutant.breaks)}
    print(f"  caught, broken by promise: {', '.join(f'{p}: {n}' for p, n in counts.items() if n)}; the first:")
    print(f"  {told[0]['promise']} at {told[0]['at']:.1f} s: {told[0]['what']}")
    print(f"    during {told[0]['during']}", flush=True)
    shutil.rmtree(source)
    return True


def main() -> int:
    """Run all mutants, or some."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutants", description="See broken builds be caught.")
    parser.add_argument("--only", choices=MUTANTS, action="append", help="these only")
    parser.add_argument("--minutes", type=float, default=1.0, help="of chaos for each (1)")
    parser.add_argument("--seed", type=int, default=1, help="which faults (1)")
    parser.add_argument("--folder", type=Path, default=Path(".chaos/mutants"), help="for all of it (.chaos/mutants)")
    chosen = parser.parse_args()
    folder: Path = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    caught = [catch(name, folder, chosen.minutes, chosen.seed) for name in chosen.only or MUTANTS]
    print(f"{sum(caught)} of {len(caught)} caught")
    return 0 if all(caught) else 1


if __name__ == "__main__":
    sys.exit(main())
