"""`make chaos`: a cluster under load while everything in it is killed, halted, restarted, drained and cut apart.

    make chaos [MINUTES=10] [SEED=1234] [LOG="a.log b.log"] [FAULTS="kill:* delay:history.mongo"] [EVERY=8] [SAYS=15]
    make chaos-smoke

The seed is told, and makes the schedule of faults: the same seed, the same schedule. Everything is written to
`FOLDER/SEED/`: the schedule, the whole history, the result, the logs of all processes. `python -m tests.chaos --judge
history.jsonl` judges a history again.

Exit code 0: every promise was kept. 1: not so, and the table says which, when, and by which fault. 2: it could not
begin.

Read `schedule` (what happens), `history` (what is written down), `judging` (what must be), `run`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from deploy.local.cluster import raise_file_limit
from deploy.local.folder import Refused
from deploy.local.process import NotInstalled, StartFailed
from deploy.replay.script import Script, script_of
from tests.chaos.history import read_history
from tests.chaos.judging import judge
from tests.chaos.load import ROOMS, invented
from tests.chaos.report import json_of, schedule_of, told_of
from tests.chaos.run import COUNTS, TELLS, Plan, run
from tests.chaos.schedule import plan_of
from tests.hosts import Hosts, NoHosts, isolation, open_hosts

_SEEDS: Final = 10**6


def main() -> int:
    """Run once, or judge a history."""
    chosen = _parser().parse_args()
    if chosen.judge is not None:
        return _judge(chosen.judge)
    seed = chosen.seed if chosen.seed is not None else random.randrange(_SEEDS)  # noqa: S311 (no secret)
    seconds = 60 * chosen.minutes
    if not chosen.isolated:
        try:
            again = [
                *isolation(),
                sys.executable,
                "-m",
                "tests.chaos",
                *sys.argv[1:],
                "--isolated",
                "--seed",
                str(seed),
            ]
        except NoHosts as missing:
            _tell(f"hosts can't be cut apart here: {missing}")
            _tell("partitions are made by proxies instead: what a process and its servers tell each other is held back")
        else:
            sys.stdout.flush()
            os.execvp(again[0], again)  # noqa: S606 (found by `isolation`)
    try:
        scripts = [script_of(path.stem, path.read_bytes()) for path in chosen.log] or _invented(seed)
        faults = plan_of(seed, seconds, chosen.every, COUNTS, chosen.faults.split())
        folder = chosen.folder.resolve() / str(seed)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        raise_file_limit()
    except (OSError, ValueError, Refused) as failure:
        print(f"chaos: {failure}", file=sys.stderr)
        return 2
    _tell(f"seed {seed}: {len(faults)} faults in {seconds:g} s; all is written to {folder}")
    (folder / "schedule.txt").write_text(schedule_of(faults) + "\n")
    print(schedule_of(faults), flush=True)
    plan = Plan(folder, seconds, scripts, chosen.says, faults, seed, chosen.positions)
    with ExitStack() as stack:
        try:
            hosts = _open_hosts(stack) if chosen.isolated else None
            outcome = asyncio.run(run(plan, hosts, _tell))
        except (NoHosts, NotInstalled, StartFailed, Refused) as failure:
            print(f"chaos: {failure}", file=sys.stderr)
            return 2
        except ExceptionGroup as failures:
            traceback.print_exception(failures)
            return 2
    (folder / "result.json").write_text(json.dumps({"seed": seed, **json_of(outcome)}, indent=2) + "\n")
    print(told_of(outcome), flush=True)
    _tell(f"seed {seed}; schedule, history, result and logs are in {folder}")
    shutil.move(folder / "data" / "logs", folder / "logs")
    if not chosen.keep:
        shutil.rmtree(folder / "data", ignore_errors=True)
    return 0 if outcome.is_good else 1


def _open_hosts(stack: ExitStack) -> Hosts:
    names = [f"{service}-{number}" for service, count in COUNTS.items() for number in range(1, count + 1)]
    return stack.enter_context(open_hosts(names))


def _invented(seed: int) -> list[Script]:
    return [invented(seed + number, people) for number, people in enumerate(ROOMS)]


def _judge(path: Path) -> int:
    verdict = judge(list(read_history(path)))
    for one in verdict.broken:
        print(f"BROKEN {one.promise} at {one.at:.2f} s: {one.what}\n       during {one.during}")
    for what, number in sorted(verdict.excepted.items()):
        print(f"excepted: {number} × {what}")
    if verdict.unchecked:
        print(f"not judged, since there were none: {', '.join(verdict.unchecked)}")
    print("every promise was kept" if verdict.is_good else "NOT proved")
    return 0 if verdict.is_good else 1


def _tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Break a cluster, and judge what it did."
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long faults happen (10)")
    parser.add_argument("--seed", type=int, default=None, help="which faults (by chance, and told)")
    parser.add_argument("--every", type=float, default=8.0, help="seconds from fault to fault, about (8)")
    parser.add_argument("--faults", default="", help="patterns of what may happen, with blanks between (all)")
    parser.add_argument("--says", type=float, default=15.0, help="messages per second (15)")
    parser.add_argument("--positions", choices=TELLS, default="half", help="who tells them in RESUME (half)")
    parser.add_argument("--folder", type=Path, default=Path(".chaos"), help="for all that is written (.chaos)")
    parser.add_argument("--keep", action="store_true", help="keep the cluster's data, its database among it")
    parser.add_argument("--judge", type=Path, default=None, help="judge this history instead")
    parser.add_argument("--isolated", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("log", nargs="*", type=Path, help="chat logs to be said instead of invented lines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
