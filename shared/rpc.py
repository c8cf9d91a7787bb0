"""Typed calls between services over the bus: encode, ask, serve.

Ring 4 (shell). The calls and their answers are in `shared.core.calls`. All are idempotent, so a call that
meets a broken connection, or a server that is busy, is asked again until its deadline; nobody works at it for longer
than its caller waits. An error of the catalogue travels by its
class name and is raised at the caller as it was at the server.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
import structlog

from shared.bus import Bus, BusUnavailable, CallTimeout, Delivery, Subscription, Unroutable
from shared.core.calls import AnyCall, Call
from shared.core.error_catalogue import error_of, name_of
from shared.core.errors import Busy, InternalError, StarlingError, Unavailable
from shared.reach import Reach, always_there
from shared.topology import Topology

_RETRY_S: Final = 0.1

log = structlog.get_logger(__name__)


class _Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What travels back: the encoded reply, or the error's class name."""

    value: msgspec.Raw = msgspec.Raw(b"")
    error: str = ""
    message: str = ""
    retry_after: float = 0.0


_encoder = msgspec.msgpack.Encoder()
_calls = msgspec.msgpack.Decoder(AnyCall)
_answers = msgspec.msgpack.Decoder(_Answer)

Handler = Callable[[Any], Awaitable[Any]]


class Rpc:
    """Asks other services. `timeout_s` is the deadline of each call, its retries included."""

    def __init__(self, bus: Bus, topology: Topology, *, timeout_s: float = 5.0) -> None:
        self._bus = bus
        self._topology = topology
        self._timeout_s = timeout_s
        self._decoders: dict[type[Call], msgspec.msgpack.Decoder[Any]] = {}

    async def call(self, call: Call) -> Any:
        """Return the answer, of type `type(call).Reply`.

        Raises the catalogue's error that the server raised, or `Unavailable` at the deadline or when
        nobody serves this.
        """
        kind = type(call)
        body = _encoder.encode(call)
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        while True:
            left = deadline - asyncio.get_running_loop().time()
            try:
                raw = await self._bus.call(self._topology.rpc, kind.service, body, timeout_s=max(left, 0.01))
            except (CallTimeout, Unroutable) as error:
                raise Unavailable(f"{kind.service} did not answer in time") from error
            except BusUnavailable as error:
                if left <= _RETRY_S:
                    raise Unavailable("The bus is away") from error
                await asyncio.sleep(_RETRY_S)
                continue
            answer = _answers.decode(raw)
            if not answer.error:
                break
            wait_s = answer.retry_after * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)
            if answer.error != Busy.__name__ or deadline - asyncio.get_running_loop().time() <= wait_s:
                raise error_of(answer.error, answer.message, answer.retry_after or None)
            await asyncio.sleep(wait_s)
        decoder = self._decoders.get(kind)
        if decoder is None:
            decoder = self._decoders[kind] = msgspec.msgpack.Decoder(kind.Reply)
        return decoder.decode(answer.value)


async def serve_calls(
    bus: Bus,
    topology: Topology,
    service: str,
    handlers: Mapping[type[Any], Handler],
    *,
    concurrency: int = 64,
    timeout_s: float = 10.0,
    reach: Reach | None = None,
) -> None:
    """Serve this service's calls for ever, at most `concurrency` at a time. Run as a supervised task.

    What is in hand when the task is cancelled is cancelled too; its callers ask again. While the database is out of
    `reach` no calls are taken, and those in hand go back to the queue, where others find them until they expire.
    """
    reach = reach or always_there()
    queue = topology.rpc_queue(service)
    while True:
        await reach.wait_there()
        try:
            async with bus.subscribe(queue, topology.rpc_bindings(service), prefetch=concurrency) as subscription:
                await reach.during(_serve(bus, subscription, handlers, concurrency, timeout_s))
        except BusUnavailable as error:
            log.warning("calls_unserved", service=service, reason=str(error))
            await asyncio.sleep(_RETRY_S)


async def _serve(
    bus: Bus, subscription: Subscription, handlers: Mapping[type[Any], Handler], concurrency: int, timeout_s: float
) -> None:
    async with asyncio.TaskGroup() as tasks:
        while True:
            batch = await subscription.take(concurrency)
            for delivery in batch.deliveries:
                tasks.create_task(_serve_one(bus, subscription, delivery, handlers, timeout_s))


async def _serve_one(
    bus: Bus, subscription: Subscription, delivery: Delivery, handlers: Mapping[type[Any], Handler], timeout_s: float
) -> None:
    """Answer one call, whatever happens in its handler. The prefetch bounds how many run.

    So a call waits in the broker's queue alone, from which it expires; here it is begun at once.
    """
    answer = await _answer(delivery.body, handlers, min(delivery.timeout_s or timeout_s, timeout_s))
    try:
        await bus.reply(delivery, _encoder.encode(answer))
        await subscription.ack((delivery,))
    except BusUnavailable:
        log.info("rpc_reply_lost")  # the caller asks again, or has given up


async def _answer(body: bytes, handlers: Mapping[type[Any], Handler], timeout_s: float) -> _Answer:
    try:
        call = _calls.decode(body)
        async with asyncio.timeout(timeout_s):
            reply = await handlers[type(call)](call)
        return _Answer(value=msgspec.Raw(_encoder.encode(reply)))
    except StarlingError as error:
        return _Answer(error=name_of(error), message=error.text, retry_after=error.retry_after or 0.0)
    except TimeoutError:
        return _Answer(error=Unavailable.__name__, message=Unavailable.message)
    except Exception:
        log.exception("rpc_handler_failed")
        return _Answer(error=InternalError.__name__, message=InternalError.message)
