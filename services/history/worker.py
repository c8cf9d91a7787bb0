"""Shard workers: consume the log, run the sequencer, reply, ack.

Ring 4 (shell). One `ShardWorker` per shard. RabbitMQ gives each shard one active consumer; a worker that only
believes to be it can't write, since every commit is conditional. What to do is `core.sequencer`'s business.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import structlog

from services.history.core.sequencer import AnyCommand, CheckAccess, Settled, Shard, sequence
from services.history.core.spread import OWNER, STANDBY
from shared.bus import Batch, Bus, BusUnavailable, Subscription
from shared.core.calls import Access, ReadAccess
from shared.core.commands import (
    BadEnvelope,
    Replies,
    Reply,
    decode_for_shard,
    encode_envelope,
    refusal_of,
)
from shared.core.errors import InternalError, Unavailable
from shared.core.ids import IdSource
from shared.core.sending import place_of_access
from shared.core.stream import Event
from shared.core.writing import Publish
from shared.rpc import Rpc
from shared.streams import StoreUnavailable, StreamStore, drive
from shared.topology import Topology

PREFETCH: Final = 64
"""Envelopes in a worker's hands; a batch is what is there."""
_BACKOFF_S: Final = (0.05, 5.0)
_LOOK_S: Final = 1.0
"""How often a worker looks whether the shard is still its own."""
_STAY_S: Final = 10.0
"""How long a standby that stepped back does not do so again."""

log = structlog.stdlib.get_logger(__name__)


class IdLease(Protocol):
    """Where ids come from while the worker id is leased."""

    @property
    def source(self) -> IdSource:
        """Return the source. Raises `Unavailable` while there is no lease."""


class ShardWorker:
    """Sequences one shard for as long as `run` runs. `publish` is `shared.publishing.publish_events` or as good."""

    def __init__(
        self,
        number: int,
        *,
        bus: Bus,
        topology: Topology,
        streams: StreamStore,
        rpc: Rpc,
        lease: IdLease,
        now: Callable[[], int],
        publish: Callable[[Sequence[Event]], Awaitable[None]],
        observe: Callable[[Sequence[AnyCommand], Settled], None],
        rank: Callable[[int], int] = lambda number: OWNER,
    ) -> None:
        self.shard = Shard()
        self.is_active = False
        self._stepped_back_at = float("-inf")
        self._number = number
        self._bus = bus
        self._topology = topology
        self._streams = streams
        self._rpc = rpc
        self._lease = lease
        self._now = now
        self._publish = publish
        self._observe = observe
        self._rank = rank

    async def run(self) -> None:
        """Consume the shard for ever, while it is ours to own or to stand by. Run as a supervised task.

        A shard is given back by closing its subscription between two batches: then what is unacked is
        delivered again, in order, to the next in line.
        """
        queue = self._topology.log_queue(self._number)
        bindings = self._topology.log_bindings(self._number)
        while True:
            if self._rank(self._number) <= STANDBY:
                try:
                    async with self._bus.subscribe(queue, bindings, prefetch=PREFETCH) as subscription:
                        await self._consume(subscription)
                except BusUnavailable as error:
                    log.warning("shard_unavailable", shard=self._number, reason=str(error))
                self.is_active = False
                self.shard.forget()
                await asyncio.sleep(_BACKOFF_S[0])
            else:
                await asyncio.sleep(_LOOK_S)

    async def _consume(self, subscription: Subscription) -> None:
        """Work until the shard is to be given back.

        Who came to a queue first is its active consumer, so a standby that meets work while the owner lives
        steps behind it once; meeting work again soon, it stays: then the owner does not consume.
        """
        clock = asyncio.get_running_loop().time
        while (rank := self._rank(self._number)) <= STANDBY:
            try:
                async with asyncio.timeout(_LOOK_S):
                    batch = await subscription.take(PREFETCH)
            except TimeoutError:
                continue
            if batch.deliveries:
                self.is_active = True
            if not await self._work(subscription, batch):
                return
            if batch.deliveries and rank == STANDBY and clock() - self._stepped_back_at >= _STAY_S:
                self._stepped_back_at = clock()
                return

    async def _work(self, subscription: Subscription, batch: Batch) -> bool:
        """Settle one batch; False to give the shard back."""
        if batch.gap:
            self.shard.forget()  # somebody else may have had the shard meanwhile
        commands, ends = self._decode(batch)
        if not commands:
            await subscription.ack(batch.deliveries)
            return True
        settled = await self._settle(commands)
        self._observe(commands, settled)
        await self._reply(commands, settled.replies)
        if not settled.given_back:
            await subscription.ack(batch.deliveries)
            return True
        kept = set(settled.given_back)
        begin = 0
        done = []
        for delivery, end in zip(batch.deliveries, ends, strict=True):
            if kept.isdisjoint(range(begin, end)):
                done.append(delivery)
            begin = end
        await subscription.ack(done)
        log.warning("shard_given_back", shard=self._number, commands=len(kept))
        return False

    def _decode(self, batch: Batch) -> tuple[list[AnyCommand], list[int]]:
        """Return the commands of a batch, and after each delivery how many there are up to it."""
        commands: list[AnyCommand] = []
        ends: list[int] = []
        for delivery in batch.deliveries:
            try:
                commands += decode_for_shard(delivery.body).items
            except BadEnvelope:
                log.exception("commands_unreadable", shard=self._number, bytes=len(delivery.body))
            ends.append(len(commands))
        return commands, ends

    async def _settle(self, commands: Sequence[AnyCommand]) -> Settled:
        """Sequence a batch, waiting for store and bus to come back; a command that breaks us is refused."""
        try:
            return await self._sequence(commands)
        except Exception:
            log.exception("batch_failed", shard=self._number, commands=len(commands))
            self.shard.forget()
        replies: dict[int, Reply] = {}
        given_back: list[int] = []
        for index, command in enumerate(commands):
            try:
                settled = await self._sequence((command,))
            except Exception:
                log.exception("command_poisonous", shard=self._number, command_id=command.command_id)
                self.shard.forget()
                replies[index] = refusal_of(command.command_id, InternalError())
            else:
                if settled.given_back:
                    given_back += range(index, len(commands))
                    break
                replies[index] = settled.replies[0]
        return Settled(replies, tuple(given_back))

    async def _sequence(self, commands: Sequence[AnyCommand]) -> Settled:
        pause = _BACKOFF_S[0]
        while True:
            try:
                writer = sequence(self.shard, commands, self._now(), self._lease.source)
                return await drive(writer, self._streams, self._perform)
            except (StoreUnavailable, BusUnavailable, Unavailable) as error:
                self.shard.forget()
                log.warning("shard_waiting", shard=self._number, commands=len(commands), reason=repr(error))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (jitter)
            pause = min(pause * 2, _BACKOFF_S[1])

    async def _perform(self, effect: Any) -> Any:
        match effect:
            case Publish(events):
                return await self._publish(events)
            case CheckAccess(pairs):
                distinct = tuple(dict.fromkeys(pairs))
                verdicts = await asyncio.gather(*(self._verdict(*pair) for pair in distinct))
                by_pair = dict(zip(distinct, verdicts, strict=True))
                return [by_pair[pair] for pair in pairs]
        raise TypeError(f"nobody performs {effect!r}")

    async def _verdict(self, channel_id: int, user_id: int) -> str:
        access: Access = await self._rpc.call(ReadAccess(channel_id, user_id))
        place = place_of_access(access)
        return place.refusal if place is not None else "UnknownChannel"

    async def _reply(self, commands: Sequence[AnyCommand], replies: dict[int, Reply]) -> None:
        """Tell each waiting node; a node that is gone needs no reply."""
        by_node: dict[str, list[Reply]] = {}
        for index, reply in replies.items():
            by_node.setdefault(commands[index].reply_to, []).append(reply)
        for node, its_replies in by_node.items():
            body = encode_envelope(Replies(tuple(its_replies)))
            await self._bus.publish(self._topology.events, (self._topology.node_key(node),), body)
