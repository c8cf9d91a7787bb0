"""`make replay`: feed real chat logs to a running Starling, and prove what came out of it.

    make replay LOG="a.log b.log" [URL=http://127.0.0.1:8080] [SPEED=max] [IN_FLIGHT=1] [GATEWAYS=url,url]
    python -m deploy.replay [--url URL] [--speed LINES_PER_S] LOG...

Every nick of a log becomes a user with a WebSocket of its own, each log a public group; lines are said by op 100 in the
log's order, logs side by side; join and leave lines join and leave. Start the server with
`STARLING_LIMITS__ENABLED=false`: registration alone is limited to 30 per minute else (which is honoured, slowly).

- SPEED: lines per second and log, or max: as fast as acks come.
- IN_FLIGHT: lines of one log that may be unacknowledged at once. With 1 the pages of history must be the log line by
  line; with more, authors overtake each other, and only each author's own order must be the log's.
- GATEWAYS: users are spread over these instead of URL; `--groups` and `--history` do that for REST, where no front
  door stands before the services.
- POSITIONS=no: clients resume without telling how far they are in their channels, as Discord's do; what came in the
  last moments before a kill may then come again, and is counted apart as repeated.

Exit code 0: every member received exactly once, in the order of `seq`, every message that was acknowledged after its
join was answered and before its leave was sent, and the pages of history equal the log. 1: not so; the table on
standard output says what. 2: it could not begin.

A program of its own: it knows the public protocol and imports nothing of the services. Read `script` (what a log
says), `account` (what must come of it), `session`, `member`, `play`.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
from pathlib import Path
from typing import Final

import uvloop

from deploy.replay.play import Options, Replay, Report
from deploy.replay.report import show_progress, table_of
from deploy.replay.rest import Addresses
from deploy.replay.script import Script, script_of
from deploy.replay.session import Ways

_OTHER_FILES: Final = 128
"""Beside the users' sockets: connections of REST, logs, libraries."""


def main() -> int:
    """Replay the logs that the command line names."""
    chosen = _parser().parse_args()
    gateways = tuple(url.rstrip("/") for url in (chosen.gateways or chosen.url).split(",") if url)
    at = Addresses((chosen.groups or chosen.url).rstrip("/"), (chosen.history or chosen.url).rstrip("/"))
    ways = Ways(gateways, tells_positions=chosen.positions == "yes", anew_s=chosen.anew)
    options = Options(at, ways, chosen.speed, chosen.in_flight, chosen.line_deadline, chosen.run_deadline)
    try:
        scripts = [script_of(path.stem, path.read_bytes()) for path in chosen.log]
    except OSError as error:
        print(f"replay: {error}", file=sys.stderr)
        return 2
    if len({script.name for script in scripts}) < len(scripts):
        print("replay: two logs have the same name", file=sys.stderr)
        return 2
    if (refusal := _raise_file_limit(sum(len(script.nicks) for script in scripts) + _OTHER_FILES)) is not None:
        print(f"replay: {refusal}", file=sys.stderr)
        return 2
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            report = runner.run(_replay(scripts, options))
        except KeyboardInterrupt:
            return 130
    print(table_of(report))
    return 0 if report.is_good else 1


async def _replay(scripts: list[Script], options: Options) -> Report:
    replay = Replay(scripts, options)
    async with asyncio.TaskGroup() as tasks:
        progress = tasks.create_task(show_progress(replay, sys.stderr))
        try:
            return await replay.run()
        finally:
            progress.cancel()


def _raise_file_limit(wanted: int) -> str | None:
    """Allow this process so many open files, a socket being one; return what is in the way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return f"{wanted} open files are needed and {hard} allowed (ulimit -Hn); replay fewer logs at once"
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.replay", description="Feed chat logs to a Starling.")
    parser.add_argument("log", nargs="+", type=Path, help="a log as in IRC: [hh:mm] <nick> text")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the front door (http://127.0.0.1:8080)")
    parser.add_argument("--gateways", default="", help="instead of it, for WebSockets: URLs with commas between")
    parser.add_argument("--groups", default="", help="instead of it, for accounts and groups")
    parser.add_argument("--history", default="", help="instead of it, for messages and events")
    parser.add_argument("--speed", type=_speed, default=0.0, help="lines per second and log, or max (max)")
    parser.add_argument("--in-flight", type=_positive, default=1, help="lines of a log not acknowledged at once (1)")
    parser.add_argument("--positions", choices=("yes", "no"), default="yes", help="told in RESUME (yes)")
    parser.add_argument("--anew", type=_range, default=(1.0, 5.0), help="seconds to wait after INVALID_SESSION (1-5)")
    parser.add_argument("--line-deadline", type=float, default=120.0, help="seconds for one line or request (120)")
    parser.add_argument("--run-deadline", type=float, default=3600.0, help="seconds for all of it (3600)")
    return parser


def _speed(text: str) -> float:
    return 0.0 if text == "max" else max(float(text), 0.001)


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def _range(text: str) -> tuple[float, float]:
    least, most = map(float, text.split("-"))
    return least, most


if __name__ == "__main__":
    sys.exit(main())
