"""The bus in the memory of one process, for the embedded mode and for tests.

Ring 2. Behaves as RabbitMQ does under `shared.amqp` (tests/contracts/test_bus.py holds both), but for
what only a network can do. Routing is done before `publish` first suspends, so calls keep their order.
Everything it holds together is bounded in bytes: above that publishes are refused as by a broker's alarm.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from shared.bus import Batch, BusUnavailable, CallTimeout, Delivery, SubscriptionClosed, Unroutable
from shared.topology import Binding, Exchange, Queue

_MAX_BYTES = 256 * 1024 * 1024
_ITEM_BYTES = 256  # what an item costs beside its body, roughly

_Route = tuple[str, str]
"""The name of an exchange and a routing key; a fanout exchange has only the empty one."""


@dataclass(slots=True)
class _Item:
    """One publish in one queue. `position` is its place in the queue's order, also after a requeue."""

    position: int
    delivery: Delivery
    expires: float

    @property
    def size(self) -> int:
        return len(self.delivery.body) + _ITEM_BYTES


class _Budget:
    """Bytes held by all queues together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class _MemoryQueue:
    """Items in order, and who consumes them in turn."""

    def __init__(self, spec: Queue, budget: _Budget, clock: Callable[[], float]) -> None:
        self.spec = spec
        self.routes: set[_Route] = set()
        self._budget = budget
        self._clock = clock
        self._ready: deque[_Item] = deque()
        self._ready_bytes = 0
        self._next_position = 0
        self._consumers: deque[MemorySubscription] = deque()

    def put(self, delivery: Delivery, expires: float) -> None:
        item = _Item(self._next_position, delivery, expires)
        self._next_position += 1
        self._budget.used += item.size
        self._ready.append(item)
        self._ready_bytes += len(delivery.body)
        self.hand_out()
        if self.spec.max_bytes and self._ready_bytes > self.spec.max_bytes:
            self._overflow()

    def __len__(self) -> int:
        return len(self._ready)

    def hand_out(self) -> None:
        """Give what is ready to consumers with room: in turn, or all to the first if it is single active."""
        while self._ready:
            if self._ready[0].expires <= self._clock():
                self.forget((self._pop(),))
                continue
            consumer = self._next_consumer()
            if consumer is None:
                return
            consumer.deliver(self._pop())

    def forget(self, items: Iterable[_Item]) -> None:
        """Release items that are settled or dropped."""
        self._budget.used -= sum(item.size for item in items)

    def consume(self, consumer: MemorySubscription) -> None:
        self._consumers.append(consumer)
        self.hand_out()

    def leave(self, consumer: MemorySubscription, unacked: Sequence[_Item]) -> None:
        """Take a consumer away; what it did not ack goes back to its place, marked as redelivered."""
        self._consumers.remove(consumer)
        if self.spec.exclusive:
            self.forget(unacked)
            self.drop()
            return
        for item in unacked:
            item.delivery = replace(item.delivery, redelivered=True)
            self._ready_bytes += len(item.delivery.body)
        self._ready = deque(heapq.merge(unacked, self._ready, key=lambda item: item.position))
        self.hand_out()

    def drop(self) -> None:
        """Drop everything that is ready."""
        self.forget(self._ready)
        self._ready.clear()
        self._ready_bytes = 0

    def _overflow(self) -> None:
        if not self.spec.exclusive:
            while self._ready_bytes > self.spec.max_bytes:
                self.forget((self._pop(),))
            return
        # As over AMQP an overflow is the loss of the queue: its one consumer begins anew, told by a gap.
        self.drop()
        for consumer in self._consumers:
            consumer.lose()

    def _pop(self) -> _Item:
        item = self._ready.popleft()
        self._ready_bytes -= len(item.delivery.body)
        return item

    def _next_consumer(self) -> MemorySubscription | None:
        if self.spec.single_active:
            return self._consumers[0] if self._consumers and self._consumers[0].has_room else None
        for _ in range(len(self._consumers)):
            consumer = self._consumers[0]
            self._consumers.rotate(-1)
            if consumer.has_room:
                return consumer
        return None


class MemorySubscription:
    """One consumer on one queue. See `shared.bus.Subscription`."""

    def __init__(self, bus: MemoryBus, queue: _MemoryQueue, prefetch: int) -> None:
        self._bus = bus
        self._queue = queue
        self._prefetch = prefetch
        self._epoch = 0
        self._gap = False
        self._closed = False
        self._waiting: deque[Delivery] = deque()
        self._unacked: dict[int, _Item] = {}
        self._awake = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """Whether one more delivery fits under the prefetch."""
        return len(self._unacked) < self._prefetch

    def deliver(self, item: _Item) -> None:
        """Take an item from the queue, to be taken by the consumer."""
        self._unacked[item.position] = item
        self._waiting.append(replace(item.delivery, token=(self._epoch, item.position)))
        self._awake.set()

    def lose(self) -> None:
        """Void everything that was delivered, and tell a gap."""
        self._epoch += 1
        self._queue.forget(self._unacked.values())
        self._unacked.clear()
        self._waiting.clear()
        self._gap = True
        self._awake.set()

    async def take(self, limit: int) -> Batch:
        """See `shared.bus.Subscription`."""
        # Always lets others run, so that a consumer that is never without work does not starve them.
        await asyncio.sleep(0)
        while not (self._waiting or self._gap or self._closed):
            self._awake.clear()
            await self._awake.wait()
        if self._closed:
            raise SubscriptionClosed(self._queue.spec.name)
        gap, self._gap = self._gap, False
        count = min(limit, len(self._waiting))
        return Batch(tuple(self._waiting.popleft() for _ in range(count)), gap=gap)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """See `shared.bus.Subscription`."""
        for delivery in deliveries:
            epoch, position = delivery.token
            if epoch == self._epoch and position in self._unacked:
                self._queue.forget((self._unacked.pop(position),))
        if not self._closed:
            self._queue.hand_out()

    async def bind(self, bindings: Sequence[Binding]) -> None:
        """See `shared.bus.Subscription`."""
        for binding in bindings:
            self._bus.bind(self._queue, _route_of(binding.exchange, binding.key))

    async def unbind(self, bindings: Sequence[Binding]) -> None:
        """See `shared.bus.Subscription`."""
        for binding in bindings:
            self._bus.unbind(self._queue, _route_of(binding.exchange, binding.key))

    def close(self) -> None:
        """End it; what was not acked goes back to the queue."""
        self._closed = True
        self._awake.set()
        unacked = list(self._unacked.values())
        self._unacked.clear()
        self._queue.leave(self, sorted(unacked, key=lambda item: item.position))


class MemoryBus:
    """See `shared.bus.Bus`. Parts that are to talk to each other share one. `max_bytes` bounds all queues together."""

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._budget = _Budget(max_bytes)
        self._durable: dict[Queue, _MemoryQueue] = {}
        self._routes: dict[_Route, dict[_MemoryQueue, None]] = {}
        self._calls: dict[str, asyncio.Future[bytes]] = {}
        self._last_call = 0

    @property
    def connected(self) -> bool:
        """See `shared.bus.Bus`."""
        return True

    @property
    def binds_everywhere(self) -> bool:
        """See `shared.bus.Bus`."""
        return True

    async def publish(self, exchange: Exchange, keys: Sequence[str], body: bytes, *, mandatory: bool = False) -> None:
        """See `shared.bus.Bus`."""
        routed = self._route(exchange, keys, Delivery(body))
        if mandatory and not routed:
            raise Unroutable(f"{exchange.name} {keys[0]}")
        # As with a confirm others run meanwhile; without it a loop of publishes would starve their consumers.
        await asyncio.sleep(0)

    async def declare(self, queue: Queue, bindings: Sequence[Binding] = ()) -> int:
        """See `shared.bus.Bus`."""
        held = self._declared(queue)
        for binding in bindings:
            self.bind(held, _route_of(binding.exchange, binding.key))
        return len(held)

    @asynccontextmanager
    async def subscribe(
        self, queue: Queue, bindings: Sequence[Binding] = (), *, prefetch: int = 256
    ) -> AsyncIterator[MemorySubscription]:
        """See `shared.bus.Bus`."""
        held = self._declared(queue)
        subscription = MemorySubscription(self, held, prefetch)
        await subscription.bind(bindings)
        held.consume(subscription)
        try:
            yield subscription
        finally:
            subscription.close()
            if queue.exclusive:
                for route in tuple(held.routes):
                    self.unbind(held, route)

    async def call(self, exchange: Exchange, key: str, body: bytes, *, timeout_s: float) -> bytes:
        """See `shared.bus.Bus`."""
        loop = asyncio.get_running_loop()
        self._last_call += 1
        call_id = str(self._last_call)
        answer: asyncio.Future[bytes] = loop.create_future()
        self._calls[call_id] = answer
        try:
            request = Delivery(body, reply_to="memory", correlation_id=call_id, timeout_s=timeout_s)
            if not self._route(exchange, (key,), request, loop.time() + timeout_s):
                raise Unroutable(f"{exchange.name} {key}")
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as error:
            raise CallTimeout(f"{exchange.name} {key}") from error
        finally:
            del self._calls[call_id]

    async def reply(self, delivery: Delivery, body: bytes) -> None:
        """See `shared.bus.Bus`."""
        answer = self._calls.get(delivery.correlation_id)
        if answer is not None and not answer.done():
            answer.set_result(body)

    def _declared(self, queue: Queue) -> _MemoryQueue:
        declared = _MemoryQueue(queue, self._budget, asyncio.get_running_loop().time)
        return declared if queue.exclusive else self._durable.setdefault(queue, declared)

    def bind(self, queue: _MemoryQueue, route: _Route) -> None:
        """Feed a queue from a route."""
        queue.routes.add(route)
        self._routes.setdefault(route, {})[queue] = None

    def unbind(self, queue: _MemoryQueue, route: _Route) -> None:
        """Undo `bind`; an unknown route is ignored."""
        if route not in queue.routes:
            return
        queue.routes.remove(route)
        del self._routes[route][queue]
        if not self._routes[route]:
            del self._routes[route]

    def _route(self, exchange: Exchange, keys: Sequence[str], delivery: Delivery, expires: float = math.inf) -> bool:
        """Put one copy into each queue that is bound to one of the keys; return whether there was any."""
        queues: dict[_MemoryQueue, None] = {}
        for key in keys:
            queues.update(self._routes.get(_route_of(exchange, key), {}))
        if self._budget.used + len(queues) * (len(delivery.body) + _ITEM_BYTES) > self._budget.limit:
            raise BusUnavailable(f"the bus holds {self._budget.used} bytes")
        for queue in queues:
            queue.put(delivery, expires)
        return bool(queues)


def _route_of(exchange: Exchange, key: str) -> _Route:
    return (exchange.name, "" if exchange.kind == "fanout" else key)
