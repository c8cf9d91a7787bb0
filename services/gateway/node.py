"""The node: its connections and sessions, from the first frame to the last.

Ring 4 (shell). Does what the session machines ask for (`core.session`), opens sessions, looks after silent and stuck
connections, and lets all go when the process ends. Sends are `sending`, events `delivery`, bodies `following`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
from websockets.frames import CloseCode as WsCloseCode

from services.gateway.asking import Asking
from services.gateway.connection import Connection
from services.gateway.core import frames
from services.gateway.core.admission import Admission, Proxies
from services.gateway.core.board import presence_from
from services.gateway.core.frames import CloseCode
from services.gateway.core.hub import Hub
from services.gateway.core.intents import scope_of
from services.gateway.core.session import (
    Action,
    Close,
    Confirm,
    Continue,
    FindMembers,
    Open,
    Post,
    SessionRules,
    Show,
)
from services.gateway.core.snapshot import first_dispatches
from services.gateway.fanout import Fanout
from services.gateway.following import Following
from services.gateway.marking import Marking
from services.gateway.resuming import Resuming
from services.gateway.sending import Sending
from services.gateway.sessions import POLL, WEBSOCKET, AnyConnection, LiveSession, Sessions
from services.gateway.showing import Showing
from shared.auth import Tokens
from shared.core.account_errors import UnknownUser
from shared.core.calls import Marker
from shared.core.errors import RateLimited, StarlingError, Unauthorized
from shared.core.revocation import Bearer
from shared.core.wire.values import id_of
from shared.http_limits import note
from shared.lifecycle import Supervisor
from shared.metrics import Metrics
from shared.settings import GatewaySettings

_OPENING_S: Final = 20.0
"""How long opening a session may take; discord.js wants READY within 15 s and then comes again."""
_PER_TURN: Final = 500
"""How many connections are looked at before the loop does something else."""
_LEAVING_S: Final = 7.0
_WAVE_S: Final = 0.1
_GIVING_S: Final = 8.0
"""How long a node that goes down waits for its clients to come back elsewhere: they may take 5 s."""
_OUTCOMES: Final = ("opened", "unauthorized", "limited", "unavailable", "gone")
_FINAL: Final = frozenset(
    {
        WsCloseCode.NORMAL_CLOSURE,
        WsCloseCode.GOING_AWAY,
        *(code for code in CloseCode if code.then != "resume"),
    }
)
"""Codes after which a session is over. A client that may come back closes with another one, or not at all."""

log = structlog.get_logger(__name__)


class Node:
    """All connections of one process. Each is told to it by `Connection` (see its `Host`)."""

    def __init__(
        self,
        incarnation: str,
        settings: GatewaySettings,
        rules: SessionRules,
        *,
        hub: Hub[LiveSession],
        fanout: Fanout,
        following: Following,
        marking: Marking,
        sending: Sending,
        sessions: Sessions,
        showing: Showing,
        resuming: Resuming,
        asking: Asking,
        tokens: Tokens,
        supervisor: Supervisor,
        metrics: Metrics,
        admission: Admission,
        proxies: Proxies,
        url_of: Callable[[int], str],
        limits_connections: bool,
        has_peers: bool,
        now: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self.incarnation = incarnation
        self.rules = rules
        self.fanout = fanout
        self.origins = settings.origins
        self.admission = admission
        self.proxies = proxies
        self.send_buffer_bytes = settings.send_buffer_bytes
        self.send_buffer_s = settings.send_buffer_time.total_seconds()
        self.stream_heartbeat_s = settings.stream_heartbeat.total_seconds()
        self.clock = clock
        self.is_draining = False
        self._max_connections = settings.max_connections if limits_connections else 0
        self._max_streams = settings.max_streams if limits_connections else 0
        self._openings = asyncio.Semaphore(settings.openings_at_once)
        self._linger_s = settings.unbind_linger.total_seconds()
        self._hub = hub
        self._following = following
        self._marking = marking
        self._sending = sending
        self._sessions = sessions
        self._now = now
        self._showing = showing
        self._resuming = resuming
        self._asking = asking
        self._resume_window_s = settings.resume_window.total_seconds()
        self._tokens = tokens
        self._supervisor = supervisor
        self._url_of = url_of
        self._has_peers = has_peers
        self._drain_s = settings.drain_time.total_seconds()
        self._connections: set[AnyConnection] = set()
        self._streams = 0
        self._all_gone = asyncio.Event()
        self._all_gone.set()
        self._closed = metrics.counter(
            "starling_gateway_connections_closed_total",
            "connections by the code they were closed with",
            ("kind", "code"),
        )
        opened = metrics.counter("starling_gateway_sessions_total", "IDENTIFYs by what came of them", ("outcome",))
        self._outcomes = {outcome: opened.labels(outcome) for outcome in _OUTCOMES}
        self._log = log.bind()  # once: each line of a connection would look its configuration up

    # What connections call.

    def admit(self, connection: AnyConnection) -> bool:
        """Take in a new connection, unless there are too many or the node goes down."""
        if self.is_draining or (self._max_connections and len(self._connections) >= self._max_connections):
            return False
        if connection.kind != WEBSOCKET:
            if self._max_streams and self._streams >= self._max_streams:
                return False
            self._streams += 1
        self._connections.add(connection)
        self._all_gone.clear()
        self._tell_of(connection)("connection_opened", kind=connection.kind, peer=connection.peer)
        return True

    def require_poll(self, token: str) -> None:
        """Count a request for events. Raises `Unauthorized` without a token of ours, `RateLimited`."""
        spent = self.admission.count_poll(self._tokens.verify(token).user_id, self.clock())
        if spent is not None and (wait_s := note("polls", spent).wait_s):
            raise RateLimited(retry_after=wait_s)

    def act(self, connection: Connection, action: Action) -> None:
        """Do what a client's frame asks for."""
        match action:
            case Confirm(s):
                connection.answer(frames.HEARTBEAT_ACK)
                if s is not None and connection.live is not None:
                    self._sessions.seen(connection.live, s, self.fanout.s)
            case Close():
                connection.end(action)
            case Post(message):
                if not self._sending.post(connection, message) and (close := connection.session.refused(self.clock())):
                    connection.end(close)
            case Open(identify):
                self.open(connection, identify)
            case Continue(resume):
                self.resume(connection, resume)
            case Show(asked) if connection.live is not None:
                self._show(connection.live, asked.status, asked.activities)
            case FindMembers(request):
                self._find_members(connection, request)

    def open(self, connection: AnyConnection, identify: frames.Identify) -> None:
        """Open a session soon, or close the connection."""
        self._supervisor.start("open", self._open(connection, identify))

    def resume(self, connection: AnyConnection, resume: frames.Resume) -> None:
        """Go on with a session, now or soon; or say INVALID_SESSION, or close the connection."""
        self._resuming.resume(connection, resume)

    def leave(self, connection: AnyConnection) -> None:
        """Take in that a conversation ended; its session waits to be resumed, unless the code says otherwise."""
        session, connection.live = connection.live, None
        if session is None:
            return
        if connection.close_code in _FINAL:
            self._sessions.end(session)
        else:
            self._sessions.detach(session)

    def lost(self, connection: AnyConnection) -> None:
        """Take in that a connection's socket is closed."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        if connection.kind != WEBSOCKET:
            self._streams -= 1
        if not self._connections:
            self._all_gone.set()
        self._closed.labels(connection.kind, _code_label(connection.close_code)).inc()
        self._tell_of(connection)(
            "connection_closed",
            kind=connection.kind,
            code=connection.close_code,
            user_id=connection.user_id or None,
            seconds=round(self.clock() - connection.opened_at, 3),
        )

    # Sessions.

    async def _open(self, connection: AnyConnection, identify: frames.Identify) -> None:
        """Open a session: follow what its user may see, then, in one step, tell all of it and attach."""
        outcome = "opened"
        try:
            async with asyncio.timeout(_OPENING_S):
                bearer = self._tokens.verify(identify.token)
                self._require_good(bearer)  # before it spends a turn of its user
                self.admission.require_turn(bearer.user_id, self.clock())
                async with self._openings:
                    markers = await self._follow(bearer.user_id)
                self._require_good(bearer)
                self.admission.require_room(
                    sum(one.link is not None for one in self._hub.roster.users[bearer.user_id].sessions)
                )
        except (Unauthorized, UnknownUser):
            outcome = "unauthorized"
            connection.close(CloseCode.AUTHENTICATION_FAILED)
        except RateLimited:
            outcome = "limited"
            connection.close(CloseCode.RATE_LIMITED, "too many sessions of this user")
        except (StarlingError, TimeoutError) as error:
            outcome = "unavailable"
            log.warning("session_not_opened", reason=repr(error))
            connection.close(CloseCode.UNKNOWN_ERROR, "the session could not be opened, try again")
        else:
            # Nothing is awaited from the last look at what is followed to here, nor below.
            if self.is_draining or not self._attach(connection, bearer, identify, markers):
                outcome = "gone"
        self._outcomes[outcome].inc()

    async def _follow(self, user_id: int) -> Sequence[Marker] | None:
        """Follow a user and all of its groups as of now, and return how far it has read, if that is known."""
        self._marking.expect(user_id)
        try:
            await self._following.follow(user_id)
            markers = await self._marking.of(user_id)
        finally:
            self._marking.forget(user_id)
        await self._following.follow(user_id)  # what came meanwhile; mostly nothing is awaited
        return markers

    def _require_good(self, bearer: Bearer) -> None:
        """Raise `Unauthorized` if the token is void as far as is known here: all, once its user is followed."""
        if self._hub.roster.voids(bearer):
            raise Unauthorized

    def _attach(
        self,
        connection: AnyConnection,
        bearer: Bearer,
        identify: frames.Identify,
        markers: Sequence[Marker] | None,
    ) -> bool:
        """Begin the session and tell all that it begins with; False if the connection was closed meanwhile."""
        user_id = bearer.user_id
        if self.fanout.is_worn_out:
            self._begin_clock_anew()
        session_id = f"{self.incarnation}.{secrets.token_hex(8)}"
        scope = scope_of(identify.intents, identify.shard)
        session = LiveSession(session_id, bearer, self.fanout.s, scope)
        if not connection.begin(session):
            return False
        session.link = connection
        self._hub.roster.attach(session, user_id)
        hub = self._hub
        for t, d in first_dispatches(
            hub.roster.users[user_id],
            hub.roster.groups,
            hub.roster.channels,
            hub.roster.directs.of(user_id),
            session_id=session_id,
            resume_url=self._url_of(user_id),
            shard=identify.shard,
            scope=scope,
            markers=markers,
            presences=self._showing.known,
        ):
            self.fanout.tell(connection, t, d)
        session.begins_s = session.last_s = session.told_s = self.fanout.s
        self._sessions.begin(session)
        if isinstance(identify.presence, dict):
            self._show(session, identify.presence.get("status"), identify.presence.get("activities"))
        return True

    def _show(self, session: LiveSession, status: object, activities: object) -> None:
        session.presence = presence_from(status, activities, self._now())
        self._sessions.stirred(session.user_id)

    def _begin_clock_anew(self) -> None:
        """Let all sessions identify anew, since `s` has no room left."""
        for connection in self._connections:
            if connection.live is not None:
                connection.answer(frames.INVALID_SESSION)
        for session in self._sessions:
            self._sessions.end(session)
        self.fanout.rewind()

    def _find_members(self, connection: Connection, request: frames.RequestMembers) -> None:
        group_id = id_of(request.guild_id)
        if group_id is None:
            connection.close(CloseCode.DECODE_ERROR)
            return
        self._asking.ask(connection, group_id, request)

    def _tell_of(self, connection: AnyConnection) -> Callable[..., None]:
        """Return how connections of this kind are logged: a long poll has its line as a request."""
        tell: Callable[..., None] = self._log.debug if connection.kind == POLL else self._log.info
        return tell

    # The whole node.

    async def sweep(self, every_s: float) -> None:
        """Look after silent and stuck connections and after what nobody needs any more, for ever."""
        while True:
            await asyncio.sleep(every_s)
            await self.sweep_once()

    async def sweep_once(self) -> None:
        """Close the silent, drop the stuck, stop following what was unused for long."""
        for index, connection in enumerate(tuple(self._connections), 1):
            connection.look(self.clock())
            if index % _PER_TURN == 0:
                await asyncio.sleep(0)
        self._sessions.end_expired(self._resume_window_s)
        self._following.leave(self._hub.roster.sweep(self.clock(), self._linger_s))

    async def drain(self) -> None:
        """Send all clients elsewhere, in waves, and give their sessions to the nodes where they go on.

        May be called again.
        """
        self.is_draining = True
        began = self.clock()
        connections = tuple(self._connections)
        per_wave = max(_PER_TURN // 10, round(len(connections) * _WAVE_S / self._drain_s) if self._drain_s else 0)
        for index, connection in enumerate(connections, 1):
            connection.answer(frames.RECONNECT)
            connection.close(CloseCode.UNKNOWN_ERROR, "the node goes down")
            if index % per_wave == 0 and index < len(connections):
                await asyncio.sleep(_WAVE_S)
        try:
            async with asyncio.timeout(_LEAVING_S):
                await self._all_gone.wait()
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()
        if self._has_peers:
            self._has_peers = False
            await self._sessions.wait_given(began, _GIVING_S)

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {"connections": len(self._connections), "streams": self._streams, "units_at_work": self._following.busy}


def _code_label(code: int) -> str:
    """Return a close code as a metric label: clients may send any of thousands."""
    known: Any = {*(int(one) for one in CloseCode), *(int(one) for one in WsCloseCode)}
    return str(code) if code in known else "other"
