"""Taking over sessions that lived on other nodes: from the node itself while it lives, from its trail when it is dead.

Ring 4 (shell). Either way yields where the session stood in each stream. The session is attached here first, which
fixes our own positions; what lies between is read from history and groups; from there on our replay log has it
all. Rules 5 and 6 of docs/rules.md; what is missing is decided in `core.takeover`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import structlog

from services.gateway.backlog import MOST_MISSED, Backlog
from services.gateway.core.handover import Gone, Missed
from services.gateway.core.hub import Hub
from services.gateway.core.intents import Scope, decode_scope
from services.gateway.core.missed import group_told, heard_of, missed_in
from services.gateway.core.outage import Outage
from services.gateway.core.positions import RESERVE, Placed, Trail
from services.gateway.core.replay import Entry
from services.gateway.core.takeover import (
    Given,
    Origin,
    Plan,
    created_in,
    kept_groups,
    lagging,
    plan_of,
)
from services.gateway.fanout import Fanout
from services.gateway.gathering import Gathering
from services.gateway.peers import Gift, Peers
from services.gateway.registry import Link, RegistryUnavailable, SessionEntry, SessionRegistry
from services.gateway.sessions import LiveSession
from services.gateway.trails import Trails, TrailsUnavailable
from shared.core.errors import Unavailable
from shared.core.revocation import Bearer
from shared.core.stream import Event, group_stream, user_stream
from shared.lifecycle import Supervisor

_LAG_S: Final = 3.0
"""How long we wait for our own queue to come to where the session stood."""
_LOOK_S: Final = 0.02
_TRIES: Final = 3
"""How often a session is looked for, when its client came to several nodes and another one was faster."""
_PAUSES_S: Final = (0.1, 0.6, 0.6, 0.6)
"""A registry or a trail that is away is asked again after these: longer than Redis is not asked once it was away."""
_INCARNATIONS: Final = re.compile(r"[\w.-]+\.[0-9a-f]{8}", re.ASCII)
_TRAILS: Final = 64
_AT_ONCE: Final = 100
"""Sessions that the registry is asked about by one question."""

_Answer = TypeVar("_Answer")

log = structlog.get_logger(__name__)


async def _patiently(ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Ask what may be asked again until it is answered; raises what the last try raises."""
    for pause_s in _PAUSES_S:
        try:
            return await ask()
        except (RegistryUnavailable, TrailsUnavailable):
            await asyncio.sleep(pause_s)
    return await ask()


class _NotPlaced(Exception):
    """The session can't go on here exactly."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Outrun(_NotPlaced):
    """Another node claimed the session meanwhile: it has it now."""


class _Dead:
    """An origin that is gone: where it was when it last told, at or before the client's `s`."""

    def __init__(self, placed: Placed, told_s: int) -> None:
        self._placed = placed
        self._told_s = told_s

    def position_of(self, stream: str) -> int | None:
        """Return the seq up to which the session has a stream, or may have a little more."""
        followed = self._placed.position_of(stream)
        return followed.seq if followed is not None else None

    def knew(self, stream: str) -> bool:
        """Whether the client was told of what this stream is about."""
        followed = self._placed.position_of(stream)
        return followed is not None and followed.since_s < self._told_s


class _Source(NamedTuple):
    """Where a session comes from. `floor`: our `s` must be above it."""

    origin: Origin
    missed: Sequence[Missed]
    floor: int


def _source_of(gift: Gift, told_s: int) -> _Source:
    return _Source(Given(gift.positions), gift.missed, max(gift.s, told_s))


class TakingOver:
    """Takes over sessions. `follow` follows a user and all groups of the user."""

    def __init__(
        self,
        incarnation: str,
        *,
        hub: Hub[LiveSession],
        fanout: Fanout,
        registry: SessionRegistry,
        trails: Trails,
        peers: Peers,
        backlog: Backlog,
        follow: Callable[[int], Awaitable[None]],
        supervisor: Supervisor,
        ttl_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._incarnation = incarnation
        self._hub = hub
        self._fanout = fanout
        self._registry = registry
        self._trails = trails
        self._peers = peers
        self._backlog = backlog
        self._follow = follow
        self._ttl_s = ttl_s
        self._clock = clock
        self._entries = Gathering(self._read_entries, supervisor, most=_AT_ONCE, away=RegistryUnavailable)
        self._claims = Gathering(self._claim_all, supervisor, most=_AT_ONCE, away=RegistryUnavailable)
        self._read: dict[str, tuple[float, Trail | None]] = {}
        self._reading: dict[str, asyncio.Lock] = {}
        self._outages: dict[type[Exception], Outage] = {RegistryUnavailable: Outage(), TrailsUnavailable: Outage()}

    async def entry_of(self, session_id: str) -> SessionEntry | None:
        """Return where the registry says that a session lives; None also if it does not answer, now and in a moment."""
        with contextlib.suppress(RegistryUnavailable):
            return await _patiently(lambda: self._entries.ask(session_id))
        return None

    async def take(
        self, session_id: str, bearer: Bearer, told_s: int, told: Mapping[str, int]
    ) -> tuple[LiveSession, SessionEntry] | None:
        """Return the session, attached here without a connection, and its entry; None if it can't be placed exactly.

        `told_s` and `told`: the last `s` and seqs that the client says it has. Raises `Unavailable`, also where the
        registry or a trail does not answer: a moment's outage must not cost sessions. A longer one does, so that
        clients get on.
        """
        try:
            taken = await self._take_in_time(session_id, bearer, told_s, told)
        except (RegistryUnavailable, TrailsUnavailable) as error:
            if self._outages[type(error)].missed(self._clock()):
                raise Unavailable(str(error)) from error
            reason = str(error)
        except _NotPlaced as error:
            self._outages[RegistryUnavailable].answered()
            reason = error.reason
        else:
            self._outages[RegistryUnavailable].answered()
            return taken
        log.info("session_not_taken_over", user_id=bearer.user_id, reason=reason)
        return None

    async def _take_in_time(
        self, session_id: str, bearer: Bearer, told_s: int, told: Mapping[str, int]
    ) -> tuple[LiveSession, SessionEntry]:
        """Take a session, also where other nodes are faster once or twice."""
        for _ in range(_TRIES - 1):
            with contextlib.suppress(_Outrun):
                return await self._take(session_id, bearer, told_s, told)
        return await self._take(session_id, bearer, told_s, told)

    async def _take(
        self, session_id: str, bearer: Bearer, told_s: int, told: Mapping[str, int]
    ) -> tuple[LiveSession, SessionEntry]:
        user_id = bearer.user_id
        source: _Source | None = None
        entry = await _patiently(lambda: self._entries.ask(session_id))
        if entry is None:
            entry, source = await self._unregistered(session_id, user_id, told_s)
        if entry.user_id != user_id:
            raise _NotPlaced("nobody has it")
        scope = decode_scope(entry.extra)
        if scope is None:
            raise _NotPlaced("nobody knows what it asked for")
        if source is None:
            source = await self._find(entry, told_s)
        await self._follow(user_id)
        await self._catch_up(user_id, source.origin, told)
        changes, group_changes = await self._all_changes(user_id, source.origin)
        # In one step: our positions, the plan from there, and the session's part in all that comes.
        plan = plan_of(self._hub.roster, user_id, source.origin, changes, group_changes, told)
        if plan is None:
            raise _NotPlaced("it stood at a place that is not known")
        session = self._attach(entry, bearer, source.floor, scope)
        try:
            claimed = entry.moved_to(self._incarnation, session.begins_s, told_s)
            await self._claim(claimed)
            events = await self._events_of(plan)
        except BaseException:
            self._hub.roster.detach(session, user_id, self._clock())
            raise
        session.told_s = told_s
        read = (missed for event in events for missed in missed_in(self._hub.roster, plan.sights, event, user_id))
        lacking = (*plan.first, *map(group_told, plan.groups), *read)
        session.backfill = [
            Entry(told_s, one.t, one.d, (session,), one.stream, one.seq, 0.0)
            for one in (*source.missed, *heard_of(scope, user_id, lacking))
        ]
        return session, claimed

    # Where it comes from.

    async def _unregistered(self, session_id: str, user_id: int, told_s: int) -> tuple[SessionEntry, _Source]:
        """Take what the node where a session began could not tell the registry yet, if it still has it."""
        node = session_id.rpartition(".")[0]
        if node != self._incarnation and _INCARNATIONS.fullmatch(node) is not None:
            answer = await self._peers.ask(node, session_id, told_s, user_id)
            if isinstance(answer, Gift):
                entry = SessionEntry(session_id, answer.user_id, 0, (Link(node, told_s),), answer.extra)
                return entry, _source_of(answer, told_s)
        raise _NotPlaced("nobody has it")

    async def _find(self, entry: SessionEntry, told_s: int) -> _Source:
        """Find where the session stood when its client had seen `told_s`.

        A node that died before its first checkpoint of the session leaves it where it came from: what its client was
        sent by that node then comes again.
        """
        upto_s, reason = told_s, "it has ended here"
        for link in reversed(entry.links):
            if link.node != self._incarnation:
                answer = await self._peers.ask(link.node, entry.session_id, upto_s)
                if isinstance(answer, Gone):
                    raise _NotPlaced("its node has let it go")
                if answer is not None:
                    return _source_of(answer, told_s)
                if upto_s >= link.s0:
                    lifted_s = entry.lift(upto_s) if link is entry.links[-1] else upto_s
                    try:
                        return await self._place(link.node, entry.user_id, told_s, lifted_s)
                    except _NotPlaced as error:
                        if not link.came_s or upto_s > link.s0 + RESERVE:
                            raise
                        upto_s, reason = link.came_s, error.reason
            elif (gift := self._peers.given(entry.session_id, upto_s)) is not None:
                return _source_of(gift, told_s)
            elif upto_s >= link.s0:
                break
        raise _NotPlaced(reason)

    async def _place(self, node: str, user_id: int, told_s: int, lifted_s: int) -> _Source:
        """Place a session of a dead node by its trail, where its client had `lifted_s`. We count above `told_s`."""
        trail = await _patiently(lambda: self._trail(node))
        self._outages[TrailsUnavailable].answered()
        placed = trail.place(lifted_s) if trail is not None else None
        if trail is None or placed is None:
            raise _NotPlaced("its node left no trail that goes so far")
        if placed.position_of(user_stream(user_id)) is None:
            raise _NotPlaced("its node did not follow its user")
        return _Source(_Dead(placed, lifted_s), (), max(trail.ceiling, told_s))

    async def _trail(self, node: str) -> Trail | None:
        """Read a dead node's trail, once for all sessions that come while nothing is added to it.

        A node that is only cut off is dead to us, too, and may come back, go on, and die.
        """
        came = self._clock()
        async with self._reading.setdefault(node, asyncio.Lock()):
            at, trail = self._read.get(node, (float("-inf"), None))
            if at < came:
                at = self._clock()
                if trail is None or await self._trails.newest(node) != trail.number:
                    trail = await self._trails.read(node)
                while len(self._read) >= _TRAILS:
                    oldest = next(iter(self._read))
                    del self._read[oldest], self._reading[oldest]
                self._read[node] = at, trail
            return trail

    # Attaching it here.

    async def _catch_up(self, user_id: int, origin: Origin, told: Mapping[str, int]) -> None:
        """Wait until we are where the session stood."""
        until = self._clock() + _LAG_S
        while lagging(self._hub.roster, user_id, origin, told):
            if self._clock() > until:
                # What the client says beyond all that the nodes know does no harm but to itself.
                if lagging(self._hub.roster, user_id, origin, {}):
                    raise Unavailable(
                        "The node is behind where the session stood"
                    )  # its client comes again, here or elsewhere
                return
            await asyncio.sleep(_LOOK_S)
            await self._follow(user_id)

    async def _changes(self, user_id: int, origin: Origin) -> Sequence[Event]:
        """Return the user's own events between the origin's position and ours."""
        unit = user_stream(user_id)
        stood = origin.position_of(unit)
        if stood is None:
            raise _NotPlaced("its node did not follow its user")
        events: Sequence[Event] = ()
        while (position := self._hub.roster.position(unit) or 0) > stood + len(events):
            events = await self._backlog.read(unit, stood, position) or ()
            if not events:
                raise _NotPlaced("too much has happened to its user")
            await self._follow(user_id)
        return [event for event in events if event.record.seq <= position]

    async def _all_changes(self, user_id: int, origin: Origin) -> tuple[Sequence[Event], Mapping[int, Sequence[Event]]]:
        """Return the events between the origin's positions and ours: the user's own, and those of each kept group."""
        found: dict[int, Sequence[Event]] = {}
        while True:
            changes = await self._changes(user_id, origin)
            lacking = []
            for group_id in kept_groups(self._hub.roster, user_id, origin, changes):
                stood = origin.position_of(group_stream(group_id))
                position = self._hub.roster.groups[group_id].seq
                if stood is not None and stood + len(found.get(group_id, ())) < position:
                    lacking.append((group_id, stood, position))
            if not lacking:
                return changes, found
            for group_id, stood, position in lacking:
                events = await self._backlog.read(group_stream(group_id), stood, position)
                if events is None:
                    raise _NotPlaced("too much has happened to its groups")
                found[group_id] = events
            await self._follow(user_id)

    def _attach(self, entry: SessionEntry, bearer: Bearer, floor: int, scope: Scope) -> LiveSession:
        self._fanout.raise_to(floor + 1)
        session = LiveSession(entry.session_id, bearer, self._fanout.s, scope)
        self._hub.roster.attach(session, entry.user_id)
        return session

    async def _claim(self, entry: SessionEntry) -> None:
        if not await _patiently(lambda: self._claims.ask(entry)):
            raise _Outrun("another node has it")

    async def _read_entries(self, session_ids: tuple[str, ...]) -> tuple[dict[str, SessionEntry], tuple[str, ...]]:
        return await self._registry.read_many(session_ids), ()

    async def _claim_all(
        self, entries: tuple[SessionEntry, ...]
    ) -> tuple[dict[SessionEntry, bool], tuple[SessionEntry, ...]]:
        outcomes = await self._registry.claim_many(entries, ttl_s=self._ttl_s)
        return dict(zip(entries, outcomes, strict=True)), ()

    async def _events_of(self, plan: Plan) -> list[Event]:
        """Read what the plan names, in its order."""
        if sum(read.upto - read.after for read in plan.reads) > MOST_MISSED:
            raise _NotPlaced("it has missed too much")
        found = await asyncio.gather(*(self._backlog.read(read.stream, read.after, read.upto) for read in plan.reads))
        events: list[Event] = []
        for read, some in zip(plan.reads, found, strict=True):
            if some is None:
                raise _NotPlaced("what it missed can't be had")
            events += read.told_of(some)
        if not plan.created <= created_in(events):
            raise _NotPlaced("a channel of its group can't be placed")
        return events
