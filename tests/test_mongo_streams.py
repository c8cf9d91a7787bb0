"""What the server's answer to a bulk says about each write: only what is sure counts as stored."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from shared.core.ids import IdSource
from shared.core.message_events import MessageCreated
from shared.core.model import User
from shared.core.stream import CHANNEL_LIMITS, Draft, Tail, plan
from shared.mongo import open_database
from shared.mongo_streams import MongoStreams, outcomes_of, require_possible
from shared.settings import MongoSettings
from shared.streams import StoreRefused

CONCERN_FAILED = {"code": 64, "errmsg": "waiting for replication timed out"}


def answer(matched: int, upserted: int, *failures: int, concern: bool = False, code: int = 11000) -> dict[str, Any]:
    """Return an answer in pymongo's shape; `failures` are the indexes of failed writes."""
    return {
        "writeErrors": [{"index": index, "code": code, "errmsg": "…"} for index in failures],
        "writeConcernErrors": [CONCERN_FAILED] if concern else [],
        "nMatched": matched,
        "nUpserted": upserted,
        "upserted": [],
    }


@pytest.mark.parametrize(
    ("told", "stored"),
    [
        pytest.param(answer(2, 1), [True, True, True], id="all stored"),
        pytest.param(answer(1, 1, 1), [True, False, True], id="a lost fence"),
        pytest.param(answer(0, 0, 0, 1, 2), [False, False, False], id="all lost"),
        pytest.param(answer(1, 1, 2, code=112), [True, True, False], id="any other failure of one write"),
        pytest.param(answer(2, 1, concern=True), [False, False, False], id="not by majority"),
        pytest.param(answer(1, 0, 0, concern=True), [False, False, False], id="lost one, the others not by majority"),
        pytest.param(answer(1, 0, 1, code=91), [False, False, False], id="stopped in the middle"),
        pytest.param(answer(0, 0), [False, False, False], id="nothing told"),
        pytest.param(answer(2, 0), [False, False, False], id="one unmatched without a word"),
    ],
)
def test_only_what_is_sure_is_stored(told: dict[str, Any], stored: list[bool]) -> None:
    """True needs an answer that accounts for every write of the bulk, by majority."""
    assert outcomes_of(told, 3) == stored


@pytest.mark.parametrize("code", [11000, 112, 91, 10107])
def test_a_race_or_an_outage_is_to_be_tried_again(code: int) -> None:
    """A duplicate key, a conflict, a server that stops or is no primary: nothing against the write itself."""
    require_possible(answer(1, 1, 2, code=code))


@pytest.mark.parametrize("code", [2, 121, 17419])
def test_what_can_never_be_stored_is_told_apart(code: int) -> None:
    """A bad value, a failed validation, too large a document: trying again would be for ever."""
    with pytest.raises(StoreRefused, match=str(code)):
        require_possible(answer(1, 1, 2, code=code))


@pytest.mark.servers
async def test_too_large_a_document_is_refused_and_not_unknown(mongo_url: str) -> None:
    """The driver itself does not send it: said as a refusal, or its worker would give its shard back for ever.

    Who commits at the same time is not refused.
    """
    sizes = (("c:1", 17 << 20), ("c:2", 1))
    drafts = {stream: Draft(MessageCreated(User(1, "ada"), "x" * size, 0, ""), 1) for stream, size in sizes}
    large, small = (
        plan(Tail(stream), [draft], 1_790_000_000_000, IdSource(1), CHANNEL_LIMITS)[0]
        for stream, draft in drafts.items()
    )
    async with open_database(MongoSettings(url=mongo_url, database=f"large-{uuid4().hex[:12]}")) as mongo:
        streams = MongoStreams(mongo)
        refused, _ = await asyncio.gather(streams.commit([large]), streams.commit([small]), return_exceptions=True)
        assert isinstance(refused, StoreRefused)
        assert await streams.read_bucket("c:1", 1) is None
        assert await streams.read_bucket("c:2", 1) is not None
