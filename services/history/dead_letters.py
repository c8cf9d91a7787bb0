"""`make dead-letters`: list commands that broke their worker, put one back, or drop one. For operators.

Ring 5 (composition): `python -m services.history.dead_letters [--replay ID | --drop ID]`, with the settings of the
services in the environment. Tells where and why each died, never contents; the letters themselves have them.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from services.history.letters import Held, Letters, open_letters
from shared.bus import BusUnavailable, Unroutable
from shared.clock import now_ms
from shared.command_log import open_command_log
from shared.core.errors import InternalError, Unavailable
from shared.logs import configure_logs
from shared.parts import Parts, open_parts
from shared.settings import Settings

ANSWER_S: Final = 30.0
_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def main(arguments: Sequence[str] | None = None) -> int:
    """List, replay or drop; 0, or 1 with what was in the way."""
    parser = argparse.ArgumentParser(prog="python -m services.history.dead_letters", description="Dead letters.")
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--replay", metavar="ID", help="put this one back into the log, and tell what became of it")
    one.add_argument("--drop", metavar="ID", help="forget this one")
    chosen = parser.parse_args(arguments)
    settings = Settings()
    configure_logs("console", "error", node="dead-letters")
    try:
        print(asyncio.run(_run(settings, chosen.replay or "", chosen.drop or "")))
    except (Refused, BusUnavailable, Unroutable, Unavailable) as failure:
        print(f"dead letters: {failure}", file=sys.stderr)
        return 1
    return 0


class Refused(Exception):
    """It can't be done; the text says why."""


async def _run(settings: Settings, replay: str, drop: str) -> str:
    if settings.bus.url.startswith("memory:"):
        raise Refused("the bus of this Starling is its process's memory, and so are its dead letters")
    async with open_parts(settings, mongo=False) as parts, open_letters(parts.bus, parts.topology) as letters:
        if not (named := replay or drop):
            return table_of(letters.held.values(), parts.now())
        if named not in letters.held:
            raise Refused(f"there is no letter {named}, or somebody else has it in hand")
        if drop:
            await letters.drop(drop)
            return f"{drop} is dropped"
        return await _replay(parts, letters, replay)


async def _replay(parts: Parts, letters: Letters, letter_id: str) -> str:
    async with open_command_log(parts.bus, parts.topology, f"{parts.node}.letters") as commands:
        try:
            reply = await letters.replay(letter_id, commands, now=now_ms(), timeout_s=ANSWER_S)
        except Unavailable as error:
            raise Refused(f"no answer within {ANSWER_S:g} s: the letter stays, replaying it again is safe") from error
    if reply is None:
        return f"{letter_id} is back in the log as it was; what can't be read comes here again"
    if not reply.error:
        return f"{letter_id} is stored: seq {reply.seq}, id {reply.id}"
    if reply.is_retryable:
        raise Refused(f"it could not be done now ({reply.error}): the letter stays")
    again = ", it has a new letter under the same id" if reply.error == InternalError.__name__ else ""
    return f"{letter_id} is refused: {reply.error} {reply.message}{again}"


def table_of(held: Iterable[Held], now: int) -> str:
    """Return the list of letters, one a line, oldest first."""
    letters = sorted(held, key=lambda one: one.letter.at)
    if not letters:
        return "no dead letters"
    rows = [("id", "age", "times", "shard", "channel", "author", "what", "reason")]
    for one in letters:
        letter = one.letter
        what = letter.kind or f"{len(letter.body)} bytes"
        ids = (str(letter.channel_id or "-"), str(letter.author_id or "-"))
        times = str(len(one.deliveries))
        rows.append((letter.id, age_of(now - letter.at), times, str(letter.shard), *ids, what, letter.reason))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def age_of(ms: int) -> str:
    """Return a time in its largest unit."""
    seconds = max(ms, 0) // 1000
    unit, size = next((one for one in _UNITS if seconds >= one[1]), _UNITS[-1])
    return f"{seconds // size} {unit}"


if __name__ == "__main__":
    sys.exit(main())
