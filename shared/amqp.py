"""The bus on RabbitMQ: publishing, calls, and where subscriptions come from.

Ring 3 (adapter). Implements `shared.bus.Bus` with aiormq. One connection per bus; one AMQP channel for
publishes, calls and their replies, one for each subscription. `shared.amqp_link` keeps them alive.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from pamqp.commands import Basic

from shared.amqp_bindings import QueueBindings
from shared.amqp_link import Link, keeps_bindings_in_mnesia, serve_until, translated
from shared.amqp_subscription import AmqpSubscription, declare_durable
from shared.bus import BusUnavailable, CallTimeout, Delivery, Subscription, Unroutable
from shared.topology import Binding, Exchange, Queue

_REPLY_TO = "amq.rabbitmq.reply-to"  # RabbitMQ's direct reply-to: no queue, answers come on the asking channel
_DEFAULT_EXCHANGE = Exchange("")
_MAX_IN_FLIGHT = 1024  # publishes that wait for their confirm; more wait for a place
_MAX_UNCONFIRMED = 8 * _MAX_IN_FLIGHT  # with those that were given up but are not confirmed yet
_STEP_DEADLINE_S = 10.0


class AmqpBus:
    """See `shared.bus.Bus`. `timeout_s` is the deadline of a confirm, a bind and the start of a subscription."""

    def __init__(self, link: Link, tasks: asyncio.TaskGroup, *, timeout_s: float) -> None:
        self._link = link
        self._tasks = tasks
        self._timeout_s = timeout_s
        self._channel: Channel | None = None
        self._ready = asyncio.Event()
        self._declared = {_DEFAULT_EXCHANGE}
        self._places = asyncio.Semaphore(_MAX_IN_FLIGHT)
        self._turn = asyncio.Lock()
        self._last_id = 0
        self._calls: dict[str, asyncio.Future[bytes | None]] = {}

    @property
    def connected(self) -> bool:
        """See `shared.bus.Bus`."""
        return self._link.connected and self._channel is not None

    @property
    def binds_everywhere(self) -> bool:
        """See `shared.bus.Bus`."""
        return keeps_bindings_in_mnesia(self._link.server)

    async def publish(self, exchange: Exchange, keys: Sequence[str], body: bytes, *, mandatory: bool = False) -> None:
        """See `shared.bus.Bus`."""
        if len(exchange.parts) == 1:
            await self._publish_part(exchange, keys, body, mandatory=mandatory)
            return
        parts = exchange.keys_by_part(keys)
        outcomes = await asyncio.gather(
            *(self._publish_part(part, its, body, mandatory=mandatory) for part, its in parts.items()),
            return_exceptions=True,
        )
        failures = [outcome for outcome in outcomes if outcome is not None]
        for failure in failures:
            # Somebody got it if any part had a queue for it.
            if not isinstance(failure, Unroutable) or len(failures) == len(parts):
                raise failure

    async def declare(self, queue: Queue, bindings: Sequence[Binding] = ()) -> int:
        """See `shared.bus.Bus`. On a channel of its own: what the broker refuses would end the one that publishes."""
        try:
            async with asyncio.timeout(self._timeout_s), self._link.open_channel() as channel:
                with translated():
                    waiting = await declare_durable(channel, queue)
                await QueueBindings(bindings).restore(channel, queue.name)
                return waiting
        except TimeoutError as error:
            raise BusUnavailable(f"{queue.name} could not be declared in time") from error

    @asynccontextmanager
    async def subscribe(
        self, queue: Queue, bindings: Sequence[Binding] = (), *, prefetch: int = 256
    ) -> AsyncIterator[Subscription]:
        """See `shared.bus.Bus`."""
        subscription = AmqpSubscription(queue, bindings, prefetch=prefetch, timeout_s=self._timeout_s)
        keeper = self._tasks.create_task(self._link.keep_channel(queue.name, subscription.serve))
        try:
            await subscription.wait_open()
            yield subscription
        finally:
            subscription.close()
            keeper.cancel()
            await asyncio.wait([keeper])

    async def call(self, exchange: Exchange, key: str, body: bytes, *, timeout_s: float) -> bytes:
        """See `shared.bus.Bus`."""
        call_id = self._next_id()
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._calls[call_id] = answer
        properties = Basic.Properties(
            delivery_mode=1,
            reply_to=_REPLY_TO,
            correlation_id=call_id,
            expiration=str(max(1, int(timeout_s * 1000))),
        )
        try:
            async with asyncio.timeout(timeout_s):
                await self._publish(exchange, key, body, properties, mandatory=True)
                reply = await answer
        except TimeoutError as error:
            raise CallTimeout(f"{exchange.name} {key}") from error
        finally:
            del self._calls[call_id]
        if reply is None:
            raise BusUnavailable("the connection was lost before the answer")
        return reply

    async def reply(self, delivery: Delivery, body: bytes) -> None:
        """See `shared.bus.Bus`."""
        properties = Basic.Properties(delivery_mode=1, correlation_id=delivery.correlation_id)
        await self._publish(_DEFAULT_EXCHANGE, delivery.reply_to, body, properties, mandatory=False)

    async def serve_publishing(self, channel: Channel, lost: asyncio.Future[str]) -> str:
        """Publish on a new channel until it is lost (`shared.amqp_link.Serve`)."""
        with translated():
            await channel.basic_consume(_REPLY_TO, self._on_reply, no_ack=True, timeout=_STEP_DEADLINE_S)
        self._declared = {_DEFAULT_EXCHANGE}
        self._channel = channel
        self._ready.set()
        try:
            return await serve_until(lost)
        finally:
            self._channel = None
            self._ready.clear()
            for answer in self._calls.values():
                if not answer.done():
                    answer.set_result(None)

    async def _publish_part(self, exchange: Exchange, keys: Sequence[str], body: bytes, *, mandatory: bool) -> None:
        properties = Basic.Properties(
            delivery_mode=2 if exchange.persistent else 1,
            headers={"CC": list(keys[1:])} if len(keys) > 1 else None,
        )
        await self._publish(exchange, keys[0], body, properties, mandatory=mandatory)

    async def _publish(
        self, exchange: Exchange, key: str, body: bytes, properties: Basic.Properties, *, mandatory: bool
    ) -> None:
        # aiormq finds a returned publish by its message id, and makes a costlier one if there is none.
        properties.message_id = self._next_id()
        with translated():
            async with asyncio.timeout(self._timeout_s), self._places:
                # From here to aiormq's own lock nothing else runs once the turn is over: calls keep their order.
                async with self._turn:
                    channel = await self._wait_channel()
                    if exchange not in self._declared:
                        # A publish to an exchange that is not there would end the channel.
                        await channel.exchange_declare(
                            exchange.name, exchange_type=exchange.kind, durable=True, nowait=True
                        )
                        self._declared.add(exchange)
                await channel.basic_publish(
                    body,
                    exchange=exchange.name,
                    routing_key=key,
                    properties=properties,
                    mandatory=mandatory,
                    wait=False,
                )

    async def _wait_channel(self) -> Channel:
        """Return the channel once it may be written to: not before the broker's alarms (memory, disk) are over."""
        while (channel := self._channel) is None or channel.is_closed:
            # A channel that has closed is taken away a few turns of the loop later.
            await (self._ready.wait() if channel is None else asyncio.sleep(0))
        await channel.connection.ready()
        if len(channel.confirmations) > _MAX_UNCONFIRMED:
            raise BusUnavailable(f"the broker owes {len(channel.confirmations)} confirms")
        return channel

    async def _on_reply(self, message: DeliveredMessage) -> None:
        answer = self._calls.get(message.header.properties.correlation_id or "")
        if answer is not None and not answer.done():
            answer.set_result(message.body)

    def _next_id(self) -> str:
        self._last_id += 1
        return f"{self._last_id:x}"


@asynccontextmanager
async def open_amqp_bus(
    url: str,
    *,
    name: str = "starling",
    heartbeat_s: int = 2,
    timeout_s: float = 10.0,
    jitter: Callable[[], float] = random.random,
) -> AsyncIterator[AmqpBus]:
    """Open a bus on the broker at `url` (amqp:// or amqps://); it connects in the background, for as long as it takes.

    `name` is what the broker's own tools show for the connection. `heartbeat_s` = 2 notices a dead peer within 10 s.
    """
    failure: Exception | None = None
    async with asyncio.TaskGroup() as tasks:
        link = Link(url, name=name, heartbeat_s=heartbeat_s, jitter=jitter)
        bus = AmqpBus(link, tasks, timeout_s=timeout_s)
        connection = tasks.create_task(link.run())
        publishing = tasks.create_task(link.keep_channel("publish", bus.serve_publishing))
        try:
            yield bus
        except Exception as error:  # raised below as it is, instead of inside the group's
            failure = error
        finally:
            publishing.cancel()
            await asyncio.wait([publishing])
            connection.cancel()
    if failure is not None:
        raise failure
