"""Sending commands through the log and waiting for what became of them.

Ring 4 (shell). Commands for one shard that are there when the last publish has gone out go together in one
envelope, with no timer: alone when quiet, in bulk under load, always in the order they were sent.
Replies come on the sender's own key `n.{name}`. The values are in `shared.core.commands`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from shared.bus import Bus, BusUnavailable, Unroutable
from shared.core.commands import (
    AnyCommand,
    BadEnvelope,
    Commands,
    Replies,
    Reply,
    decode_for_node,
    encode_envelope,
)
from shared.core.errors import Unavailable
from shared.topology import Binding, Topology

ENVELOPE_COMMANDS: Final = 64
"""Most commands in one envelope."""
MAX_WAITING: Final = 20_000
"""Most commands of one process without a reply; more are refused with a retryable error."""

_OPENING_S: Final = 5.0
_RETRY_S: Final = 1.0

log = structlog.get_logger(__name__)


class CommandLog:
    """The way into the log for one process. `reply_to` is its name on the bus.

    Whoever consumes the process's queue hands replies to `settle`.
    """

    def __init__(self, bus: Bus, topology: Topology, reply_to: str) -> None:
        self.reply_to = reply_to
        self._bus = bus
        self._topology = topology
        self._waiting: dict[int, list[asyncio.Future[Reply]]] = {}
        self._queued: dict[int, list[AnyCommand]] = {}
        self._senders: dict[int, asyncio.Task[None]] = {}

    async def send(self, command: AnyCommand, *, timeout_s: float) -> Reply:
        """Send a command and return its reply; a refusal is a Reply too (`raise_error`).

        Commands of one channel keep the order of these calls. Raises `Unavailable` at the deadline: then the
        outcome is unknown until the command's expiry, and the same nonce or command id makes a retry safe.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(command.command_id, [])
        waiting.append(future)
        shard = self._topology.shard_of(command.channel_id)
        self._queued.setdefault(shard, []).append(command)
        if shard not in self._senders:
            self._senders[shard] = asyncio.create_task(self._send_queued(shard))
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError as error:
            raise Unavailable from error
        finally:
            waiting.remove(future)
            if not waiting:
                del self._waiting[command.command_id]

    def settle(self, replies: Replies) -> None:
        """Hand each reply to who waits for it; one that nobody waits for any more is dropped."""
        for reply in replies.items:
            for future in self._waiting.get(reply.command_id, ()):
                if not future.done():
                    future.set_result(reply)

    @property
    def waiting(self) -> int:
        """How many commands have no reply yet."""
        return len(self._waiting)

    async def _send_queued(self, shard: int) -> None:
        """Publish what is queued for a shard until nothing is. What fails leaves its senders to their deadline."""
        try:
            while queued := self._queued.pop(shard, None):
                for start in range(0, len(queued), ENVELOPE_COMMANDS):
                    envelope = Commands(tuple(queued[start : start + ENVELOPE_COMMANDS]))
                    await self._publish(shard, envelope)
        finally:
            del self._senders[shard]

    async def _publish(self, shard: int, envelope: Commands) -> None:
        try:
            key = self._topology.log_key(shard)
            await self._bus.publish(self._topology.log, (key,), encode_envelope(envelope), mandatory=True)
        except (BusUnavailable, Unroutable) as error:
            log.warning("commands_unconfirmed", shard=shard, commands=len(envelope.items), reason=repr(error))

    async def close(self) -> None:
        """Let what is queued go out, and end the senders."""
        if senders := list(self._senders.values()):
            await asyncio.wait(senders, timeout=5.0)
            for sender in senders:
                sender.cancel()


@asynccontextmanager
async def open_command_log(bus: Bus, topology: Topology, name: str) -> AsyncIterator[CommandLog]:
    """Open a command log with a reply queue of its own, for services that have no node queue.

    Waits a while for the queue, not for ever: while the broker is away commands fail at their deadline.
    """
    commands = CommandLog(bus, topology, name)
    is_open = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        receiver = tasks.create_task(_receive(bus, topology, commands, is_open))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_OPENING_S):
                    await is_open.wait()
            yield commands
        finally:
            await commands.close()
            receiver.cancel()


async def _receive(bus: Bus, topology: Topology, commands: CommandLog, is_open: asyncio.Event) -> None:
    """Settle commands with the replies that come on their sender's own key, for ever."""
    own = Binding(topology.events, topology.node_key(commands.reply_to))
    while True:
        try:
            async with bus.subscribe(topology.node_queue(commands.reply_to), (own,)) as subscription:
                is_open.set()
                while True:
                    batch = await subscription.take(256)
                    for delivery in batch.deliveries:
                        _settle(commands, delivery.body)
                    await subscription.ack(batch.deliveries)
        except BusUnavailable as error:
            log.warning("replies_unheard", reason=str(error))
            await asyncio.sleep(_RETRY_S)


def _settle(commands: CommandLog, body: bytes) -> None:
    try:
        envelope = decode_for_node(body)
    except BadEnvelope as error:
        log.warning("envelope_unreadable", reason=str(error))
        return
    if isinstance(envelope, Replies):
        commands.settle(envelope)
