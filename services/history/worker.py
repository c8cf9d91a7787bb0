"""Shard workers: consume the log, run the sequencer, reply, ack.

Ring 4 (shell). One `ShardWorker` per shard. RabbitMQ gives each shard one active consumer; a worker that only
believes to be it can't write, since every commit is conditional. What to do is `core.sequencer`'s business.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Protocol

import structlog

from services.history.access import AccessReader
from services.history.core.deciding import Verdict
from services.history.core.judging import CheckAccess
from services.history.core.marks import PutMarks, ReadDirects, ReadPins, ReadReactors
from services.history.core.pinning import MAX_PINS
from services.history.core.sequencer import ReadClock, Settled, sequence
from services.history.core.shard import Shard
from services.history.core.spread import OWNER, STANDBY
from services.history.letters import reason_of
from services.history.marks import MarkStore
from services.history.replying import Addressed
from shared.bus import Batch, Bus, BusUnavailable, Subscription
from shared.core.commands import (
    AnyCommand,
    BadEnvelope,
    Reply,
    decode_for_shard,
    refusal_of,
)
from shared.core.error_catalogue import name_of
from shared.core.errors import InternalError, StarlingError, Unavailable
from shared.core.group_errors import UnknownChannel
from shared.core.ids import MAX_ID, IdSource
from shared.core.letters import DeadLetter, letter_of_bytes, letter_of_command
from shared.core.sending import place_of_access
from shared.core.stream import Event
from shared.core.writing import Publish
from shared.reach import Reach, always_there
from shared.streams import StoreUnavailable, StreamStore, drive
from shared.topology import Topology

PREFETCH: Final = 256
"""Envelopes in a worker's hands; a batch is what is there. What a batch costs is counted in channels, not in messages,
so the more a busy channel's shard has to do the cheaper each becomes."""
_BACKOFF_S: Final = (0.05, 5.0)
_LOOK_S: Final = 1.0
"""How often a worker looks whether the shard is still its own."""
PATIENCE_S: Final = 5.0
"""How long a batch waits for groups to tell permissions that are doubtful; below what senders wait for an answer."""
_SERVER_ERRORS: Final = 500
_STAY_S: Final = 10.0
"""How long a standby that stepped back does not do so again."""

log = structlog.stdlib.get_logger(__name__)


class IdLease(Protocol):
    """Where ids come from while the worker id is leased."""

    @property
    def source(self) -> IdSource:
        """Return the source. Raises `Unavailable` while there is no lease."""


class ShardWorker:
    """Sequences one shard for as long as `run` runs.

    `publish` is `shared.publishing.publish_events` or as good, `reply` `services.history.replying.send_replies`, `bury`
    `services.history.letters.bury_letters`.
    """

    def __init__(
        self,
        number: int,
        *,
        bus: Bus,
        topology: Topology,
        streams: StreamStore,
        marks: MarkStore,
        access: AccessReader,
        lease: IdLease,
        now: Callable[[], int],
        publish: Callable[[Sequence[Event]], Awaitable[object]],
        reply: Callable[[Sequence[Addressed]], Awaitable[object]],
        observe: Callable[[Sequence[AnyCommand], Settled], None],
        bury: Callable[[Sequence[DeadLetter]], Awaitable[None]],
        rank: Callable[[int], int] = lambda number: OWNER,
        patience_s: float = PATIENCE_S,
        reach: Reach | None = None,
    ) -> None:
        self.shard = Shard()
        self.is_active = False
        self._stepped_back_at = float("-inf")
        self._number = number
        self._bus = bus
        self._topology = topology
        self._streams = streams
        self._marks = marks
        self._access = access
        self._lease = lease
        self._now = now
        self._publish = publish
        self._reply = reply
        self._observe = observe
        self._bury = bury
        self._rank = rank
        self._patience_s = patience_s
        self._reach = reach or always_there()

    async def run(self) -> None:
        """Consume the shard for ever, while it is ours to own or to stand by. Run as a supervised task.

        A shard is given back by closing its subscription between two batches: then what is unacked is
        delivered again, in order, to the next in line. While the database is out of reach of this process it consumes
        nothing; what it had in hand is the next one's, as if this one had died.
        """
        queue = self._topology.log_queue(self._number)
        bindings = self._topology.log_bindings(self._number)
        while True:
            await self._reach.wait_there()
            if self._rank(self._number) <= STANDBY:
                try:
                    async with self._bus.subscribe(queue, bindings, prefetch=PREFETCH) as subscription:
                        await self._reach.during(self._consume(subscription))
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
        commands, ends, letters = self._decode(batch)
        settled, reasons = await self._settle(commands) if commands else (Settled({}), {})
        letters += [self._letter_of(commands[index], reason) for index, reason in reasons.items()]
        if letters:
            await self._bury(letters)  # before anybody is told, and before they leave the log
        if commands:
            self._observe(commands, settled)
        await self._reply([Addressed(commands[index].reply_to, reply) for index, reply in settled.replies.items()])
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

    def _decode(self, batch: Batch) -> tuple[list[AnyCommand], list[int], list[DeadLetter]]:
        """Return a batch's commands, after each delivery how many there are up to it, and what can't be read."""
        commands: list[AnyCommand] = []
        ends: list[int] = []
        letters: list[DeadLetter] = []
        for delivery in batch.deliveries:
            try:
                commands += decode_for_shard(delivery.body).items
            except BadEnvelope as error:
                log.exception("commands_unreadable", shard=self._number, bytes=len(delivery.body))
                letters.append(letter_of_bytes(delivery.body, str(error), shard=self._number, now=self._now()))
            ends.append(len(commands))
        return commands, ends, letters

    def _letter_of(self, command: AnyCommand, reason: str) -> DeadLetter:
        return letter_of_command(command, reason, shard=self._number, now=self._now())

    async def _settle(self, commands: Sequence[AnyCommand]) -> tuple[Settled, dict[int, str]]:
        """Sequence a batch, waiting for store and bus to come back.

        Also returns, by index, why commands died: those that break us, met by doing the batch one by one, and those
        whose channel's history is broken. Both are refused for good.
        """
        reasons: dict[int, str] = {}
        try:
            settled = await self._sequence(commands)
        except Exception:
            log.exception("batch_failed", shard=self._number, commands=len(commands))
            self.shard.forget()
            settled = await self._settle_apart(commands, reasons)
        for index, reply in settled.replies.items():
            if reply.error == InternalError.__name__:
                reasons.setdefault(index, reply.message)
        return settled, reasons

    async def _settle_apart(self, commands: Sequence[AnyCommand], reasons: dict[int, str]) -> Settled:
        """Sequence commands one by one; tell in `reasons` what broke us, and refuse that."""
        replies: dict[int, Reply] = {}
        for index, command in enumerate(commands):
            try:
                settled = await self._sequence((command,))
            except Exception as error:
                log.exception("command_poisonous", shard=self._number, command_id=command.command_id)
                self.shard.forget()
                reasons[index] = reason_of(error)
                replies[index] = refusal_of(command.command_id, InternalError())
            else:
                if settled.given_back:
                    return Settled(replies, tuple(range(index, len(commands))))
                replies[index] = settled.replies[0]
        return Settled(replies)

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
            case ReadClock():
                return self._now()
            case CheckAccess(pairs):
                verdicts = await self._verdicts(dict.fromkeys(pairs))
                return [verdicts[pair] for pair in pairs]
            case ReadReactors(keys):
                return await self._marks.read_epochs(keys)
            case ReadPins(channel_ids):
                return await asyncio.gather(*(self._marks.list_pins(one, MAX_ID, MAX_PINS) for one in channel_ids))
            case ReadDirects(channel_ids):
                return await self._marks.read_directs(channel_ids)
            case PutMarks(marks):
                return await self._marks.put(marks)
        raise TypeError(f"nobody performs {effect!r}")

    async def _verdicts(self, pairs: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Verdict]:
        """Look permissions up, for some seconds while groups does not answer; then senders are told to try again.

        Not for as long as the commands live, as with the store: without groups the shard's other channels go on.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + self._patience_s
        pause = _BACKOFF_S[0]
        found: dict[tuple[int, int], Verdict] = {}
        open_pairs = list(pairs)
        while True:
            verdicts = await asyncio.gather(*(self._verdict(*pair) for pair in open_pairs))
            found.update((pair, one) for pair, one in zip(open_pairs, verdicts, strict=True) if one is not None)
            open_pairs = [pair for pair in open_pairs if pair not in found]
            if not open_pairs:
                return found
            if clock() >= until:
                log.warning("permissions_unknown", shard=self._number, permissions=len(open_pairs))
                return found | dict.fromkeys(open_pairs, Verdict(0, Unavailable.__name__))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (jitter)
            pause = min(pause * 2, _BACKOFF_S[1])

    async def _verdict(self, channel_id: int, user_id: int) -> Verdict | None:
        """Return what groups says today; None if it fails, which is no command's fault whatever it says."""
        try:
            access = await self._access.read(channel_id, user_id)
        except StarlingError as error:
            is_told = error.status < _SERVER_ERRORS and not error.retryable
            return Verdict(0, name_of(error)) if is_told else None
        except Exception:
            log.exception("access_unreadable", shard=self._number, channel_id=channel_id)
            return None
        place = place_of_access(access)
        if place is None:
            return Verdict(0, UnknownChannel.__name__)
        return Verdict(place.permissions, place.refusal, place.slow_s)
