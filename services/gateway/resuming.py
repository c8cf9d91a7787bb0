"""Resuming: what happens to a RESUME, and to a request of another node for one of our sessions.

Ring 4 (shell). A session of this node goes on from the replay log, at once; one that lived elsewhere is taken over
first (`taking_over`). What can't be exact is INVALID_SESSION, never a silent hole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from services.gateway.core import frames
from services.gateway.core.frames import CloseCode
from services.gateway.core.handover import Missed
from services.gateway.core.hub import Hub
from services.gateway.core.replay import Entry, not_had
from services.gateway.core.takeover import streams_of
from services.gateway.fanout import Fanout
from services.gateway.peers import Gift
from services.gateway.sessions import AnyConnection, LiveSession, Sessions
from services.gateway.taking_over import TakingOver
from shared.auth import Tokens
from shared.core.account_errors import UnknownUser
from shared.core.errors import StarlingError, Unauthorized
from shared.core.revocation import Bearer
from shared.lifecycle import Supervisor
from shared.metrics import Metrics

_TAKING_S: Final = 20.0
"""How long taking a session over may take, the wait for its turn included."""
_SETTLING_S: Final = 1.0
"""How long giving a session away waits for its user's own stream to say what its groups' streams said already."""
_LOOK_S: Final = 0.02
_AT_ONCE: Final = 256
_LONGEST_ID: Final = 128
RESUMED: Final = b'{"_trace":[]}'

log = structlog.get_logger(__name__)


class Resuming:
    """Answers RESUME, and gives sessions away."""

    def __init__(
        self,
        *,
        hub: Hub[LiveSession],
        fanout: Fanout,
        sessions: Sessions,
        taking_over: TakingOver,
        follow: Callable[[int], Awaitable[None]],
        tokens: Tokens,
        supervisor: Supervisor,
        metrics: Metrics,
    ) -> None:
        self._hub = hub
        self._fanout = fanout
        self._sessions = sessions
        self._taking_over = taking_over
        self._follow = follow
        self._tokens = tokens
        self._supervisor = supervisor
        self._taking: dict[str, asyncio.Future[LiveSession | None]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._resumes = metrics.counter("starling_gateway_resumes_total", "RESUMEs by what came of them", ("outcome",))

    def resume(self, connection: AnyConnection, resume: frames.Resume) -> None:
        """Answer a RESUME, now or soon."""
        try:
            bearer = self._tokens.verify(resume.token)
        except Unauthorized:
            self._keep_out(connection)
            return
        if resume.seq is None or not 0 < len(resume.session_id) <= _LONGEST_ID:
            self._refuse(connection)
        elif self._sessions.get(resume.session_id) is not None:
            self._supervisor.start("resume", self._resume_here(connection, bearer, resume.seq, resume))
        else:
            self._supervisor.start("resume", self._take(connection, bearer, resume.seq, resume))

    async def give(self, session_id: str, told_s: int, user_id: int = 0) -> Gift | None:
        """Take a session out of this node for another one; None if it is not here, or can't be given whole.

        With a `user_id` also if it is another user's.
        """
        if (taking := self._taking.get(session_id)) is not None:
            await asyncio.wait({taking})
        session = await self._settled(session_id)
        if session is None or user_id not in (0, session.user_id):
            return None
        missed = self._missed_by(session, told_s)
        if missed is None:
            self._sessions.end(session)
            return None
        roster = self._hub.roster
        positions = {stream: roster.position(stream) or 0 for stream in streams_of(roster, session.user_id)}
        self._sessions.give_up(session)
        self._resumes.labels("given").inc()
        entries = [Missed(entry.t, entry.d, entry.stream, entry.seq) for entry in missed]
        return Gift(session.user_id, self._fanout.s, positions, entries, session.scope.encoded())

    async def _settled(self, session_id: str) -> LiveSession | None:
        """Return a session of ours, soon, when its user's own stream says what it was told by its groups' streams.

        Who takes it over is then at least as far; else it would let the session into a group that it has left.
        """
        until = asyncio.get_running_loop().time() + _SETTLING_S
        while (session := self._sessions.get(session_id)) is not None:
            user = self._hub.roster.users[session.user_id]
            if not user.ahead or asyncio.get_running_loop().time() > until:
                break
            await asyncio.sleep(_LOOK_S)
        return session

    async def _resume_here(self, connection: AnyConnection, bearer: Bearer, told_s: int, resume: frames.Resume) -> None:
        """Go on with a session of ours, unless the registry knows better.

        While others could not reach us they took us for dead, and may have gone on with it: what its client has seen
        since then was counted by them. Where the registry does not answer for some seconds, nobody knows better: it
        goes on.
        """
        entry = await self._taking_over.entry_of(resume.session_id)
        if entry is not None:
            self._sessions.give_up_overtaken(entry)
        if not connection.waits:
            return
        session = self._sessions.get(resume.session_id)
        if session is not None:
            self._go_on(connection, session, bearer, resume, "here")
        else:
            await self._take(connection, bearer, told_s, resume)

    async def _take(self, connection: AnyConnection, bearer: Bearer, told_s: int, resume: frames.Resume) -> None:
        """Take a session over and go on with it; who asks twice at once waits for the same."""
        session_id = resume.session_id
        try:
            # First, so that who has a void token moves no session.
            async with asyncio.timeout(_TAKING_S), self._turns:
                await self._follow(bearer.user_id)
            if not connection.waits:
                return  # its client may have gone on at another node, which must keep the session
            session = self._sessions.get(session_id)  # it may have come meanwhile
            if session is None and not self._hub.roster.voids(bearer):
                session = await asyncio.shield(self._begin_taking(session_id, bearer, told_s, resume))
        except UnknownUser:
            self._keep_out(connection)
            return
        except (StarlingError, TimeoutError) as error:
            log.warning("session_not_resumed", reason=repr(error))
            self._resumes.labels("unavailable").inc()
            connection.close(CloseCode.UNKNOWN_ERROR, "the session could not be resumed, try again")
            return
        if self._hub.roster.voids(bearer):
            self._keep_out(connection)
        elif session is None or self._sessions.get(session_id) is not session:
            self._refuse(connection)
        else:
            self._go_on(connection, session, bearer, resume, "moved")

    def _begin_taking(
        self, session_id: str, bearer: Bearer, told_s: int, resume: frames.Resume
    ) -> asyncio.Future[LiveSession | None]:
        taking = self._taking.get(session_id)
        if taking is None:
            told = frames.positions_of(resume)
            taking = self._taking[session_id] = asyncio.get_running_loop().create_future()
            self._supervisor.start("take_over", self._finish_taking(taking, session_id, bearer, told_s, told))
        return taking

    async def _finish_taking(
        self,
        taking: asyncio.Future[LiveSession | None],
        session_id: str,
        bearer: Bearer,
        told_s: int,
        told: dict[str, int],
    ) -> None:
        try:
            taking.set_result(await self._taken(session_id, bearer, told_s, told))
        except (StarlingError, TimeoutError) as error:
            taking.set_exception(error)
        finally:
            del self._taking[session_id]
            taking.cancel()  # nothing if it is done; else the node ends

    async def _taken(self, session_id: str, bearer: Bearer, told_s: int, told: dict[str, int]) -> LiveSession | None:
        async with asyncio.timeout(_TAKING_S), self._turns:
            taken = await self._taking_over.take(session_id, bearer, told_s, told)
        if taken is None:
            return None
        session, entry = taken
        self._sessions.adopt(session, entry)
        if self._hub.roster.voids(session.bearer):
            self._sessions.end(session)
            return None
        return session

    def _go_on(
        self, connection: AnyConnection, session: LiveSession, bearer: Bearer, resume: frames.Resume, outcome: str
    ) -> None:
        """Send what was missed and RESUMED, in one step with giving the session its connection."""
        if session.user_id != bearer.user_id or resume.seq is None:
            self._refuse(connection)
            return
        if self._hub.roster.voids(bearer):
            self._keep_out(connection)
            return
        missed = self._missed_by(session, resume.seq)
        if missed is None:
            self._sessions.end(session)
            self._refuse(connection)
            return
        if not connection.begin(session):
            return  # closed meanwhile
        session.bearer = bearer
        self._sessions.attach(session, connection)
        self._sessions.seen(session, resume.seq, self._fanout.s)
        for entry in not_had(missed, frames.positions_of(resume)):
            self._fanout.tell_again(connection, entry.t, entry.d, entry.s)
        if connection.hears_resumed:
            self._fanout.tell_again(connection, "RESUMED", RESUMED, self._fanout.s)
        self._resumes.labels(outcome).inc()

    def _missed_by(self, session: LiveSession, told_s: int) -> list[Entry[LiveSession]] | None:
        """Return what a session was sent that its client has not seen; None if that is not all here."""
        if told_s > self._fanout.s:
            return None
        if told_s >= session.begins_s:
            return self._fanout.log.after(session.lift(told_s, self._fanout.s), session)
        here = self._fanout.log.after(session.begins_s, session)
        if told_s != session.told_s or here is None:
            return None
        return [*session.backfill, *here]

    def _keep_out(self, connection: AnyConnection) -> None:
        self._resumes.labels("unauthorized").inc()
        connection.close(CloseCode.AUTHENTICATION_FAILED)

    def _refuse(self, connection: AnyConnection) -> None:
        self._resumes.labels("invalid").inc()
        connection.not_resumed()
