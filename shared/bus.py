"""The bus: what the rest of the system may ask of RabbitMQ. The seam.

Ring 2. Implementations: `shared.memory_bus` (one process) and `shared.amqp` (RabbitMQ); the same
contract tests hold both (tests/contracts/test_bus.py). Names and arguments come from `shared.topology`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.topology import Binding, Exchange, Queue


class BusUnavailable(Exception):
    """The bus did not confirm: what was asked may or may not have happened."""


class Unroutable(Exception):
    """No queue is bound to the key of a mandatory publish or call: surely nobody got it."""


class CallTimeout(Exception):
    """A call was not answered within its deadline."""


class SubscriptionClosed(Exception):
    """The subscription's context has ended; nothing more comes from it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One publish as received. `token` is the adapter's own; `reply_to` is empty unless it is a call.

    `timeout_s`: how long a call's answer was waited for when it was asked; 0: nobody said.
    """

    body: bytes
    redelivered: bool = False
    reply_to: str = ""
    correlation_id: str = ""
    timeout_s: float = 0.0
    token: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """What was there. `gap`: deliveries before these may be missing, and none taken before can be acked.

    A gap comes once after each loss of the queue or of the consumer, and after a bounded queue dropped
    something. A durable queue then delivers again what was not acked; an exclusive one has lost it.
    """

    deliveries: tuple[Delivery, ...]
    gap: bool = False


class Subscription(Protocol):
    """One consumer on one queue. Deliveries come in the queue's order."""

    async def take(self, limit: int) -> Batch:
        """Wait for at least one delivery (or a gap), return what is there, at most `limit`.

        Raises `SubscriptionClosed` when the context ends meanwhile or has ended.
        """

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Settle these. Those from before a gap are ignored: they are void."""

    async def bind(self, bindings: Sequence[Binding]) -> None:
        """Bind the queue; returns when all are in force, and keeps them over reconnects.

        Binding twice is binding once. Binds and unbinds take effect in the order of these calls.
        Raises `BusUnavailable` if the connection is lost meanwhile; they are kept and bound on reconnect.
        """

    async def unbind(self, bindings: Sequence[Binding]) -> None:
        """Take bindings away; unknown ones are ignored. Raises as `bind`."""


class Bus(Protocol):
    """Publish, subscribe, call."""

    @property
    def connected(self) -> bool:
        """Whether the bus is up at this moment, for readiness."""

    @property
    def binds_everywhere(self) -> bool:
        """Whether a binding that is confirmed at this moment is in force at all brokers of a cluster.

        Else it may be so a moment later at some, and what is published there meanwhile does not come. False also where
        nobody knows.
        """

    async def publish(self, exchange: Exchange, keys: Sequence[str], body: bytes, *, mandatory: bool = False) -> None:
        """Publish once under one or more keys; a queue bound to several gets one copy, or one per part of the exchange.

        Returns when the broker took responsibility (confirm). Publishes of one task arrive in order.
        Raises `BusUnavailable` (unknown), `Unroutable` (only if mandatory).
        """

    async def declare(self, queue: Queue, bindings: Sequence[Binding] = ()) -> int:
        """Declare and bind a durable queue that nobody need consume yet; return how many deliveries wait in it.

        What a consumer has in hand is not counted. Raises `BusUnavailable`.
        """

    def subscribe(
        self, queue: Queue, bindings: Sequence[Binding] = (), *, prefetch: int = 256
    ) -> AbstractAsyncContextManager[Subscription]:
        """Declare, bind and consume a queue until the context ends; what was not acked is requeued then.

        While it is open every loss is repaired with backoff and told as a gap. At most `prefetch`
        deliveries are unacked at a time. Entering raises `BusUnavailable` after 10 s without a broker.
        """

    async def call(self, exchange: Exchange, key: str, body: bytes, *, timeout_s: float) -> bytes:
        """Ask whoever serves `key` and return the answer's body.

        The request expires in the queue with the deadline. Raises `CallTimeout`, `Unroutable`, `BusUnavailable`.
        """

    async def reply(self, delivery: Delivery, body: bytes) -> None:
        """Answer a call. Nothing happens when the caller is gone. Raises `BusUnavailable`."""
