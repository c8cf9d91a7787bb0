"""Comparing heads: every now and then, whether anything was missed that left no hole behind it.

Ring 4 (shell). The last event before a quiet time leaves no hole: nothing comes after it that would show it. So the
positions of all that is followed are compared with the heads in the store (rule 9 of docs/rules.md), a few each second,
as thousands of heads at once hold up whoever writes meanwhile. Those of what was bound a moment ago are compared once
more by themselves, where a binding may become visible after it was confirmed. What is behind twice, with time for what
is on its way between, is repaired by `following`.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

import structlog

from services.gateway.core.fresh import Fresh
from services.gateway.core.hub import Hub
from services.gateway.following import Following
from services.gateway.sessions import LiveSession
from shared.core.calls import ReadHeads
from shared.core.errors import StarlingError
from shared.core.stream import channel_stream, group_stream, owner_of, user_stream
from shared.metrics import Metrics
from shared.rpc import Rpc

STREAMS_PER_CALL: Final = 1_000
_PART_S: Final = 1.0
"""About how often a part of all is compared."""
_ON_ITS_WAY_S: Final = 2.0
"""How long an event may take from its head to us at least before it counts as missed."""
_SETTLING_S: Final = 1.0
"""How long a binding may take from its confirm until it counts as in force everywhere."""

log = structlog.get_logger(__name__)


class Comparing:
    """Finds followed streams that have fallen behind without a hole to tell of it."""

    def __init__(
        self,
        hub: Hub[LiveSession],
        following: Following,
        fresh: Fresh,
        rpc: Rpc,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._following = following
        self._fresh = fresh
        self._rpc = rpc
        self._clock = clock
        self._behind = metrics.counter("starling_gateway_streams_behind_total", "streams found behind their heads")

    async def run(self, every_s: float) -> None:
        """Compare all that is followed once in `every_s`, a part at a time, for ever. Run as a supervised task."""
        suspects: deque[tuple[float, dict[str, int]]] = deque()
        while True:
            streams = self._followed()
            parts = max(math.ceil(every_s / _PART_S), math.ceil(len(streams) / STREAMS_PER_CALL), 1)
            failed: StarlingError | None = None
            for part in range(parts):
                await asyncio.sleep(every_s / parts)
                while suspects and suspects[0][0] <= self._clock():
                    self._repair(suspects.popleft()[1])
                try:
                    if behind := await self._find_behind(streams[part::parts]):
                        suspects.append((self._clock() + _ON_ITS_WAY_S, behind))
                except StarlingError as error:
                    failed = error
            if failed is not None:
                log.info("heads_uncompared", reason=repr(failed))

    async def run_fresh(self) -> None:
        """Compare what was bound a moment ago, for ever. Run as a supervised task."""
        while True:
            await asyncio.sleep(_SETTLING_S)
            try:
                await self.compare_fresh(_SETTLING_S, _ON_ITS_WAY_S)
            except StarlingError as error:
                log.info("fresh_heads_uncompared", reason=repr(error))

    async def compare(self, wait_s: float) -> int:
        """Compare all at once; return how many streams were behind and are being repaired. Raises `Unavailable`."""
        return await self._compare(self._followed(), wait_s)

    async def compare_fresh(self, since_s: float, wait_s: float) -> int:
        """Compare what was bound `since_s` ago or earlier and not compared since; return and raise as `compare`.

        What could not be compared is tried again the next time.
        """
        units = self._fresh.take(self._clock() - since_s)
        try:
            if units is None:
                return await self.compare(wait_s)
            return await self._compare([stream for unit in units for stream in self._streams_of(unit)], wait_s)
        except StarlingError:
            if units is None:
                self._fresh.add_all(self._clock())
            else:
                for unit in units:
                    self._fresh.add(unit, self._clock())
            raise

    async def _compare(self, streams: Sequence[str], wait_s: float) -> int:
        behind: dict[str, int] = {}
        for start in range(0, len(streams), STREAMS_PER_CALL):
            behind |= await self._find_behind(streams[start : start + STREAMS_PER_CALL])
        if not behind:
            return 0
        await asyncio.sleep(wait_s)
        return self._repair(behind)

    def _followed(self) -> list[str]:
        """Return all streams that are followed."""
        roster = self._hub.roster
        return [
            *(group_stream(group_id) for group_id in roster.groups),
            *(user_stream(user_id) for user_id in roster.users),
            *(channel_stream(channel_id) for channel_id in roster.channels),
        ]

    async def _find_behind(self, streams: Sequence[str]) -> dict[str, int]:
        """Return the heads of those of these streams, at most `STREAMS_PER_CALL`, that are behind them."""
        if not streams:
            return {}
        heads: dict[str, int] = await self._rpc.call(ReadHeads(tuple(streams)))
        return {stream: head for stream, head in heads.items() if self._is_behind(stream, head)}

    def _repair(self, behind: Mapping[str, int]) -> int:
        """Have repaired what is behind still; return how many streams that are."""
        missed = [stream for stream, head in behind.items() if self._is_behind(stream, head)]
        for unit in {self._unit_of(stream) for stream in missed}:
            self._hub.hold(unit)
            self._following.repair(unit)
        if missed:
            self._behind.inc(len(missed))
            log.warning("streams_behind", streams=len(missed))
        return len(missed)

    def _streams_of(self, unit: str) -> Iterator[str]:
        """Return the streams whose events come with a unit's binding, as far as they are followed."""
        yield unit
        owner, roster = owner_of(unit), self._hub.roster
        if unit.startswith("g:"):
            group = roster.groups.get(owner)
            channels: Collection[int] = group.channels if group is not None else ()
        else:
            channels = roster.directs.of(owner)
        yield from map(channel_stream, channels)

    def _is_behind(self, stream: str, head: int) -> bool:
        position = self._hub.roster.position(stream)
        return position is not None and position < head

    def _unit_of(self, stream: str) -> str:
        """Return the unit that is held back as one: a group's channels go with the group."""
        if stream.startswith("c:") and (group_id := self._hub.roster.channels[owner_of(stream)].channel.group_id):
            return group_stream(group_id)
        return stream
