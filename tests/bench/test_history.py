"""What the comparison of the two ways to keep messages stands on: both give the same pages."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import pytest

from services.history.core.importing import buckets_of
from shared.core.ids import MAX_ID
from shared.mongo import open_database
from shared.mongo_streams import MongoStreams
from shared.settings import MongoSettings
from tests.bench.history import BIG, GROUP, WAYS, Bench, Plan, messages_of, reader_of, single_reader_of
from tests.bench.single_documents import SingleDocuments


@pytest.mark.servers
async def test_both_ways_give_the_same_pages(mongo_url: str, tmp_path: Path) -> None:
    """At the begin, in the middle, at the end and above it, in each way."""
    plan = Plan(big=350, single=350, small=200, channels=2, each=3)
    found = []
    for kind in (MongoStreams, SingleDocuments):
        settings = MongoSettings(url=mongo_url, database=f"bench_{uuid4().hex}")
        async with open_database(settings) as mongo:
            streams = kind(mongo)
            if isinstance(streams, SingleDocuments):
                await streams.prepare()
                read = single_reader_of(streams)
            else:
                read = reader_of(streams, cache_bytes=0)
            await Bench(plan, streams, os.getpid(), tmp_path).fill()
            ids = [one.id for bucket in buckets_of(BIG.id, GROUP, messages_of(350, BIG.id)) for one in bucket.messages]
            cursors = {
                "before": (ids[60], ids[200], MAX_ID),
                "after": (ids[0], ids[200]),
                "around": (ids[60], ids[200]),
            }
            pages = {(way, cursor): await read(BIG.id, cursor, way) for way in WAYS for cursor in cursors[way]}
            found.append({key: [one.id for one in page] for key, page in pages.items()})
    assert {key: len(page) for key, page in found[0].items()} == dict.fromkeys(found[0], 50)
    assert found[0] == found[1]
