"""Checkpointing: what a node left is in the store, whatever the store did meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.checkpointing import Checkpointing, checkpoints_kept
from services.gateway.core.positions import Changes, Moves, Trail
from services.gateway.memory_trails import MemoryTrails
from services.gateway.trails import TrailsUnavailable
from shared.metrics import Metrics

_Answer = TypeVar("_Answer")
NODE = "node.1"
TTL_S = 60.0


class FaultyTrails(MemoryTrails):
    """Trails that are away, or that lose answers, or what they had."""

    fault = ""

    def __init__(self, node: NodeModel) -> None:
        super().__init__(clock=lambda: node.now)
        self.writes: list[str] = []

    async def append(self, node: str, changes: Changes, *, ttl_s: float) -> bool:
        """Append, or not."""
        return await self._through("append", super().append(node, changes, ttl_s=ttl_s))

    async def rewrite(self, trail: Trail, *, ttl_s: float) -> None:
        """Rewrite, or not."""
        await self._through("rewrite", super().rewrite(trail, ttl_s=ttl_s))

    async def _through(self, name: str, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        self.writes.append(name)
        if self.fault in ("away", name):
            work.close()
            raise TrailsUnavailable("away")
        done = await work
        if self.fault == "answers lost":
            raise TrailsUnavailable("the answer was lost")
        if self.fault == "hangs":
            await asyncio.Event().wait()
        return done


class NodeModel:
    """A node that follows one stream and writes its trail. `now` is its clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.s = 0
        self.seq = 0
        self.restored = 0
        self.metrics = Metrics()
        self.trails = FaultyTrails(self)
        self.moves = Moves(NODE, keep=10)
        self.moves.begin("c:1", 0, 0)
        self.checkpointing = Checkpointing(
            self.moves,
            self.trails,
            NODE,
            lambda: self.s,
            interval_s=0.001,
            ttl_s=TTL_S,
            metrics=self.metrics,
            restored=self.restore,
            clock=lambda: self.now,
        )

    def restore(self) -> None:
        """Take in that the store has the trail again."""
        self.restored += 1

    def send(self) -> None:
        """Apply and dispatch an event."""
        self.seq += 1
        self.moves.note("c:1", self.seq)
        self.s += 1

    async def require_stored(self) -> None:
        """Require that all that was sent is placed where it was."""
        trail = await self.trails.read(NODE)
        assert trail is not None
        placed = trail.place(self.s)
        assert placed is not None
        followed = placed.position_of("c:1")
        assert followed is not None
        assert (placed.s, followed.seq) == (self.s, self.seq)

    def count(self, outcome: str) -> int:
        """Return how many checkpoints came to this."""
        name = "starling_gateway_checkpoints_total"
        return int(self.metrics.registry.get_sample_value(name, {"outcome": outcome}) or 0)


async def test_checkpoints_follow_what_is_sent() -> None:
    """The first write is of the whole trail; from there on only what moved is written, and nothing if nothing did."""
    node = NodeModel()
    for _ in range(3):
        node.send()
        assert await node.checkpointing.write_now()
        assert await node.checkpointing.write_now()
        await node.require_stored()
    assert node.trails.writes == ["append", "rewrite", "append", "append"]
    assert (node.count("rewritten"), node.count("appended"), node.restored) == (1, 2, 1)


async def test_a_quiet_nodes_trail_stays() -> None:
    """With nothing to tell the time to live is begun anew at a third of it."""
    node = NodeModel()
    for _ in range(40):
        assert await node.checkpointing.write_now()
        node.now += TTL_S / 10
    await node.require_stored()
    assert len(node.trails.writes) < 16


@pytest.mark.parametrize("is_emptied", [False, True])
@pytest.mark.parametrize("fault", ["away", "answers lost"])
async def test_an_outage_is_made_up_for(fault: str, is_emptied: bool) -> None:
    """While the store is away nothing is lost; when it is back, with or without what it had, it is told all."""
    node = NodeModel()
    node.send()
    assert await node.checkpointing.write_now()
    if is_emptied:
        node.now += TTL_S
    away_at = node.now
    node.trails.fault = fault
    for _ in range(4):
        node.send()
        node.now += 5
        assert not await node.checkpointing.write_now()
    assert node.checkpointing.statistics()["lag_seconds"] >= node.now - away_at
    node.trails.fault = ""
    node.send()
    assert await node.checkpointing.write_now()
    await node.require_stored()
    assert node.checkpointing.statistics()["lag_seconds"] == 0
    assert (node.restored, node.count("failed")) == (2, 4)


async def test_a_store_that_fails_at_the_whole_trail_is_left_alone_for_a_while() -> None:
    """The whole trail is not put together at every checkpoint."""
    node = NodeModel()
    node.trails.fault = "rewrite"
    for _ in range(40):
        assert not await node.checkpointing.write_now()
        node.now += 0.25
    assert node.trails.writes.count("rewrite") == 5


async def test_a_write_that_was_cut_off_does_no_harm() -> None:
    """A node that goes down ends a write that hangs, and the last checkpoint is written all the same."""
    node = NodeModel()
    assert await node.checkpointing.write_now()
    node.trails.fault = "hangs"
    node.send()
    running = asyncio.ensure_future(node.checkpointing.run())
    while node.trails.writes[2:] != ["append"]:
        await asyncio.sleep(0)
    last = asyncio.ensure_future(node.checkpointing.write_now())
    node.send()
    running.cancel()
    node.trails.fault = ""
    assert await last
    await node.require_stored()
    with pytest.raises(asyncio.CancelledError):
        await running


@given(st.lists(st.sampled_from(["send", "write", "", "away", "answers lost", "rewrite", "wait", "long"]), max_size=40))
@settings(max_examples=300)
def test_what_was_written_is_stored(steps: list[str]) -> None:
    """Whenever a write is said to have succeeded, a node that dies now is placed exactly where it was."""

    async def live() -> None:
        node = NodeModel()
        for step in steps:
            match step:
                case "send":
                    node.send()
                case "write":
                    if await node.checkpointing.write_now():
                        await node.require_stored()
                case "wait" | "long":
                    node.now += 1 if step == "wait" else TTL_S
                case fault:
                    node.trails.fault = fault
        node.now += 5
        node.trails.fault = ""
        assert await node.checkpointing.write_now()
        await node.require_stored()

    asyncio.run(live())


def test_enough_is_kept_for_who_may_resume() -> None:
    """The window, the silence until a connection is given up, the heartbeat before; never too few to place at."""
    assert checkpoints_kept(window_s=120, heartbeat_s=41.25, interval_s=0.25) == 975
    assert checkpoints_kept(window_s=0.1, heartbeat_s=0.1, interval_s=10) == 2
