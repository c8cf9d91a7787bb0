"""Following: binding the keys of users and groups, reading their bodies, and letting what was missed be repaired.

Ring 4 (shell). One job per unit at a time (`core.state` says what a unit is). Bind first, then read: what comes
meanwhile the hub holds back and applies behind the body by seq (rule 8 of docs/rules.md). A unit with a hole is
held back alone; after a loss of the queue every unit is, each until it was compared (rule 9).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from typing import Any, Final

import structlog

from services.gateway.bindings import Bindings
from services.gateway.core.fresh import Fresh
from services.gateway.core.hub import Hub
from services.gateway.core.outs import Dispatch, Expel, FollowGroup, Out, Repair
from services.gateway.failures import Failures
from services.gateway.fanout import Fanout
from services.gateway.marking import Marking
from services.gateway.reading import GROUPS_PER_CALL, SESSIONS_PER_CALL, Reading
from services.gateway.repairing import Repairing
from services.gateway.rounds import Rounds
from services.gateway.sessions import LiveSession
from shared.core.account_errors import UnknownUser
from shared.core.calls import ReadHeads, ReadSessions, Sessions
from shared.core.errors import StarlingError, Unavailable
from shared.core.revocation import Revocations
from shared.core.stream import group_stream, owner_of, user_stream
from shared.core.wire.values import Json
from shared.lifecycle import Supervisor
from shared.rpc import Rpc
from shared.topology import Topology

_NEWCOMERS: Final = 96
"""Most users of a round: so many binds go in one write, and so many are read by one call.

A round by itself costs four questions to the database and four messages through the broker, so that few large ones cost
less; but of the sessions that are opened at once (256) there are to be at least two, so that one is at work here while
another is at the servers.
"""
_FIRST_RETRY_S: Final = 0.05
_LAST_RETRY_S: Final = 5.0
_AGAIN_S: Final = 0.5

log = structlog.get_logger(__name__)


def _as_it_is(created: Json, _: Collection[LiveSession]) -> Json:
    """Return a GUILD_CREATE as it is."""
    return created


class Following:
    """Keeps the hub's users and groups followed. `clock` is seconds that never go back.

    `expel` ends those of some sessions whose token is void.
    """

    def __init__(
        self,
        hub: Hub[LiveSession],
        fanout: Fanout,
        expel: Callable[[Collection[LiveSession], Revocations], None],
        bindings: Bindings,
        fresh: Fresh,
        marking: Marking,
        rpc: Rpc,
        topology: Topology,
        supervisor: Supervisor,
        clock: Callable[[], float],
    ) -> None:
        self.welcome: Callable[[Json, Collection[LiveSession]], Json] = _as_it_is
        """What sessions are told that come into a group, made of its GUILD_CREATE."""
        self._hub = hub
        self._fanout = fanout
        self._expel = expel
        self._bindings = bindings
        self._fresh = fresh
        self._marking = marking
        self._topology = topology
        self._supervisor = supervisor
        self._clock = clock
        self._jobs: dict[str, asyncio.Future[StarlingError | None]] = {}
        self._again: set[str] = set()
        self._reading = Reading(rpc, supervisor)
        self._repairing = Repairing(
            hub,
            self._reading,
            perform=self.perform,
            job_of=self._jobs.get,
            is_asked_again=self._again.__contains__,
            clock=clock,
        )
        self._newcomers = Rounds(self._follow_users, supervisor, most=_NEWCOMERS)
        self._failures = Failures("following_failed")

    def perform(self, outs: Iterable[Out[LiveSession]]) -> None:
        """Do what the hub says, at once: send dispatches, start jobs, end sessions."""
        for out in outs:
            match out:
                case Dispatch("GUILD_CREATE", d, sessions):
                    self._fanout.dispatch("GUILD_CREATE", self.welcome(d, sessions), sessions)
                case Dispatch(t, d, sessions, stream, seq):
                    self._fanout.dispatch(t, d, sessions, stream, seq)
                case FollowGroup(group_id):
                    self._begin((group_stream(group_id),), self._follow_until_done(group_id))
                case Repair(unit):
                    self.repair(unit)
                case Expel(sessions, revocations):
                    self._expel(sessions, revocations)

    async def follow(self, user_id: int) -> None:
        """Follow a user and all groups of the user, as they are at the moment of return. Raises as the two below."""
        while True:
            await self.follow_user(user_id)
            missing = self._hub.roster.missing_groups(user_id)
            if not missing:
                return
            await self.follow_groups(missing)

    async def follow_user(self, user_id: int) -> None:
        """Follow a user, and wait until the user is whole. Raises `UnknownUser`, `Unavailable`."""
        unit = user_stream(user_id)
        while not self._hub.roster.is_whole(user_id):
            await self._wait(self._jobs.get(unit) or self._come(user_id, unit))

    async def follow_groups(self, group_ids: Sequence[int]) -> None:
        """Follow these groups; what does not exist is left out. Raises `Unavailable`."""
        fresh = [one for one in group_ids if one not in self._hub.roster.groups and group_stream(one) not in self._jobs]
        for start in range(0, len(fresh), GROUPS_PER_CALL):
            some = fresh[start : start + GROUPS_PER_CALL]
            self._begin([group_stream(one) for one in some], self._follow_groups(some))
        for job in {job for one in group_ids if (job := self._jobs.get(group_stream(one))) is not None}:
            await self._wait(job)

    def repair(self, unit: str) -> None:
        """Read what a unit that is held back has missed, then let it go on."""
        if unit in self._jobs:
            self._again.add(unit)
        else:
            self._begin((unit,), self._repair_until_done(unit))

    def repair_all(self) -> None:
        """Compare every unit, each held back until that is done: something of the node's queue was lost."""
        # What is being read at this moment may have been read before the loss.
        self._again.update(self._jobs)
        self._fresh.add_all(self._clock())
        self._marking.forget_all()
        for unit in self._hub.roster.units():
            self._hub.hold(unit)
            self.repair(unit)

    def leave(self, units: Iterable[str]) -> None:
        """Unbind the keys of units that the hub has stopped following."""
        self._bindings.remove(self._key_of(unit) for unit in units)

    @property
    def busy(self) -> int:
        """How many units are being read or repaired."""
        return len(self._jobs)

    # Jobs.

    def _begin(self, units: Sequence[str], work: Coroutine[Any, Any, None]) -> asyncio.Future[StarlingError | None]:
        done: asyncio.Future[StarlingError | None] = asyncio.get_running_loop().create_future()
        if any(unit in self._jobs for unit in units):
            work.close()  # only live joins meet this; `_go_on` looks after them
            done.set_result(None)
            return done
        for unit in units:
            self._jobs[unit] = done
        self._supervisor.start("follow", self._job(units, work, done))
        return done

    async def _job(
        self, units: Sequence[str], work: Coroutine[Any, Any, None], done: asyncio.Future[StarlingError | None]
    ) -> None:
        failure: StarlingError | None = None
        try:
            await work
        except StarlingError as error:
            failure = error
        finally:
            for unit in units:
                del self._jobs[unit]
            if not done.done():
                done.set_result(failure)
        for unit in units:
            self._go_on(unit)

    def _go_on(self, unit: str) -> None:
        """Begin what was asked for while a unit's job was at work."""
        is_asked = unit in self._again
        self._again.discard(unit)
        if self._hub.roster.position(unit) is None and not self._hub.is_held(unit):
            if unit.startswith("g:") and self._hub.roster.is_wanted(owner_of(unit)):
                self._begin((unit,), self._follow_until_done(owner_of(unit)))
        elif is_asked:
            self._hub.hold(unit)
            self.repair(unit)

    def _release(self, unit: str, *, is_read: bool = False) -> None:
        """Let a unit go on; if something was lost since it was read it stays held, and `_go_on` repairs it."""
        if unit not in self._again:
            self.perform(self._hub.release(unit, self._clock(), is_read=is_read))

    @staticmethod
    async def _wait(job: asyncio.Future[StarlingError | None]) -> None:
        if (failure := await asyncio.shield(job)) is not None:
            raise failure

    def _key_of(self, unit: str) -> str:
        owner = owner_of(unit)
        return self._topology.group_key(owner) if unit.startswith("g:") else self._topology.user_key(owner)

    def _come(self, user_id: int, unit: str) -> asyncio.Future[StarlingError | None]:
        """Follow a user with the next round."""
        self._jobs[unit] = done = asyncio.get_running_loop().create_future()
        self._hub.hold(unit)
        self._newcomers.add(user_id)
        return done

    async def _follow_users(self, user_ids: Sequence[int]) -> None:
        """Bind and read some users together; whoever is not followed in the end hears why."""
        units = {user_id: user_stream(user_id) for user_id in user_ids}
        missing = dict(units)
        failure: StarlingError = Unavailable("the node ends")
        try:
            await self._bindings.add([self._key_of(unit) for unit in units.values()])
            await self._read_newcomers(missing)
            failure = UnknownUser()
        except StarlingError as error:
            failure = error
        finally:
            for unit in missing.values():
                self._hub.abandon(unit)
            self._bindings.remove([self._key_of(unit) for unit in missing.values()])
            for user_id, unit in units.items():
                if not (done := self._jobs.pop(unit)).done():
                    done.set_result(failure if user_id in missing else None)
        for unit in units.values():
            self._go_on(unit)

    async def _read_newcomers(self, missing: dict[int, str]) -> None:
        """Read these users, whose keys are bound, and let them go on; those that there are are taken out of `missing`.

        Raises `Unavailable`, when nothing is read any more.
        """
        ids = tuple(missing)
        parts = (ids[start : start + SESSIONS_PER_CALL] for start in range(0, len(ids), SESSIONS_PER_CALL))
        reads = (self._read_some(part, missing) for part in parts)
        reading = asyncio.gather(*reads, return_exceptions=True)
        self._marking.read_ahead(ids)
        for outcome in await reading:
            if outcome is not None:
                raise outcome

    async def _read_some(self, left: Sequence[int], missing: dict[int, str]) -> None:
        while left:
            told: Sessions = await self._reading.call(ReadSessions(tuple(left)))
            now = self._clock()
            for view in told.views:
                if (unit := missing.pop(view.user.id, None)) is not None:
                    self.perform(self._hub.roster.put_user(view, now))
                    self._fresh.add(unit, now)
                    self._release(unit)
            if len(told.left) >= len(left):
                raise Unavailable("nothing was read")
            left = told.left

    async def _follow_groups(self, group_ids: Sequence[int]) -> None:
        units = [group_stream(group_id) for group_id in group_ids]
        for unit in units:
            self._hub.hold(unit)
        missing = dict.fromkeys(units)
        try:
            await self._bindings.add([self._key_of(unit) for unit in units])
            for view in await asyncio.gather(*map(self._reading.groups.ask, group_ids)):
                if view is None:
                    continue
                unit = group_stream(view.group.id)
                missing.pop(unit, None)
                self.perform(self._hub.roster.put_group(view, self._clock()))
                self._fresh.add(unit, self._clock())
                self._release(unit)
            if missing:
                heads: dict[str, int] = await self._reading.call(ReadHeads(tuple(missing)))
                for unit in missing:
                    self._hub.roster.without_group(owner_of(unit), heads.get(unit, 0))
        finally:
            for unit in missing:
                self._hub.abandon(unit)
            self._bindings.remove([self._key_of(unit) for unit in missing])

    async def _follow_until_done(self, group_id: int) -> None:
        await self._retry(lambda: self._follow_groups((group_id,)), lambda: self._hub.roster.is_wanted(group_id))

    async def _repair_until_done(self, unit: str) -> None:
        await self._retry(lambda: self._repairing.repair(unit), lambda: self._hub.is_held(unit))
        self._release(unit, is_read=True)
        if self._hub.is_held(unit):
            await asyncio.sleep(_AGAIN_S)  # a hole that reading did not fill: not in a hot loop

    async def _retry(self, work: Callable[[], Coroutine[Any, Any, None]], is_wanted: Callable[[], bool]) -> None:
        wait_s = _FIRST_RETRY_S
        while is_wanted():
            try:
                await work()
            except StarlingError as error:
                self._failures.note(error)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _LAST_RETRY_S)
            else:
                return
