"""The stream holds its promises under rivals, crashes, lost answers and late writes (docs/rules.md)."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from services.history.marks import MarkStore
from services.history.mongo_marks import MongoMarks
from shared.mongo import Mongo, open_database
from shared.mongo_audit import MongoAudit
from shared.mongo_streams import MongoStreams
from shared.settings import MongoSettings
from shared.streams import StreamStore
from tests.history.stream_model import Rivals

TestRivalsInMemory = Rivals.TestCase
TestRivalsInMemory.settings = settings(
    max_examples=250, stateful_step_count=60, suppress_health_check=list(HealthCheck)
)


async def _forget_marks(mongo: Mongo) -> None:
    for collection in ("reactions", "pins"):
        await mongo[collection].delete_many({})


@pytest.mark.servers
def test_rivals_on_mongodb(mongo_url: str) -> None:
    """The same laws on MongoDB's wire, for a bounded number of programs."""
    with asyncio.Runner() as runner:
        database = open_database(MongoSettings(url=mongo_url, database=f"rivals_{uuid4().hex}"))
        mongo = runner.run(database.__aenter__())

        class RivalsOnMongo(Rivals):
            def open_store(self) -> tuple[asyncio.Runner, StreamStore]:
                return runner, MongoStreams(mongo)

            def open_marks(self) -> MarkStore:
                """Return the store without what the last program left: ids of messages are alike in all of them."""
                runner.run(_forget_marks(mongo))
                return MongoMarks(mongo, MongoAudit(mongo))

            def close_store(self) -> None:
                """Leave the database open for the next program."""

        bounded = settings(max_examples=20, stateful_step_count=40, suppress_health_check=list(HealthCheck))
        try:
            run_state_machine_as_test(RivalsOnMongo, settings=bounded)
        finally:
            runner.run(database.__aexit__(None, None, None))
