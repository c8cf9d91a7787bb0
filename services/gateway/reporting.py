"""Reporting: how much of what this node decodes is not for it, said to those who publish.

Ring 4 (shell). History makes its envelopes narrower or wider by it (docs/adr/0008-one-publish-for-many-keys.md).
A report that is lost costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from shared.bus import Bus, BusUnavailable
from shared.core.signs import DECODED_S, Decoded, encode_sign
from shared.topology import Topology

log = structlog.get_logger(__name__)


class Reporting:
    """Says what `counts` (since the node began) grows by."""

    def __init__(self, bus: Bus, topology: Topology, counts: Callable[[], Decoded]) -> None:
        self._bus = bus
        self._key = (topology.replicas_key("history"),)
        self._exchange = topology.events
        self._counts = counts
        self._said = counts()

    async def run(self) -> None:
        """Report once a second, for ever. A supervised task."""
        while True:
            await asyncio.sleep(DECODED_S)
            try:
                await self.report()
            except BusUnavailable as error:
                log.info("report_lost", reason=str(error))

    async def report(self) -> None:
        """Report what came since the last time, if anything did. Raises `BusUnavailable`: then it is not said."""
        before, self._said = self._said, self._counts()
        if events := self._said.events - before.events:
            # What was held back may turn out to be foreign later than it was decoded.
            foreign = min(self._said.foreign - before.foreign, events)
            await self._bus.publish(self._exchange, self._key, encode_sign(Decoded(events, foreign)))
