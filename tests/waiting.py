"""Waiting on conditions instead of sleeping for effect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def wait_until(condition: Callable[[], bool], deadline_s: float = 20.0) -> None:
    """Wait until `condition` holds. Raises `TimeoutError` after the deadline."""
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.01)
