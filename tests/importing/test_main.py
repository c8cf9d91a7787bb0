"""`make import`: from a file to pages, on a real database; killed on the way, and given again."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.importing.__main__ import main
from services.groups.mongo_store import MongoGroups
from services.history.pages import Pages
from shared.core.ids import MAX_ID, ms_of
from shared.core.model import Channel, ChannelType
from shared.core.stream import channel_stream
from shared.mongo import open_database
from shared.mongo_streams import MongoStreams
from shared.settings import MongoSettings

CHANNEL = Channel(1 << 50, ChannelType.TEXT, "general", 9)
FIRST_MS = 1_600_000_000_000
COUNT = 2_000
pytestmark = pytest.mark.servers


@pytest.fixture
def database(mongo_url: str, monkeypatch: pytest.MonkeyPatch) -> MongoSettings:
    """Return a database with one channel of a group, which the environment names."""
    settings = MongoSettings(url=mongo_url, database=f"import_{uuid4().hex}")

    async def prepare() -> None:
        async with open_database(settings) as mongo:
            await MongoGroups(mongo).put_channel(CHANNEL, 1)

    asyncio.run(prepare())
    monkeypatch.setenv("STARLING_MONGO__URL", mongo_url)
    monkeypatch.setenv("STARLING_MONGO__DATABASE", settings.database)
    return settings


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return a log."""
    path = tmp_path / "a.jsonl"
    with path.open("w") as lines:
        for number in range(COUNT):
            line = {"at": FIRST_MS + number * 1000, "author": f"user{number % 7}", "content": f"message {number}"}
            lines.write(json.dumps(line) + "\n")
    return path


def contents_of(database: MongoSettings) -> list[tuple[int, str]]:
    """Return time and text of all messages of the channel by its pages, oldest first."""

    async def read() -> list[tuple[int, str]]:
        async with open_database(database) as mongo:
            pages, found, cursor = Pages(MongoStreams(mongo)), [], MAX_ID
            while page := await pages.before(CHANNEL.id, cursor, 100):
                found += [(ms_of(record.id), record.body.content) for record in page]  # type: ignore[union-attr]
                cursor = page[-1].id
            assert (await MongoStreams(mongo).read_head(channel_stream(CHANNEL.id))).seq == len(found)
            return found[::-1]

    return asyncio.run(read())


def test_killed_and_given_again(database: MongoSettings, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed by -9 when some of it is there, it shows nothing; given again, all of it; once more, it says so."""
    command = [sys.executable, "-m", "deploy.importing", "--channel", str(CHANNEL.id), str(log)]
    with subprocess.Popen(command, env=os.environ.copy()) as process:
        asyncio.run(_wait_until_begun(database))
        process.kill()
    arguments = ["--channel", str(CHANNEL.id), str(log)]
    assert main(arguments) == 0
    assert contents_of(database) == [(FIRST_MS + number * 1000, f"message {number}") for number in range(COUNT)]
    assert main(arguments) == 0
    assert "were there already" in capsys.readouterr().err
    assert len(contents_of(database)) == COUNT


async def _wait_until_begun(database: MongoSettings) -> None:
    async with asyncio.timeout(30), open_database(database) as mongo:
        while await MongoStreams(mongo).read_bucket(channel_stream(CHANNEL.id), 1) is None:
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("channel", "line", "code", "why"),
    [
        (CHANNEL.id + 1, '{"at": 1600000000000, "author": "a", "content": "b"}', 1, "there is no channel"),
        (CHANNEL.id, '{"at": 1, "author": "a", "content": "b"}', 1, "message 1 was said before 2015"),
        (CHANNEL.id, "{", 1, "line 1"),
        (CHANNEL.id, "", 1, "no message"),
    ],
)
def test_what_can_not_be_imported(
    database: MongoSettings,
    tmp_path: Path,
    channel: int,
    line: str,
    code: int,
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It says why, and the channel stays empty and open."""
    path = tmp_path / "a.jsonl"
    path.write_text(line)
    assert main(["--channel", str(channel), str(path)]) == code
    assert why in capsys.readouterr().err
    assert contents_of(database) == []


def test_a_command_line_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many channels as logs; a folder on which something runs; else nothing is begun."""
    assert main(["--channel", "1", "a", "b"]) == 2
    assert "as many CHANNEL as LOG" in capsys.readouterr().err
    assert main(["--channel", "1", "--data", str(tmp_path), "a"]) == 2
    assert "nothing runs on" in capsys.readouterr().err
