"""Budgets as answers tell them: the headers `X-RateLimit-*`, on good answers, too.

Ring 4 (shell). Whoever spends notes what is left (`note`); the edge of HTTP tells it with the answer. A request may
spend of several budgets: the one with the least left is told, since it is the next to refuse. Client libraries pace
themselves by it: where nothing is left they wait until all of it is there again.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple

from shared.core.limits import Spent


class Noted(NamedTuple):
    """What is left of the budget `bucket`."""

    bucket: str
    spent: Spent


_noted: ContextVar[list[Noted] | None] = ContextVar("starling_noted", default=None)
"""Of the request that this task serves."""


def begin() -> list[Noted]:
    """Begin a request; return the list to which is added what it spends."""
    noted: list[Noted] = []
    _noted.set(noted)
    return noted


def note(bucket: str, spent: Spent) -> Spent:
    """Have the answer tell what is left of a budget of which the request has spent; return that again."""
    if (noted := _noted.get()) is not None:
        noted.append(Noted(bucket, spent))
    return spent


def headers_of(noted: list[Noted], now_s: float) -> list[tuple[bytes, bytes]]:
    """Return the headers for what was noted; `now_s` is Unix time."""
    if not noted:
        return []
    bucket, spent = min(noted, key=lambda one: (one.spent.remaining, -one.spent.reset_s))
    told = {
        "limit": str(spent.limit),
        "remaining": str(spent.remaining),
        "reset": f"{now_s + spent.reset_s:.3f}",
        "reset-after": f"{spent.reset_s:.3f}",
        "bucket": bucket,
    }
    return [(f"x-ratelimit-{name}".encode(), value.encode()) for name, value in told.items()]
