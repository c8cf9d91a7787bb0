"""What the server's answer to a bulk says about each write: only what is sure counts as stored."""

from __future__ import annotations

from typing import Any

import pytest

from shared.mongo_streams import outcomes_of

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
