"""`python -m deploy.load`: thousands of real sessions on a running Starling, and what they felt.

    make load [URL=http://127.0.0.1:8080] [LOAD_ARGS="--users 1000 --group-size 50 --rate 100 --minutes 1"]

It registers users over REST and lets them meet, or takes those of `--people`, a file that an earlier run left
(`--keep`). Each opens a WebSocket; then the profile is played for its time. Every message tells when it was due, every
session counts what it hears by `seq`: nothing may be lost, twice or out of order. At the end there is a table, and in
`--out` result.json and, where matplotlib is installed, plots.

The server's limits must allow it: 30 registrations a minute, 100 connections of an address and 5 messages in 5 s of a
user are its defaults (`STARLING_LIMITS__ENABLED=false` has none).

Exit code 0: every session heard everything once, in order. 1: not so. 2: it could not begin.

A program of its own: it knows the public protocol and imports nothing of the services. Read `plan`, `session`,
`heard`, `company`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from deploy.load.company import LoadFailed, Setup, open_company
from deploy.load.console import Progress, keep_result, raise_file_limit, say
from deploy.load.pace import Pace, pace_of
from deploy.load.people import layout_of, make_people, read_people, real_layout, write_people
from deploy.load.plan import PROFILES, People, Stage, stage_of
from deploy.load.record import Part, Record
from deploy.load.report import is_good, table_of, verdict_of
from deploy.load.run import arrive, play
from deploy.local.folder import STATUS
from deploy.replay.rest import GaveUp

_COME_S: Final = 300.0
_OTHER_FILES: Final = 200
_REAL: Final = "real"
_SIZES: Final = {"hot": 0, "pairs": 2}
"""Profiles that say themselves who meets; 0: all."""


def main() -> int:
    """Do what the command line asks for."""
    chosen = _parser().parse_args()
    try:
        stage = _stage_of(chosen)
        layout = _layout_of(chosen)
        known = read_people(chosen.people) if chosen.people else None
    except (OSError, ValueError) as error:  # msgspec's are ValueErrors
        print(f"load: {error}", file=sys.stderr)
        return 2
    users = chosen.users if known is None else len(known.tokens)
    if (refusal := raise_file_limit(users // chosen.workers + _OTHER_FILES)) is not None:
        print(f"load: {refusal}", file=sys.stderr)
        return 2
    try:
        people = known or asyncio.run(_made(chosen, layout))
        if chosen.keep:
            write_people(chosen.keep, people)
        record, parts = asyncio.run(_run(chosen, people, stage))
    except (OSError, GaveUp, LoadFailed, msgspec.MsgspecError) as error:
        print(f"load: {error}", file=sys.stderr)
        return 2
    except ExceptionGroup as errors:
        print(f"load: {errors.exceptions[0]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    for part in parts:
        print(table_of(part))
    print(verdict_of(record, parts[-1].behind))
    if chosen.out:
        about = {key: value for key, value in vars(chosen).items() if isinstance(value, str | int | float)}
        keep_result(chosen.out, record, parts, parts[-1], about)
    return 0 if is_good(record, parts[-1].behind) else 1


async def _made(chosen: argparse.Namespace, layout: list[tuple[int, ...]]) -> People:
    def on_step(what: str, done: int, wanted: int) -> None:
        if done % 100 == 0 or done == wanted:
            say(f"{what}: {done:,} of {wanted:,}")

    are_pairs = chosen.profile == "pairs"
    return await make_people(chosen.url, layout, chosen.users, are_pairs=are_pairs, on_step=on_step)


async def _run(chosen: argparse.Namespace, people: People, stage: Stage) -> tuple[Record, list[Part]]:
    gateways = tuple(url.rstrip("/") for url in (chosen.gateways or chosen.url).split(",") if url)
    setup = Setup(people, gateways, chosen.url, chosen.workers, chosen.opening, chosen.positions == "yes", chosen.seed)
    async with open_company(setup, pids_of(chosen.data)) as company:
        company.on_second = Progress(sys.stderr.isatty()).take
        parts = [await arrive(company, _COME_S), await play(company, chosen.profile, stage)]
        await company.end()
    return company.record, parts


def pids_of(data: Path | None) -> Callable[[], Mapping[str, int]]:
    """Return what tells the processes of the `make cluster` on a folder; none without one."""

    def pids() -> Mapping[str, int]:
        try:
            listed = json.loads((data / STATUS).read_text())["processes"] if data else []
        except FileNotFoundError:
            return {}
        return {one["name"]: int(one["pid"]) for one in listed if one["pid"]}

    return pids


def _layout_of(chosen: argparse.Namespace) -> list[tuple[int, ...]]:
    """Return who meets. Raises `ValueError`."""
    if chosen.profile in _SIZES:
        return layout_of(chosen.users, _SIZES[chosen.profile] or chosen.users, 1)
    if chosen.group_size == _REAL:
        return real_layout(chosen.users, chosen.seed)
    return layout_of(chosen.users, int(chosen.group_size), chosen.groups_each)


def _stage_of(chosen: argparse.Namespace) -> Stage:
    messages = pace_of(chosen.rate, 60 * chosen.minutes)
    return stage_of(
        chosen.profile,
        messages,
        pages=Pace(chosen.pages, chosen.pages, messages.seconds),
        churn_per_s=chosen.churn,
        storm_s=chosen.storm_every,
    )


def _parser() -> argparse.ArgumentParser:
    names = "; ".join(f"{name}: {tells}" for name, tells in PROFILES.items())
    parser = argparse.ArgumentParser(prog="python -m deploy.load", description="Put load on a running Starling.")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the front door (http://127.0.0.1:8080)")
    parser.add_argument("--gateways", default="", help="instead of it, for WebSockets: URLs with commas between")
    parser.add_argument("--profile", choices=tuple(PROFILES), default="chat", help=f"what they do: {names} (chat)")
    parser.add_argument("--users", type=_positive, default=1000, help="sessions, one for each user (1000)")
    parser.add_argument("--group-size", default="50", help=f"members of a group, or {_REAL}: as real channels (50)")
    parser.add_argument("--groups-each", type=_positive, default=1, help="groups that a user is in (1)")
    parser.add_argument("--rate", default="100", help="messages per second in all, or FIRST-LAST for a ramp (100)")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (1)")
    parser.add_argument("--pages", type=float, default=50.0, help="pages per second, of readers and mixed (50)")
    parser.add_argument("--churn", type=float, default=10.0, help="sessions that go and come per second, of mixed (10)")
    parser.add_argument("--storm-every", type=float, default=20.0, help="seconds from storm to storm, of storm (20)")
    parser.add_argument("--people", type=Path, help="take these instead of registering anybody: a file of --keep")
    parser.add_argument("--keep", type=Path, help="write who takes part to this file; it holds their tokens")
    parser.add_argument("--data", type=Path, help="folder of a local cluster: its processes' use is told, too")
    parser.add_argument("--out", type=Path, help="folder for result.json and plots")
    parser.add_argument("--workers", type=_positive, default=2, help="processes of the load (2)")
    parser.add_argument("--opening", type=_positive, default=256, help="sessions on their way in at once (256)")
    parser.add_argument("--positions", choices=("yes", "no"), default="yes", help="told in RESUME (yes)")
    parser.add_argument("--seed", type=int, default=0, help="who speaks, where, what (0)")
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main())
