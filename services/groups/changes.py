"""Changes of group and user streams: performs what `shared.core.change` asks for, and finishes what others left.

Ring 4 (shell). A change answers after its events are confirmed by the bus. Whatever a process leaves behind when
it dies is finished by the next change of that stream, or by any replica's sweeper a second later, in
order. Rules 3, 4 and 7 of docs/rules.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from weakref import WeakValueDictionary

import structlog

from services.groups.auditing import AuditLogs
from services.groups.core.decisions import decide_follow
from services.groups.jobs import DISBAND, OFFICIAL, RENAME, Jobs
from services.groups.projections import project
from services.groups.store import GroupStore
from shared.bus import Bus, BusUnavailable
from shared.core.change import NOBODY, Actor, Clean, Decide, Follow, Project, change, settle
from shared.core.errors import Unavailable
from shared.core.events import AnyBody
from shared.core.group_events import GroupCreated, GroupDeleted, MemberAdded, MemberBanned, MemberChanged, MemberRemoved
from shared.core.ids import IdSource
from shared.core.invalidation import Invalidation, encode_invalidation
from shared.core.model import Member
from shared.core.stream import Event, owner_of, user_stream
from shared.core.user_events import UserChanged, UserRegistered
from shared.core.writing import Effects, Knowledge, Publish, StreamBroken, load
from shared.publishing import publish_events
from shared.streams import StoreUnavailable, StreamStore, drive
from shared.topology import Topology

MAX_WAITING: Final = 1_000
"""Changes at work or waiting for their turn in one process; more are refused with a retryable error."""
SWEEP_AGE_MS: Final = 1_000
SWEEP_STREAMS: Final = 100
_SWEEP_FAILURES: Final = 3
_NAP_S: Final = 1.0

log = structlog.get_logger(__name__)

Decision = Callable[[int], Awaitable[AnyBody | None]]
"""Given the seq that the projections are complete to: what happens, None for nothing, or a refusal raised."""


class Changes:
    """The one way to change a group's or user's stream in this process. Many may work on the same stores.

    `timeout_s` is the deadline of a change, its turn and its followers included; more than `max_waiting` at once are
    refused. `joined` is told who came into a group, with the seq of that, maybe more than once. `moved` is told to
    which seq a group has moved, before anybody else. Each new person's join of the `official_group` is asked for (0:
    there is none).
    """

    def __init__(
        self,
        streams: StreamStore,
        groups: GroupStore,
        bus: Bus,
        topology: Topology,
        jobs: Jobs,
        audit_logs: AuditLogs,
        ids: IdSource,
        now: Callable[[], int],
        *,
        joined: Callable[[Member, int], None] = lambda member, group_seq: None,
        moved: Callable[[int, int], None] = lambda group_id, seq: None,
        official_group: int = 0,
        timeout_s: float = 10.0,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._streams = streams
        self._groups = groups
        self._bus = bus
        self._topology = topology
        self._jobs = jobs
        self._audit_logs = audit_logs
        self._ids = ids
        self._now = now
        self._joined = joined
        self._moved = moved
        self._official_group = official_group
        self._timeout_s = timeout_s
        self._max_waiting = max_waiting
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiting = 0

    async def change(self, stream: str, decide: Decision, *, actor: Actor = NOBODY, answer_stored: bool = False) -> int:
        """Decide, commit, publish; return the head's seq that is published then. A repeat is decided anew.

        `actor` is named in the group's audit log. With `answer_stored` (creations, whose repeat would create again) it
        is enough that the event was stored; a sweeper publishes it.
        Raises what `decide` raises, and `Unavailable`: then it may have happened.
        """
        command_id = self._ids.next_id(self._now())
        try:
            async with self._turn(stream):
                writer = change(stream, self._now(), self._ids, command_id=command_id, actor=actor)
                seq: int = await self._run(writer, decide)
        except Unavailable:
            if not answer_stored:
                raise
            async with self._bounded():
                known: Knowledge = await self._run(load(stream, self._now()))
            if (stored := known.stored_at(command_id, self._now())) is None:
                raise
            return stored.seq
        return seq

    async def settle(self, stream: str) -> int:
        """Finish what was left of the stream; return its last seq. Raises `Unavailable`."""
        async with self._turn(stream):
            known: Knowledge = await self._run(settle(stream, self._now()))
        return known.tail.next_seq - 1

    async def sweep(self) -> int:
        """Settle streams that have been dirty for over a second, at most 100; return how many.

        Raises `Unavailable` when several could not be: then it is not about one stream.
        """
        async with self._bounded():
            dirty = await self._streams.find_dirty(self._now() - SWEEP_AGE_MS, SWEEP_STREAMS)
        failures = 0
        for stream, first_seq, next_seq in dirty:
            try:
                await self.settle(stream)
                async with self._bounded():
                    await self._streams.clean(stream, first_seq, next_seq)
            except StreamBroken:
                log.exception("stream_broken", stream=stream)
            except Unavailable:
                failures += 1
                if failures == _SWEEP_FAILURES:
                    raise
        return len(dirty) - failures

    async def run_sweeper(self) -> None:
        """Sweep once a second, for ever. Run as a supervised task; every replica does."""
        while True:
            try:
                if swept := await self.sweep():
                    log.info("streams_settled", streams=swept)
            except Unavailable as error:
                log.warning("sweep_failed", reason=repr(error.__cause__))
            await asyncio.sleep(_NAP_S)

    @property
    def in_hand(self) -> int:
        """How many changes are at work or wait for their turn, those that follow another included."""
        return self._waiting

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """Give what is inside a deadline, and tell any outage as the catalogue's `Unavailable`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except (TimeoutError, BusUnavailable, StoreUnavailable) as error:
            raise Unavailable from error

    @asynccontextmanager
    async def _turn(self, stream: str) -> AsyncIterator[None]:
        """Wait for this process's turn on a stream: rivals inside one process would only lose to each other."""
        if self._waiting >= self._max_waiting:
            raise Unavailable(retry_after=1.0)
        lock = self._turns.setdefault(stream, asyncio.Lock())
        self._waiting += 1
        try:
            async with self._bounded(), lock:
                yield
        finally:
            self._waiting -= 1

    async def _run(self, writer: Effects, decide: Decision | None = None) -> Any:
        async def perform(effect: Any) -> Any:
            match effect:
                case Project(stream, records):
                    await project(self._groups, stream, records)
                    await self._audit_logs.keep(stream, records)
                case Decide(seq) if decide is not None:
                    return await decide(seq)
                case Publish(events):
                    await self._publish(events)
                case Follow(stream, records):
                    for record in records:
                        await self._follow(stream, record.seq, record.body)
                case Clean(stream, first_seq, next_seq):
                    await self._streams.clean(stream, first_seq, next_seq)
                case _:
                    raise TypeError(f"nobody performs {effect!r}")
            return None

        return await drive(writer, self._streams, perform)

    async def _publish(self, events: Sequence[Event]) -> None:
        """Publish in order, confirmed; and tell who caches facts about a group that it moved."""
        last = events[-1]
        if last.group_id:
            self._moved(last.group_id, last.record.seq)
        await publish_events(self._bus, self._topology, events)
        if last.group_id:
            invalidation = Invalidation(last.group_id, last.record.seq)
            await self._bus.publish(self._topology.invalidate, ("",), encode_invalidation(invalidation))

    async def _follow(self, stream: str, group_seq: int, body: AnyBody) -> None:
        """Tell a member's own stream what a published event of the group means for it (once, by `group_seq`)."""
        match body:
            case UserRegistered(user, owner=0) if self._official_group:
                return await self._jobs.ask(OFFICIAL, user.id)
            case UserChanged(user, gone=False):  # what is left of an account is shown by the job that deletes it
                return await self._jobs.ask(RENAME, user.id)
            case GroupCreated(owner=member) | MemberAdded(member):
                user_id = member.user.id
            case MemberRemoved(user) | MemberBanned(user, was_in=True):
                user_id = user.id
            case MemberChanged(member, before) if before is not None:
                user_id = member.user.id
            case GroupDeleted(group):
                user_id = group.owner_id  # who can make another group at once; a job tells the other members
                await self._jobs.ask(DISBAND, group.id)
            case _:
                return None
        group_id = owner_of(stream)
        event = body

        async def decide(_: int) -> AnyBody | None:
            known = await self._groups.read_membership(user_id, group_id)
            return decide_follow(known.group_seq if known is not None else 0, group_seq, event, group_id)

        await self.change(user_stream(user_id), decide)
        match body:
            case GroupCreated(owner=member) | MemberAdded(member):
                if (await self._groups.read_users((user_id,))).get(user_id) != member.user:
                    await self._jobs.ask(RENAME, user_id)  # the user was renamed while it joined
        if isinstance(body, MemberAdded):
            self._joined(body.member, group_seq)
        return None
