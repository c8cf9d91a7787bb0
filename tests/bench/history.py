"""`make bench-history`: pages and writes of channels in buckets, beside one document per message.

`python -m tests.bench.history` starts a database for each of the two, one after the other, fills it
with a big channel, one of a thousand messages and ten thousand small ones, reads pages, and writes through the worker's
own sequencer with nothing but the database behind it. Pages are read by this process without HTTP; CPU is its own
and the database's. The two channels that are compared are read in turns. What came of it: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.load.usage import cpu_s
from deploy.local.mongo import start_mongo
from deploy.local.process import free_port
from services.history.core.importing import OldMessage, buckets_of, head_of, survey
from services.history.core.judging import CheckAccess
from services.history.core.sequencer import sequence
from services.history.core.shard import Shard
from services.history.importing import import_messages
from services.history.pages import Pages
from shared.clock import now_ms
from shared.core.commands import COMMAND_LIFETIME_MS, SendMessage
from shared.core.ids import MAX_ID, IdSource
from shared.core.model import Channel, ChannelType, User
from shared.core.stream import Record, channel_stream
from shared.logs import configure_logs
from shared.mongo import open_database
from shared.mongo_streams import MongoStreams
from shared.settings import MongoSettings
from shared.streams import StreamStore, drive
from tests.bench.process import wait_quiet
from tests.bench.results import Ran, keep
from tests.bench.single_documents import SingleDocuments

FIRST_MS: Final = 1_600_000_000_000
STEP_MS: Final = 60_000
GROUP: Final = 9
BIG, SMALL = (Channel(number, ChannelType.TEXT, "general", GROUP) for number in (1 << 50, (1 << 50) + 1))
CROWD: Final = (1 << 50) + 1_000
WRITTEN: Final = (1 << 50) + 100_000
AUTHORS: Final = tuple(User(number, f"author{number}") for number in range(1, 500))
DEPTHS: Final = {"latest": 0.0, "half way": 0.5, "first": 1.0}
WAYS: Final = ("before", "after", "around")
_WORDS: Final = tuple("so the page that you read is one of many and costs the same wherever it is".split())  # noqa: SIM905
_AT_ONCE: Final = 100

Row = dict[str, Any]
Block = tuple[list[float], float, int]
"""Latencies in ms of some pages, the CPU in seconds that they took together, and how many they are."""
Read = Callable[[int, int, str], Awaitable[Sequence[Record]]]
"""Reads the page of a channel by cursor and way."""


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    big: int = 1_000_000
    single: int = 100_000
    small: int = 1_000
    channels: int = 10_000
    each: int = 10
    pages: int = 200
    writes: int = 400
    seconds: float = 4.0


def messages_of(count: int, seed: int) -> Iterator[OldMessage]:
    """Yield messages of 20 to 140 characters, one a minute; always the same."""
    chance = random.Random(seed)  # noqa: S311 (not a secret)
    for number in range(count):
        text = " ".join(chance.choices(_WORDS, k=chance.randint(4, 28)))
        yield OldMessage(FIRST_MS + number * STEP_MS, chance.choice(AUTHORS), f"{number} {text}")


class Bench:
    """One database being measured. `pid` is its process."""

    def __init__(self, plan: Plan, streams: MongoStreams, pid: int, folder: Path) -> None:
        self.plan = plan
        self.streams = streams
        self.pid = pid
        self.folder = folder
        self.rows: list[Row] = []
        self.ids: dict[int, list[int]] = {}

    def note(self, what: str, **figures: float) -> None:
        """Keep a line of figures, and show it."""
        self.rows.append({"what": what, **figures})
        print(f"  {what:<44} " + "  ".join(f"{name} {value:,.2f}" for name, value in figures.items()), flush=True)

    def disk_mb(self) -> float:
        """Return how large the database's files are."""
        told = subprocess.run(["du", "-sk", str(self.folder)], capture_output=True, text=True, check=True)
        return int(told.stdout.split()[0]) / 1024

    async def fill(self) -> None:
        """Store all channels."""
        plan, big = self.plan, self.big
        cpu, mine, began = cpu_s(self.pid), time.process_time(), time.monotonic()
        await self._fill_one(BIG, big)
        took = time.monotonic() - began
        own, db = (time.process_time() - mine) / big * 1e6, (cpu_s(self.pid) - cpu) / big * 1e6
        wait_quiet(self.pid, 60)
        self.note("big channel stored", messages=big, per_s=big / took, own_cpu_us=own, db_cpu_us=db)
        self.note("big channel on disk", mb=self.disk_mb(), bytes_each=self.disk_mb() * 1048576 / big)
        await self._fill_one(SMALL, plan.small)
        for start in range(0, plan.channels, _AT_ONCE):
            some = [
                list(buckets_of(CROWD + number, GROUP, messages_of(plan.each, number)))
                for number in range(start, min(start + _AT_ONCE, plan.channels))
            ]
            buckets = [bucket for chain in some for bucket in chain]
            if isinstance(self.streams, SingleDocuments):
                await self.streams.insert_messages(buckets)
            else:
                await self.streams.insert_buckets(buckets)
            await self.streams.raise_heads([head_of(chain[-1]) for chain in some])
        for channel, count in ((BIG, big), (SMALL, plan.small)):
            buckets_again = buckets_of(channel.id, GROUP, messages_of(count, channel.id))
            self.ids[channel.id] = [one.id for bucket in buckets_again for one in bucket.messages]
        wait_quiet(self.pid, 60)

    @property
    def big(self) -> int:
        """How many messages the big channel has."""
        return min(self.plan.single, self.plan.big) if isinstance(self.streams, SingleDocuments) else self.plan.big

    async def _fill_one(self, channel: Channel, count: int) -> None:
        messages = _Again(count, channel.id)
        if isinstance(self.streams, SingleDocuments):
            await self.streams.load_all(buckets_of(channel.id, GROUP, messages))
            return
        manifest = survey(channel.id, messages, now=now_ms(), content_characters=2000)
        await import_messages(self.streams, channel, manifest, messages)

    def cursors(self, channel_id: int, depth: float, count: int, seed: int) -> list[int]:
        """Return ids near this depth (within a tenth of the channel), or above all for the latest page."""
        ids, chance = self.ids[channel_id], random.Random(seed)  # noqa: S311
        if depth == 0.0:
            return [ids[-60 - chance.randrange(max(len(ids) // 10, 1))] for _ in range(count)]
        middle = len(ids) * (1 - depth)
        spread = max(len(ids) // 20, 1)
        return [ids[min(max(int(middle) + chance.randrange(-spread, spread), 60), len(ids) - 60)] for _ in range(count)]

    async def measure_pages(self, read: Read, kind: str) -> None:
        """Read pages of both channels, in turns, at each depth and in each way."""
        for way in WAYS:
            for name, depth in DEPTHS.items():
                found: dict[int, list[Block]] = {BIG.id: [], SMALL.id: []}
                for turn in range(4):
                    for channel in (BIG, SMALL):
                        cursors = self.cursors(channel.id, depth, self.plan.pages // 4, turn)
                        found[channel.id].append(await self._block(read, channel.id, cursors, way))
                big, small = (_merged(found[one.id]) for one in (BIG, SMALL))
                self.note(
                    f"{kind}: {way} at {name}",
                    big_p50_ms=big["p50"],
                    big_p99_ms=big["p99"],
                    small_p50_ms=small["p50"],
                    small_p99_ms=small["p99"],
                    big_cpu_us=big["cpu"],
                    small_cpu_us=small["cpu"],
                    ratio_cpu=big["cpu"] / small["cpu"],
                    ratio_p50=big["p50"] / small["p50"],
                )

    async def _block(self, read: Read, channel_id: int, cursors: Sequence[int], way: str) -> Block:
        latencies = []
        mine, db = time.process_time(), cpu_s(self.pid)
        for cursor in cursors:
            began = time.perf_counter()
            page = await read(channel_id, cursor, way)
            latencies.append((time.perf_counter() - began) * 1000)
            if not 1 <= len(page) <= 50:
                raise RuntimeError(f"a page of {len(page)}")
        used = time.process_time() - mine + cpu_s(self.pid) - db
        return latencies, used, len(cursors)

    async def measure_crowd(self, read: Read, kind: str) -> None:
        """Read the latest page of channels chosen at random among the ten thousand."""
        chance = random.Random(1)  # noqa: S311
        latencies, mine, db = [], time.process_time(), cpu_s(self.pid)
        for _ in range(self.plan.pages * 2):
            began = time.perf_counter()
            await read(CROWD + chance.randrange(self.plan.channels), MAX_ID, "before")
            latencies.append((time.perf_counter() - began) * 1000)
        used = time.process_time() - mine + cpu_s(self.pid) - db
        figures = _merged([(latencies, used, len(latencies))])
        self.note(
            f"{kind}: latest of {self.plan.channels:,} channels",
            p50_ms=figures["p50"],
            p99_ms=figures["p99"],
            cpu_us=figures["cpu"],
        )

    async def measure_writes(self) -> None:
        """Write through the sequencer: one message at a time into one channel, then batches."""
        for what, channels, at_once in (
            ("one at a time, one channel", 1, 1),
            ("64 at once, one channel", 1, 64),
            ("64 at once, 64 channels", 64, 64),
            ("512 at once, 64 channels", 64, 512),
        ):
            await self._write(what, channels, at_once)

    async def _write(self, what: str, channels: int, at_once: int) -> None:
        shard, ids, number, latencies = Shard(), IdSource(1), 0, []
        first = WRITTEN + 1_000 * len(self.rows)
        rounds = self.plan.writes if at_once == 1 else max(self.plan.writes * 8 // at_once, 4)
        began, mine, db = time.monotonic(), time.process_time(), cpu_s(self.pid)
        texts = [message.content for message in messages_of(at_once, 1)]
        for _ in range(rounds):
            now = shard.heard_at = now_ms()
            commands = [
                SendMessage(
                    command_id=number + index + 1,
                    channel_id=first + index % channels,
                    reply_to="",
                    expires_at=now + COMMAND_LIFETIME_MS,
                    author=AUTHORS[index % len(AUTHORS)],
                    content=texts[index],
                    group_id=GROUP,
                    group_seq=1,
                )
                for index in range(at_once)
            ]
            number += at_once
            at = time.perf_counter()
            settled = await drive(sequence(shard, commands, now, ids), self.streams, _nothing)
            latencies.append((time.perf_counter() - at) * 1000)
            if any(reply.error for reply in settled.replies.values()) or settled.given_back:
                raise RuntimeError("a message was not stored")
        took = time.monotonic() - began
        used_mine, used_db = time.process_time() - mine, cpu_s(self.pid) - db
        quantiles = statistics.quantiles(latencies, n=100)
        self.note(
            f"write {what}",
            per_s=number / took,
            p50_ms=quantiles[49],
            p99_ms=quantiles[98],
            own_cpu_us=used_mine / number * 1e6,
            db_cpu_us=used_db / number * 1e6,
        )

    async def measure_joining(self) -> None:
        """Let a hundred readers ask for one page all the time, sharing queries or each for itself."""
        for what, shared in (("shared queries", True), ("a query each", False)):
            pages = Pages(self.streams, cache_bytes=0)
            own = [pages if shared else Pages(self.streams, cache_bytes=0) for _ in range(100)]
            count, ends = 0, time.monotonic() + self.plan.seconds
            mine, db = time.process_time(), cpu_s(self.pid)

            async def reader(one: Pages, ends: float = ends) -> None:
                nonlocal count
                while time.monotonic() < ends:
                    await one.before(BIG.id, MAX_ID, 50)
                    count += 1

            await asyncio.gather(*map(reader, own))
            queries = sum(one.statistics()["page_queries"] for one in set(own))
            used = time.process_time() - mine + cpu_s(self.pid) - db
            rate = count / self.plan.seconds
            self.note(f"100 readers, {what}", pages_per_s=rate, factor=count / queries, cpu_us=used / count * 1e6)


class _Again:
    """Messages that can be gone through again without being kept."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed

    def __iter__(self) -> Iterator[OldMessage]:
        return messages_of(self._count, self._seed)


async def _nothing(effect: Any) -> Any:
    return [""] * len(effect.pairs) if isinstance(effect, CheckAccess) else None


def _merged(blocks: Sequence[Block]) -> dict[str, float]:
    """Return p50 and p99 of all latencies, and the CPU in microseconds for each page."""
    quantiles = statistics.quantiles([one for latencies, _, _ in blocks for one in latencies], n=100)
    used, count = sum(used for _, used, _ in blocks), sum(count for *_, count in blocks)
    return {"p50": quantiles[49], "p99": quantiles[98], "cpu": used / count * 1e6}


def reader_of(streams: StreamStore, *, cache_bytes: int) -> Read:
    """Return how pages in buckets are read."""
    pages = Pages(streams, cache_bytes=cache_bytes)

    async def read(channel_id: int, cursor: int, way: str) -> Sequence[Record]:
        ask = {"before": pages.before, "after": pages.after, "around": pages.around}[way]
        return await ask(channel_id, cursor, 50)

    return read


def single_reader_of(streams: SingleDocuments) -> Read:
    """Return how pages of single documents are read."""

    async def read(channel_id: int, cursor: int, way: str) -> Sequence[Record]:
        older, newer = {"before": (50, 0), "after": (-1, 51), "around": (25, 25)}[way]
        return await streams.page(channel_stream(channel_id), cursor, older=older, newer=newer)

    return read


async def measure(kind: str, plan: Plan, url: str, pid: int, folder: Path) -> list[Row]:
    """Measure one of the two ways on an empty database."""
    async with open_database(MongoSettings(url=url)) as mongo:
        if kind == "single":
            single = SingleDocuments(mongo)
            await single.prepare()
            bench = Bench(plan, single, pid, folder)
            await bench.fill()
            await bench.measure_pages(single_reader_of(single), "page")
            await bench.measure_crowd(single_reader_of(single), "page")
        else:
            streams = MongoStreams(mongo)
            bench = Bench(plan, streams, pid, folder)
            await bench.fill()
            await bench.measure_pages(reader_of(streams, cache_bytes=0), "page, nothing kept")
            await bench.measure_crowd(reader_of(streams, cache_bytes=0), "page, nothing kept")
            warm = reader_of(streams, cache_bytes=256 << 20)
            for _ in range(2):
                bench.rows = [row for row in bench.rows if not row["what"].startswith("page, kept")]
                await bench.measure_pages(warm, "page, kept")
            await bench.measure_joining()
        await bench.measure_writes()
        return bench.rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, show it, and keep it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.history", description="Measure pages and writes.")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="for results (.bench)")
    parser.add_argument("--big", type=int, default=Plan.big, help=f"messages of the big channel ({Plan.big})")
    parser.add_argument("--single", type=int, default=Plan.single, help=f"of the other way's ({Plan.single})")
    parser.add_argument("--channels", type=int, default=Plan.channels, help=f"small channels ({Plan.channels})")
    parser.add_argument("--pages", type=int, default=Plan.pages, help=f"pages per figure ({Plan.pages})")
    parser.add_argument("--writes", type=int, default=Plan.writes, help=f"writes one at a time ({Plan.writes})")
    chosen = parser.parse_args(arguments)
    plan = Plan(chosen.big, chosen.single, channels=chosen.channels, pages=chosen.pages, writes=chosen.writes)
    configure_logs("console", "error")
    ran = Ran()
    found: dict[str, list[Row]] = {}
    for kind in ("buckets", "single"):
        print(f"{kind}:", flush=True)
        with tempfile.TemporaryDirectory(prefix="starling-bench-") as name:
            folder = Path(name)
            mongo = start_mongo(folder, free_port())
            try:
                found[kind] = asyncio.run(measure(kind, plan, mongo.url, mongo.child.process.pid, folder))
            finally:
                mongo.child.terminate()
    print(f"all in {keep(chosen.folder, 'history', ran, {'plan': plan, 'ways': found})}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
