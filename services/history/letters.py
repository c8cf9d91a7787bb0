"""Dead letters: publishing them for operators, and reading, putting back and dropping them at an operator's word.

Ring 4 (shell). What a letter is: `shared.core.letters`. What operators run: `services.history.dead_letters`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

import structlog

from shared.bus import Bus, Delivery, Subscription
from shared.command_log import CommandLog
from shared.core.commands import BadEnvelope, Reply
from shared.core.letters import DeadLetter, command_again, decode_letter, encode_letter, letter_of_bytes
from shared.logs import message_of
from shared.topology import Topology

MOST: Final = 65_535
"""Letters that are looked at together: as many as a prefetch can say. Their queue is bounded in bytes."""
_READING_S: Final = 10.0

log = structlog.stdlib.get_logger(__name__)


async def bury_letters(
    bus: Bus, topology: Topology, letters: Sequence[DeadLetter], *, count: Callable[[str], None]
) -> None:
    """Publish letters to where operators find them; returns when all are confirmed. `count` gets each one's kind.

    Raises `BusUnavailable`: some may be there, and come again under the same id.
    """
    await bus.declare(topology.dead_queue(), topology.dead_bindings())
    for letter in letters:
        await bus.publish(topology.log, (topology.dead_key(),), encode_letter(letter), mandatory=True)
        count("command" if letter.command_id else "envelope")
        log.error("dead_letter", shard=letter.shard, letter=letter.id, channel_id=letter.channel_id)


def reason_of(error: BaseException) -> str:
    """Return what broke and where, in one line: the innermost place that raised."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" at {PurePath(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place is not None else ""
    return " ".join(f"{type(error).__name__}{where}: {message_of(error)}".split())


@dataclass
class Held:
    """A letter in hand, with every delivery of it: one that died twice is there twice."""

    letter: DeadLetter
    deliveries: list[Delivery] = field(default_factory=list)


class Letters:
    """All letters that waited when they were opened, oldest first; what is not settled goes back to its place."""

    def __init__(self, bus: Bus, topology: Topology, subscription: Subscription, held: dict[str, Held]) -> None:
        self.held = held
        self._bus = bus
        self._topology = topology
        self._subscription = subscription

    async def drop(self, letter_id: str) -> None:
        """Forget a letter. Raises `KeyError` if there is none of this id."""
        await self._subscription.ack(self.held[letter_id].deliveries)
        del self.held[letter_id]

    async def replay(self, letter_id: str, commands: CommandLog, *, now: int, timeout_s: float) -> Reply | None:
        """Put what a letter is about back into the log, and drop the letter unless the answer asks to try again.

        The command goes its whole way anew: found again if it was stored, its permission looked up. If it breaks its
        worker once more there is a new letter. None: the bytes went back as they were, and nobody answers those.
        Raises `KeyError` if there is no such letter, `Unavailable` without an answer in time, `BusUnavailable`,
        `Unroutable`: then the letter stays.
        """
        letter = self.held[letter_id].letter
        command = command_again(letter, reply_to=commands.reply_to, now=now)
        if command is None:
            key = self._topology.log_key(letter.shard)
            await self._bus.publish(self._topology.log, (key,), letter.body, mandatory=True)
            await self.drop(letter_id)
            return None
        reply = await commands.send(command, timeout_s=timeout_s)
        if not reply.is_retryable:
            await self.drop(letter_id)
        return reply


@asynccontextmanager
async def open_letters(bus: Bus, topology: Topology) -> AsyncIterator[Letters]:
    """Take all letters that wait in hand. Raises `BusUnavailable`."""
    queue, bindings = topology.dead_queue(), topology.dead_bindings()
    waiting = min(await bus.declare(queue, bindings), MOST)
    async with bus.subscribe(queue, bindings, prefetch=MOST) as subscription:
        held: dict[str, Held] = {}
        try:
            async with asyncio.timeout(_READING_S):
                while waiting > 0:
                    batch = await subscription.take(waiting)
                    waiting -= len(batch.deliveries)
                    for delivery in batch.deliveries:
                        letter = _letter_of(delivery)
                        held.setdefault(letter.id, Held(letter)).deliveries.append(delivery)
        except TimeoutError:
            log.warning("letters_missing", letters=waiting)  # somebody else took them meanwhile
        yield Letters(bus, topology, subscription, held)


def _letter_of(delivery: Delivery) -> DeadLetter:
    try:
        return decode_letter(delivery.body)
    except BadEnvelope as error:
        return letter_of_bytes(delivery.body, f"this is no letter: {error}", shard=0, now=0)
