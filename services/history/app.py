"""The history service, put together: shard workers, pages, calls, routes.

Ring 5 (composition). `open_history` starts everything in the process's supervisor; `router` reaches the service
as `app.state.history`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from fastapi import APIRouter

from services.history.access import AccessReader
from services.history.core.pulse import Pulse
from services.history.core.sequencer import Settled
from services.history.core.spread import Spread
from services.history.core.union import UnionWidth
from services.history.handlers import handlers_of
from services.history.invalidations import keep_pulse, tell_shards
from services.history.letters import bury_letters
from services.history.mongo_markers import MongoMarkers
from services.history.mongo_marks import MongoMarks
from services.history.pages import Pages
from services.history.replying import Addressed, send_replies
from services.history.rest import router as messages_router
from services.history.rest_changes import router as changes_router
from services.history.rest_markers import router as markers_router
from services.history.rest_pins import router as pins_router
from services.history.rest_reactions import router as reactions_router
from services.history.rest_webhooks import router as webhooks_router
from services.history.rest_webhooks import slack_router
from services.history.service import History
from services.history.signalling import tell_ack
from services.history.spreading import give_signs, hear_signs
from services.history.telling import Telling
from services.history.worker import ShardWorker
from shared.bus import BusUnavailable
from shared.combining import Combining
from shared.command_log import open_command_log
from shared.core.commands import AnyCommand
from shared.core.letters import DeadLetter
from shared.core.limits import Budgets
from shared.core.stream import Event
from shared.mongo_audit import MongoAudit
from shared.parts import Parts
from shared.publishing import publish_events
from shared.rpc import Rpc, serve_calls
from shared.settings import LimitSettings, Settings

__all__ = ["open_history", "router"]

router = APIRouter(
    routes=[
        *markers_router.routes,
        *pins_router.routes,
        *messages_router.routes,
        *changes_router.routes,
        *reactions_router.routes,
        *webhooks_router.routes,
        *slack_router.routes,
    ]
)

_BURST_S = 2.0
_TOGETHER = 512
"""Events, or replies, that are published at once, of all shards of this replica."""


def _budgets_of(limits: LimitSettings, per_second: float) -> Budgets | None:
    return Budgets(per_second, per_second * _BURST_S) if limits.enabled else None


@asynccontextmanager
async def open_history(settings: Settings, parts: Parts) -> AsyncIterator[History]:
    """Open the service on a process's parts: it sequences its share of the log until the supervisor stops."""
    bus, topology, storage = parts.bus, parts.topology, parts.storage
    name = f"{parts.node}.history"
    rpc = Rpc(bus, topology)
    kept = parts.kept_access("history")
    access = AccessReader(rpc, kept)
    marks = MongoMarks(storage.mongo, MongoAudit(storage.mongo))
    pages = Pages(storage.streams, cache_bytes=settings.history.cache_bytes)
    markers = MongoMarkers(storage.mongo)
    telling = Telling(storage.streams, marks)
    stored = parts.metrics.counter("starling_history_commands", "commands settled by outcome", ("outcome",))
    batches = parts.metrics.histogram(
        "starling_history_batch_commands", "commands per batch of a shard", buckets=(1, 2, 5, 10, 20, 50, 100, 500)
    )

    keys = parts.metrics.histogram(
        "starling_history_envelope_keys", "routing keys per envelope of events", buckets=(1, 2, 4, 8, 16, 32, 64)
    )
    width = UnionWidth()

    async def publish(events: Sequence[Event]) -> Sequence[None]:
        await publish_events(
            bus, topology, events, most_keys=width.keys, observe=lambda packed: keys.observe(len(packed.keys))
        )
        return [None] * len(events)

    async def reply(replies: Sequence[Addressed]) -> Sequence[None]:
        await send_replies(bus, topology, replies)
        return [None] * len(replies)

    # Shards that commit together publish and reply together: an envelope costs more than what is in it.
    publishing = Combining(publish, most=_TOGETHER, outage=BusUnavailable)
    replying = Combining(reply, most=_TOGETHER, outage=BusUnavailable)

    died = parts.metrics.counter(
        "starling_history_dead_letters", "commands that broke the worker, and unreadable envelopes", ("kind",)
    )
    for kind in ("command", "envelope"):
        died.labels(kind)  # shown from the start: a counter that appears with its first increase has none

    async def bury(letters: Sequence[DeadLetter]) -> None:
        await bury_letters(bus, topology, letters, count=lambda kind: died.labels(kind).inc())

    def observe(commands: Sequence[AnyCommand], settled: Settled) -> None:
        batches.observe(len(commands))
        for reply in settled.replies.values():
            stored.labels(reply.error or "stored").inc()
        if settled.given_back:
            stored.labels("given_back").inc(len(settled.given_back))

    spread = Spread(name)

    def clock_ms() -> int:
        return int(time.monotonic() * 1000)

    workers = [
        ShardWorker(
            number,
            bus=bus,
            topology=topology,
            streams=storage.streams,
            marks=marks,
            access=access,
            lease=storage.lease,
            now=parts.now,
            publish=publishing.ask,
            reply=replying.ask,
            observe=observe,
            bury=bury,
            rank=lambda shard: spread.rank(shard, clock_ms()),
            reach=storage.reach,
        )
        for number in range(topology.shards)
    ]
    parts.metrics.watch(
        "starling_history",
        "shards, replicas, unions and pages as this replica sees them",
        lambda: {
            "shards_active": sum(worker.is_active for worker in workers),
            "shards_in_doubt": sum(worker.shard.is_in_doubt(parts.now()) for worker in workers),
            "replicas_alive": len(spread.alive(clock_ms())),
            "union_keys": width.keys,
            **pages.statistics(),
            **kept.statistics(),
        },
    )
    limits = settings.limits
    async with open_command_log(bus, topology, name) as commands:
        supervisor = parts.supervisor
        shards = [worker.shard for worker in workers]
        pulse = Pulse()
        supervisor.start(
            "history.invalidations",
            tell_shards(bus, topology, name, shards, pulse, now=parts.now, clock_ms=clock_ms, moved=kept.drop_told),
        )
        supervisor.start("history.pulse", keep_pulse(bus, topology, pulse, clock_ms))
        supervisor.start("history.signs_heard", hear_signs(bus, topology, name, spread, width, clock_ms))
        supervisor.start("history.signs_given", give_signs(bus, topology, name, storage.reach))
        supervisor.start(
            "history.calls",
            serve_calls(bus, topology, "history", handlers_of(pages, telling, markers), reach=storage.reach),
        )
        for number, worker in enumerate(workers):
            supervisor.start(f"history.shard.{number}", worker.run())
        yield History(
            pages=pages,
            telling=telling,
            marks=marks,
            markers=markers,
            tell_ack=partial(tell_ack, bus, topology),
            commands=commands,
            rpc=rpc,
            access=access,
            now=parts.now,
            budgets=_budgets_of(limits, limits.sends_per_second),
            content_characters=limits.content_characters,
            send_timeout_s=settings.gateway.send_timeout.total_seconds(),
            tokens=parts.tokens,
            webhook_budgets=_budgets_of(limits, limits.webhook_sends_per_second),
        )
