"""`make import`: old messages into channels that have none.

    make import LOG="a.jsonl 2016-12-19_20.log" CHANNEL="1234 5678" [DATA=.data] [BEGIN=2016-01-01]
    python -m deploy.importing --channel ID [--channel ID...] [--begin DAY] LOG...

Each log goes into one channel of a group, in their order; the channel must be there and must be empty. Its messages get
ids of their own times; while they come in, sending there is refused, to be tried again. BEGIN moves a log in time, its
first message to that day: no id tells a time before 2015. Authors who have no account get ids by their names.

Ended or killed at any point: the same command goes on where it was. Given once more it says that all is there. The
database is that of `make run` or `make cluster` on DATA, or STARLING_MONGO__URL. Exit codes: 0 all is in, 1 something
is not, 2 nothing was begun. Formats: `deploy.importing.logs`. Why it is safe: `services.history.importing`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from deploy.importing.logs import Unreadable, messages_of
from deploy.local.folder import Refused, database_url_of
from services.groups.mongo_store import MongoGroups
from services.history.core.importing import OldMessage, Unfit, survey
from services.history.importing import NotEmpty, import_messages
from shared.clock import now_ms
from shared.core.ids import MAX_ID
from shared.core.model import Channel
from shared.mongo import SchemaTooNew, open_database
from shared.mongo_streams import MongoStreams
from shared.settings import Settings
from shared.streams import StoreUnavailable

_TELL_S = 1.0


class _Log:
    """A log that is read twice: to judge it, and to import it."""

    def __init__(self, path: Path, channel_id: int, begin_ms: int | None, content_characters: int) -> None:
        self.path = path
        self.channel_id = channel_id
        self._begin_ms = begin_ms
        self._content_characters = content_characters

    def __iter__(self) -> Iterator[OldMessage]:
        with self.path.open("rb") as lines:
            yield from messages_of(
                self.path.name,
                lines,
                self.channel_id,
                content_characters=self._content_characters,
                begin_ms=self._begin_ms,
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Import the logs that the command line names."""
    chosen = _parser().parse_args(arguments)
    if len(chosen.channel) != len(chosen.log):
        return _refuse("say for each log into which channel it goes: as many CHANNEL as LOG")
    try:
        settings = _settings(chosen.data.resolve())
    except (Refused, ValidationError) as error:
        return _refuse(str(error))
    characters = settings.limits.content_characters
    begin_ms = None if chosen.begin is None else int(chosen.begin.timestamp() * 1000)
    logs = [_Log(path, channel, begin_ms, characters) for path, channel in zip(chosen.log, chosen.channel, strict=True)]
    try:
        return asyncio.run(_import_all(logs, settings))
    except KeyboardInterrupt:
        return 130


async def _import_all(logs: Sequence[_Log], settings: Settings) -> int:
    try:
        async with open_database(settings.mongo) as mongo:
            streams, groups = MongoStreams(mongo), MongoGroups(mongo)
            failed = False
            for log in logs:
                channel = await groups.read_channel(log.channel_id)
                failed |= channel is None or not await _import_one(log, channel, streams, settings)
                if channel is None:
                    _say(f"{log.path}: there is no channel {log.channel_id}")
            return int(failed)
    except (StoreUnavailable, SchemaTooNew) as error:
        return _refuse(f"{error}; run it again to go on")


async def _import_one(log: _Log, channel: Channel, streams: MongoStreams, settings: Settings) -> bool:
    try:
        manifest = survey(channel.id, log, now=now_ms(), content_characters=settings.limits.content_characters)
        began = told = time.monotonic()

        def tell(stored: int) -> None:
            nonlocal told
            if time.monotonic() - told >= _TELL_S:
                told = time.monotonic()
                rate = stored / (told - began)
                _say(f"{log.path}: {stored:,} of {manifest.messages:,} messages, {rate:,.0f}/s")

        imported = await import_messages(streams, channel, manifest, log, tell)
    except OSError as error:
        _say(f"{log.path}: {error.strerror}")
    except (Unfit, Unreadable, NotEmpty) as error:
        _say(f"{log.path}: {error}")
    else:
        took_s = time.monotonic() - began
        how = "were there already" if imported.was_done else f"in {took_s:.1f} s, {imported.messages / took_s:,.0f}/s"
        _say(f"{log.path}: {imported.messages:,} messages into channel {channel.id} {how}")
        return True
    return False


def _settings(data: Path) -> Settings:
    settings = Settings()
    if "STARLING_MONGO__URL" in os.environ:
        return settings
    return settings.model_copy(
        update={"mongo": settings.mongo.model_copy(update={"url": database_url_of(data)})},
    )


def _say(text: str) -> None:
    print(f"import: {text}", file=sys.stderr, flush=True)


def _refuse(text: str) -> int:
    _say(text)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.importing", description="Import old messages.")
    parser.add_argument("log", nargs="+", type=Path, help="lines of JSON (.jsonl), or a log of IRC")
    parser.add_argument("--channel", action="append", type=_channel, required=True, help="the channel of each log")
    parser.add_argument("--begin", type=_day, help="the day (UTC) to which a log's first message is moved")
    parser.add_argument("--data", type=Path, default=Path(".data"), help="folder of a `make run` or `make cluster`")
    return parser


def _channel(text: str) -> int:
    if not 0 < (number := int(text)) <= MAX_ID:
        raise ValueError(text)
    return number


def _day(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)


if __name__ == "__main__":
    sys.exit(main())
