"""Jobs: what a change asks for in many other streams, done after its answer and finished by anyone.

Ring 4 (shell). A job is stored before the change that needs it, due at a time when that change is over one way or the
other; when it was stored the job is due at once. Or it is asked for by what follows from the event, before that counts
as published (`Changes`). So a process that dies anywhere leaves a job that some replica's sweeper takes up (rule 12 of
docs/rules.md). All jobs are idempotent: two may run at once, and one that has nothing to do changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from services.groups.store import GroupStore, Job
from shared.core.errors import StarlingError
from shared.core.ids import IdSource
from shared.streams import StoreUnavailable

RENAME: Final = "rename"
"""The job that tells a user's groups and direct channels what the user is called."""

LEAVE: Final = "leave"
"""The job that finishes the deletion of an account."""
STOP: Final = "stop"
"""The job that voids the tokens of a blocked account."""

DISBAND: Final = "disband"
"""The job that tells the members of a deleted group that they are out; its number is the group's id."""
OFFICIAL: Final = "official"
"""The job that lets a new user into the official group."""
CLOSE: Final = "close"
"""The job that closes or opens a direct channel; its number is the channel's id."""

JOIN_DIRECT: Final = "join-direct"
"""The job that tells a user of being in a group DM; its number says who and where (`group_directs.pair_of`)."""
LEAVE_DIRECT: Final = "leave-direct"
"""The job that tells a user of being out of a group DM; its number says who and where."""

PURGE: Final = "purge"
"""The job that has deleted what a banned user wrote in a group; its number says who, where, since when and for whom."""
SCRUB: Final = "scrub"
"""The same in one channel, from some message on back."""

UNSURE_MS: Final = 20_000
"""When a job is taken up whose change never said how it ended: above the deadline of a change."""
LEASE_MS: Final = 60_000
"""When a job is taken up that another process has begun; then it is tried again."""
_AT_ONCE: Final = 20
_NAP_S: Final = 1.0

log = structlog.get_logger(__name__)

Work = Callable[[int], Awaitable[None]]
"""Does the work for a user, or what the kind says.

Raises `StoreUnavailable` or what the catalogue has, to be called again later.
"""


class Jobs:
    """Jobs; `works` maps their kinds to what does them. All raise `StoreUnavailable`."""

    def __init__(self, groups: GroupStore, ids: IdSource, now: Callable[[], int]) -> None:
        self._groups = groups
        self._ids = ids
        self._now = now
        self._works: dict[str, Work] = {}
        self._woken = asyncio.Event()

    def do(self, works: Mapping[str, Work]) -> None:
        """Take in who does jobs of these kinds."""
        self._works |= works

    async def promise(self, kind: str, number: int, *, unsure_ms: int = UNSURE_MS) -> Job:
        """Store a job for a change that is about to be made, and is over one way or the other after `unsure_ms`."""
        now = self._now()
        job = Job(f"{kind}:{number}", now + unsure_ms, self._ids.next_id(now))
        await self._groups.put_job(job)
        return job

    async def release(self, job: Job) -> None:
        """Have a promised job done now: its change was stored."""
        if await self._groups.take_job(job, self._now()) is not None:
            self._woken.set()

    async def drop(self, job: Job) -> None:
        """Take a promised job back: its change is surely not made."""
        await self._groups.end_job(job)

    async def ask(self, kind: str, number: int) -> None:
        """Have something done now."""
        now = self._now()
        await self._groups.put_job(Job(f"{kind}:{number}", now, self._ids.next_id(now)))
        self._woken.set()

    async def finish(self, job: Job) -> None:
        """Do a promised job at once, before the change is answered; if that fails it is put off."""
        if (taken := await self._groups.take_job(job, self._now() + LEASE_MS)) is not None:
            await self._run(taken)

    async def sweep(self) -> int:
        """Do what is due, at most 20 jobs; return how many were done."""
        done = 0
        for job in await self._groups.find_jobs(self._now() + 1, _AT_ONCE):
            taken = await self._groups.take_job(job, self._now() + LEASE_MS)
            if taken is not None and await self._run(taken):
                done += 1
        return done

    async def _run(self, job: Job) -> bool:
        kind, _, number = job.key.partition(":")
        try:
            async with asyncio.timeout(LEASE_MS / 1000):
                await self._works[kind](int(number))
        except (StarlingError, StoreUnavailable, TimeoutError) as error:
            log.warning("job_put_off", job=kind, reason=repr(error))
            return False
        await self._groups.end_job(job)
        return True

    async def run_sweeper(self) -> None:
        """Do what is due, once a second and whenever this process asks for something, for ever. A supervised task."""
        while True:
            self._woken.clear()
            try:
                if done := await self.sweep():
                    log.info("jobs_done", jobs=done)
            except StoreUnavailable as error:
                log.warning("jobs_not_found", reason=repr(error))
            try:
                async with asyncio.timeout(_NAP_S):
                    await self._woken.wait()
            except TimeoutError:
                continue
