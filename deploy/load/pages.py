"""Readers: pages of channels over HTTP, on a few connections that stay open.

A client's shell. HTTP/1.1 as far as the front door speaks it: an answer has a length. Only its status is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from deploy.load.crowd import Crowd
from deploy.load.histogram import Histogram
from deploy.load.pace import Pace
from deploy.load.session import now_us

_LANES: Final = 16
_ANSWER_S: Final = 20.0
_AGAIN_S: Final = 0.5
_LENGTH: Final = b"content-length:"


class Readers:
    """Reads pages of 50 at a pace, each the latest of the next of `places`: (channel id, token)."""

    def __init__(self, url: str, places: Sequence[tuple[str, str]], crowd: Crowd) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._places = places
        self._crowd = crowd
        self._read = 0
        self._over = asyncio.Event()
        self.latencies = Histogram()

    async def run(self, pace: Pace, begin_us: int) -> None:
        """Read until cancelled, and then until what was asked for is answered: else who is slow would look well."""
        lanes = [asyncio.ensure_future(self._lane(pace, begin_us)) for _ in range(_LANES)]
        try:
            await asyncio.wait(lanes, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self._over.set()
            await asyncio.gather(*lanes)

    async def _lane(self, pace: Pace, begin_us: int) -> None:
        while not self._over.is_set():
            try:
                async with asyncio.timeout(_ANSWER_S):
                    reader, writer = await asyncio.open_connection(self._host, self._port)
                try:
                    while not self._over.is_set():
                        await self._page(reader, writer, pace, begin_us)
                finally:
                    writer.close()
            except (OSError, asyncio.IncompleteReadError, ValueError):
                self._crowd.counts.pages_failed += 1
                await asyncio.sleep(_AGAIN_S)

    async def _page(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pace: Pace, begin_us: int
    ) -> None:
        self._read += 1
        due_us = begin_us + int(pace.due_s(self._read) * 1e6)
        channel_id, token = self._places[self._read % len(self._places)]
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, (due_us - now_us()) / 1e6)):
                await self._over.wait()
        if self._over.is_set():
            return
        request = (
            f"GET /api/v10/channels/{channel_id}/messages?limit=50 HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Authorization: {token}\r\n\r\n"
        )
        async with asyncio.timeout(_ANSWER_S):
            writer.write(request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length_of(head))
        if head.startswith(b"HTTP/1.1 200"):
            self._crowd.counts.pages += 1
            self.latencies.record(now_us() - due_us)
        else:
            self._crowd.counts.pages_failed += 1


def _length_of(head: bytes) -> int:
    """Return the length of the body. Raises `ValueError` where the head has none."""
    lower = head.lower()
    at = lower.index(_LENGTH) + len(_LENGTH)
    return int(lower[at : lower.index(b"\r", at)])
