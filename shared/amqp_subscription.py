"""A consumer on a RabbitMQ queue that outlives its AMQP channel: declares, binds, consumes, and again after a loss.

Ring 3 (adapter). `shared.amqp_link` keeps the channel and calls `serve` for each new one. One channel
carries one consumer, so closing the channel hands the queue on with unacked deliveries first and in order
(a `basic.cancel` with unacked deliveries would let the next consumer overtake them).
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Sequence
from typing import Any, NoReturn

import structlog
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from pamqp import commands

from shared.amqp_bindings import QueueBindings, bind_seconds
from shared.amqp_link import serve_until, translated
from shared.bus import Batch, BusUnavailable, Delivery, SubscriptionClosed
from shared.topology import Binding, Queue

_STEP_DEADLINE_S = 10.0
_DELIVERY_LIMIT = 1_000_000  # a low one dead-letters innocent prefetched commands when workers die

log = structlog.get_logger(__name__)


class AmqpSubscription:
    """See `shared.bus.Subscription`."""

    def __init__(self, queue: Queue, bindings: Sequence[Binding], *, prefetch: int, timeout_s: float) -> None:
        self._queue = queue
        self._prefetch = prefetch
        self._timeout_s = timeout_s
        self._open_timeout_s = timeout_s + bind_seconds(bindings)
        self._bindings = QueueBindings(bindings)
        self._opened = asyncio.Event()
        self._closed = False
        self._epoch = 0  # of the channel; deliveries of an older one are void
        self._gap = False
        self._waiting: deque[Delivery] = deque()
        self._awake = asyncio.Event()
        self._unacked: dict[int, None] = {}  # delivery tags in order
        self._acked: set[int] = set()  # those of them that the broker is still to be told
        self._ack_wanted = asyncio.Event()

    async def take(self, limit: int) -> Batch:
        """See `shared.bus.Subscription`."""
        while not (self._waiting or self._gap or self._closed):
            self._awake.clear()
            await self._awake.wait()
        if self._closed:
            raise SubscriptionClosed(self._queue.name)
        gap, self._gap = self._gap, False
        count = min(limit, len(self._waiting))
        return Batch(tuple(self._waiting.popleft() for _ in range(count)), gap=gap)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """See `shared.bus.Subscription`. The broker is told a turn later, of all together."""
        for delivery in deliveries:
            epoch, tag = delivery.token
            if epoch == self._epoch and tag in self._unacked:
                self._acked.add(tag)
        self._ack_wanted.set()

    async def bind(self, bindings: Sequence[Binding]) -> None:
        """See `shared.bus.Subscription`."""
        await self._bindings.change(bindings, wanted=True, timeout_s=self._timeout_s)

    async def unbind(self, bindings: Sequence[Binding]) -> None:
        """See `shared.bus.Subscription`."""
        await self._bindings.change(bindings, wanted=False, timeout_s=self._timeout_s)

    async def wait_open(self) -> None:
        """Wait until it consumes for the first time. Raises `BusUnavailable`."""
        try:
            async with asyncio.timeout(self._open_timeout_s):
                await self._opened.wait()
        except TimeoutError as error:
            raise BusUnavailable(f"{self._queue.name} could not be consumed in time") from error

    def close(self) -> None:
        """Let nothing more be taken; the end of the channel gives back what was not acked."""
        self._closed = True
        self._awake.set()

    async def serve(self, channel: Channel, lost: asyncio.Future[str]) -> str:
        """Serve a new channel until it is lost (`shared.amqp_link.Serve`)."""
        try:
            queue = await self._declare(channel, lost)
            await self._bindings.restore(channel, queue)
            # Before the consumer starts, so that no delivery comes before the gap that it is behind; after the
            # bindings are in force, so that what is read from elsewhere now overlaps with what is delivered.
            self._gap = self._gap or self._opened.is_set()
            self._awake.set()
            await self._consume(channel, queue, lost)
            self._opened.set()
            return await serve_until(lost, self._bindings.keep(channel, queue), self._keep_acking(channel))
        finally:
            try:
                if not lost.done():
                    await self._send_acks(channel)
            finally:
                self._void()

    def _void(self) -> None:
        self._epoch += 1
        self._waiting.clear()
        self._unacked.clear()
        self._acked.clear()
        self._bindings.lose()

    async def _declare(self, channel: Channel, lost: asyncio.Future[str]) -> str:
        """Declare the queue, and where its drops go; return its name on the broker."""

        async def on_drop(_: DeliveredMessage) -> None:
            _tell(lost, "the queue overflowed")

        queue = self._queue
        with translated():
            if not queue.exclusive:
                await declare_durable(channel, queue)
                return queue.name
            name = f"{queue.name}.{secrets.token_hex(4)}"
            arguments: dict[str, Any] = {}
            if queue.max_bytes:
                dropped = f"{name}.dropped"
                await channel.queue_declare(
                    dropped,
                    exclusive=True,
                    auto_delete=True,
                    arguments={"x-max-length": 1},
                    timeout=_STEP_DEADLINE_S,
                )
                await channel.basic_qos(prefetch_count=1, timeout=_STEP_DEADLINE_S)
                await channel.basic_consume(dropped, on_drop, timeout=_STEP_DEADLINE_S)
                arguments = {
                    "x-max-length-bytes": queue.max_bytes,
                    "x-overflow": "drop-head",
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": dropped,
                }
            await channel.queue_declare(
                name, exclusive=True, auto_delete=True, arguments=arguments, timeout=_STEP_DEADLINE_S
            )
            return name

    async def _consume(self, channel: Channel, queue: str, lost: asyncio.Future[str]) -> None:
        epoch = self._epoch

        async def on_delivery(message: DeliveredMessage) -> None:
            # aiormq runs this in a task per delivery, begun in order: it must not await, or it would reorder.
            tag = message.delivery_tag
            if epoch != self._epoch or tag is None:
                return
            properties = message.header.properties
            self._unacked[tag] = None
            self._waiting.append(
                Delivery(
                    message.body,
                    redelivered=bool(message.redelivered),
                    reply_to=properties.reply_to or "",
                    correlation_id=properties.correlation_id or "",
                    timeout_s=int(properties.expiration or 0) / 1000,
                    token=(epoch, tag),
                )
            )
            self._awake.set()

        def on_cancel(_: commands.Basic.CancelOk | commands.Basic.Cancel) -> None:
            _tell(lost, "the broker cancelled the consumer")

        channel.on_consumer_cancel_callbacks.add(on_cancel)
        with translated():
            await channel.basic_qos(prefetch_count=self._prefetch, timeout=_STEP_DEADLINE_S)
            await channel.basic_consume(queue, on_delivery, timeout=_STEP_DEADLINE_S)

    async def _keep_acking(self, channel: Channel) -> NoReturn:
        while True:
            await self._ack_wanted.wait()
            self._ack_wanted.clear()
            await self._send_acks(channel)

    async def _send_acks(self, channel: Channel) -> None:
        """Tell the broker what was acked: one frame for all that stand first, one for each of the others."""
        while self._acked:
            tags = []
            for tag in self._unacked:
                if tag not in self._acked:
                    break
                tags.append(tag)
            multiple = bool(tags)
            if not multiple:
                tags.append(min(self._acked))
            with translated():
                await channel.basic_ack(tags[-1], multiple=multiple, wait=False)
            for tag in tags:
                del self._unacked[tag]
                self._acked.remove(tag)


async def declare_durable(channel: Channel, queue: Queue) -> int:
    """Declare a queue that outlives its consumers; return how many deliveries wait. Raises what aiormq raises."""
    declared = await channel.queue_declare(
        queue.name, durable=True, arguments=_arguments_of(queue), timeout=_STEP_DEADLINE_S
    )
    return declared.message_count or 0


def _arguments_of(queue: Queue) -> dict[str, Any]:
    arguments: dict[str, Any] = {"x-max-length-bytes": queue.max_bytes} if queue.max_bytes else {}
    if queue.quorum:
        arguments |= {"x-queue-type": "quorum", "x-delivery-limit": _DELIVERY_LIMIT}
    if queue.single_active:
        arguments |= {"x-single-active-consumer": True}
    return arguments


def _tell(lost: asyncio.Future[str], reason: str) -> None:
    if not lost.done():
        lost.set_result(reason)
