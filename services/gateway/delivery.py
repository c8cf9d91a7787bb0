"""Delivery: what comes out of the node's queue, in order, one after the other.

Ring 4 (shell). Replies go to who sent the command, requests of other nodes to `peers`, events to the hub.
After a gap (something of the queue was lost) every followed unit is compared before it goes on (rule 9 of
docs/rules.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from services.gateway.bindings import Bindings
from services.gateway.core.hub import Hub
from services.gateway.fanout import Fanout
from services.gateway.following import Following
from services.gateway.marking import Marking
from services.gateway.peers import Peers
from services.gateway.sessions import LiveSession
from services.gateway.showing import Showing
from shared.bus import Batch, Bus, BusUnavailable
from shared.command_log import CommandLog
from shared.core.commands import Acks, BadEnvelope, Presences, Replies, Signals, decode_for_node
from shared.core.wire.channels import ack_of, typing_of
from shared.lifecycle import Supervisor
from shared.metrics import Metrics
from shared.topology import Binding, Topology

TAKEN_AT_ONCE: Final = 256
_TURN_S: Final = 0.005
"""After so long the loop does something else, such as writing what was pushed."""
_UNWRITTEN_FRAMES: Final = 100_000
_UNWRITTEN_EVENTS: Final = 1_000
"""At so many frames, or events, that may wait to be written, delivery waits for the writes. Up to here what goes to one
connection is joined, which makes delivering to many cheap."""
_RETRY_S: Final = 1.0

log = structlog.get_logger(__name__)


class Delivery:
    """The consumer of one node's queue."""

    def __init__(
        self,
        bus: Bus,
        topology: Topology,
        node: str,
        hub: Hub[LiveSession],
        fanout: Fanout,
        following: Following,
        marking: Marking,
        bindings: Bindings,
        commands: CommandLog,
        peers: Peers,
        showing: Showing,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._bus = bus
        self._topology = topology
        self._node = node
        self._hub = hub
        self._fanout = fanout
        self._following = following
        self._marking = marking
        self._bindings = bindings
        self._commands = commands
        self._peers = peers
        self._showing = showing
        self._clock = clock
        self._gaps = metrics.counter("starling_gateway_gaps_total", "losses of the node's queue")
        self._unreadable = metrics.counter("starling_gateway_unreadable_total", "envelopes that could not be read")
        self.is_consuming = False
        self._turn_ends_at = 0.0
        self._written = 0, 0
        self.envelopes = 0
        self.events = 0

    async def run(self, supervisor: Supervisor) -> None:
        """Consume for ever, also when the broker comes later than we do."""
        queue = self._topology.node_queue(self._node)
        own = Binding(self._topology.events, self._topology.node_key(self._node))
        while True:
            try:
                async with self._bus.subscribe(queue, (own,), prefetch=2 * TAKEN_AT_ONCE) as subscription:
                    binder = supervisor.start("bindings", self._bindings.run(subscription))
                    self.is_consuming = True
                    try:
                        while True:
                            batch = await subscription.take(TAKEN_AT_ONCE)
                            await self._deliver(batch)
                            try:
                                await subscription.ack(batch.deliveries)
                            except BusUnavailable:
                                continue  # a gap follows
                    finally:
                        self.is_consuming = False
                        binder.cancel()
            except BusUnavailable as error:
                log.warning("node_queue_unavailable", reason=str(error))
                await asyncio.sleep(_RETRY_S)

    async def _deliver(self, batch: Batch) -> None:
        if batch.gap:
            self._gaps.inc()
            log.warning("node_queue_lost", units=len(self._hub.roster.units()))
            self._following.repair_all()
        for delivery in batch.deliveries:
            if delivery.reply_to:
                self._peers.answer(delivery)
                continue
            try:
                envelope = decode_for_node(delivery.body)
            except BadEnvelope as error:
                self._unreadable.inc()
                log.warning("envelope_unreadable", reason=str(error))
                continue
            if isinstance(envelope, Replies):
                self._commands.settle(envelope)
                await self._pace()
                continue
            if isinstance(envelope, Acks):
                self._tell_acks(envelope)
                await self._pace()
                continue
            if isinstance(envelope, Presences):
                self._showing.hear(envelope)
                await self._pace()
                continue
            if isinstance(envelope, Signals):
                if not batch.gap:
                    self._pass_on(envelope)
                await self._pace()
                continue
            self.envelopes += 1
            self.events += len(envelope.items)
            for event in envelope.items:
                self._following.perform(self._hub.apply(event, self._clock()))
                await self._pace()

    def _pass_on(self, signals: Signals) -> None:
        """Tell who types; nobody is told late: a node that is behind, or a channel that is read anew, drops it."""
        if self._fanout.deliveries - self._written[0] >= _UNWRITTEN_FRAMES // 2:
            return
        for typed in signals.items:
            if sessions := self._hub.audience_of(typed):
                self._fanout.pass_on("TYPING_START", typing_of(typed), sessions)

    def _tell_acks(self, acks: Acks) -> None:
        """Tell a user's sessions how far it has read."""
        for acked in acks.items:
            self._marking.forget(acked.user_id)
            user = self._hub.roster.users.get(acked.user_id)
            if user is not None and user.sessions:
                self._fanout.pass_on("MESSAGE_ACK", ack_of(acked), tuple(user.sessions))

    async def _pace(self) -> None:
        """Let the loop do something else every few milliseconds, and the writes catch up before too much waits."""
        deliveries, dispatches = self._written
        if (
            self._fanout.deliveries - deliveries >= _UNWRITTEN_FRAMES
            or self._fanout.dispatches - dispatches >= _UNWRITTEN_EVENTS
        ):
            self._written = self._fanout.deliveries, self._fanout.dispatches
            await self._fanout.flusher.flushed()
        elif self._clock() < self._turn_ends_at:
            return
        else:
            await asyncio.sleep(0)
        self._turn_ends_at = self._clock() + _TURN_S

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics: of envelopes with events, and of the events in them."""
        return {"envelopes": self.envelopes, "events": self.events}
