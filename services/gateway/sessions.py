"""Sessions: the resumable conversations of this node, attached to a connection or waiting for one.

Ring 4 (shell). A session outlives its connection by the resume window; meanwhile it stays in the hub, so that its
streams stay bound and what it misses goes into the replay log. Who opens sessions is `node`, who resumes them
`resuming`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

from services.gateway.core.frames import CloseCode
from services.gateway.core.hub import Hub
from services.gateway.core.intents import WHOLE, Scope
from services.gateway.core.replay import Entry
from services.gateway.flushing import Flushable
from services.gateway.registrar import Registrar
from services.gateway.registry import NOT_LIFTED, Lifted, SessionEntry
from shared.core.model import ONLINE
from shared.core.revocation import Bearer, Revocations

PER_USER: Final = 20
"""Detached sessions of one user; one more ends the one that was detached longest ago."""


WEBSOCKET: Final = "websocket"
STREAM: Final = "stream"
POLL: Final = "poll"
"""The kinds of connections, as logs have them."""


class Link(Flushable, Protocol):
    """What a session needs of its connection, which is open: who closes it leaves the session in the same step."""

    def push(self, frame: bytes) -> None:
        """Send a whole WebSocket text frame at the end of this turn of the loop."""

    def revoked(self) -> None:
        """Take in that the session's token is void: close, and let the session end."""

    def replaced(self) -> None:
        """Take in that the session goes on elsewhere: close, and touch the session no more."""


def _ignore(user_id: int) -> None:
    """Do nothing about a user whose sessions are not what they were."""


class LiveSession:
    """One session. What it was sent here has an `s` above `begins_s`; the last of it has `last_s`.

    `bearer`: the token that it began with, or was last resumed with; if that is revoked the session ends.
    `backfill`: what it lacked when it came here from another node, for a client that has seen `told_s` there.
    `lifted`: a client that tells the first has all up to the second: it was sent nothing between.
    `scope`: which dispatches it asked for. `presence`: how it shows its user.
    """

    __slots__ = (
        "backfill",
        "bearer",
        "begins_s",
        "detached_at",
        "last_s",
        "lifted",
        "link",
        "presence",
        "scope",
        "session_id",
        "told_s",
        "user_id",
    )

    def __init__(self, session_id: str, bearer: Bearer, begins_s: int, scope: Scope = WHOLE) -> None:
        self.session_id = session_id
        self.bearer = bearer
        self.user_id = bearer.user_id
        self.scope = scope
        self.presence = ONLINE
        self.begins_s = begins_s
        self.link: Link | None = None
        self.detached_at = 0.0
        self.last_s = begins_s
        self.told_s = begins_s
        self.lifted: Lifted = NOT_LIFTED
        self.backfill: Sequence[Entry[LiveSession]] = ()

    def seen(self, s: int, node_s: int) -> bool:
        """Take in that the client has seen what came up to `s`, while the node's counter is at `node_s`.

        True if that is all that the session was sent.
        """
        if not self.last_s <= s <= node_s:
            return False
        self.lifted = (s, node_s)
        self.backfill = ()
        return True

    def lift(self, s: int, node_s: int) -> int:
        """Return the highest `s` up to which a client that tells `s` has all that this session was sent."""
        if s >= self.last_s:
            return max(s, node_s)
        return self.lifted[1] if s == self.lifted[0] else s


class AnyConnection(Link, Protocol):
    """A connection of any kind, as those know it who open, resume and end sessions."""

    kind: str
    """`WEBSOCKET`, `STREAM` or `POLL`."""
    peer: str
    opened_at: float
    user_id: int
    live: LiveSession | None
    close_code: int
    hears_resumed: bool
    """Whether RESUMED tells the client anything."""

    @property
    def waits(self) -> bool:
        """Whether the client waits for what comes of its IDENTIFY or RESUME: it has not closed meanwhile."""

    def begin(self, session: LiveSession) -> bool:
        """Take in that this is the session from now on; False if the connection was closed meanwhile."""

    def not_resumed(self) -> None:
        """Tell the client INVALID_SESSION, unless the connection was closed meanwhile."""

    def answer(self, payload: bytes) -> None:
        """Send a frame to this connection alone; nothing happens once it is closed."""

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Close with a code; what was pushed before still goes out, if the peer reads it in time."""

    def abort(self) -> None:
        """End at once, whatever was pushed."""

    def look(self, now: float) -> None:
        """Look after silence and what stays unread. Called every few seconds."""


class Sessions:
    """The node's sessions by id. `clock` is seconds that never go back."""

    def __init__(
        self, hub: Hub[LiveSession], registrar: Registrar, *, most_detached: int, clock: Callable[[], float]
    ) -> None:
        self.stirred: Callable[[int], None] = _ignore
        """Called with whose session came, went, or lost its connection."""
        self._hub = hub
        self._registrar = registrar
        self._most_detached = most_detached
        self._clock = clock
        self._sessions: dict[str, LiveSession] = {}
        self._left = asyncio.Event()
        registrar.lost = self._give_up_late
        self._detached: OrderedDict[str, LiveSession] = OrderedDict()
        self._detached_of: dict[int, OrderedDict[str, LiveSession]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[LiveSession]:
        return iter(tuple(self._sessions.values()))

    def get(self, session_id: str) -> LiveSession | None:
        """Return a session of this node."""
        return self._sessions.get(session_id)

    def begin(self, session: LiveSession) -> None:
        """Take in a session that begins here; it takes part in the hub already."""
        self._sessions[session.session_id] = session
        self._registrar.add(session.session_id, session.user_id, session.begins_s, session.scope.encoded())
        self.stirred(session.user_id)

    def adopt(self, session: LiveSession, entry: SessionEntry) -> None:
        """Take in a session that was claimed with this entry, and waits for its client."""
        self._sessions[session.session_id] = session
        self._registrar.keep(entry)
        self._wait(session)

    def seen(self, session: LiveSession, s: int, node_s: int) -> None:
        """Take in what a session's client has seen, as `LiveSession.seen`."""
        if session.seen(s, node_s):
            self._registrar.lift(session.session_id, session.lifted)

    def attach(self, session: LiveSession, link: Link) -> None:
        """Give a session its connection; one that it has already is told so."""
        self._forget_detached(session)
        if session.link is not None:
            session.link.replaced()
        session.link = link
        self.stirred(session.user_id)

    def detach(self, session: LiveSession) -> None:
        """Let a session wait for its client. Where too many wait, the one that has waited longest ends."""
        session.link = None
        self._wait(session)
        self.stirred(session.user_id)
        of_user = self._detached_of[session.user_id]
        if len(of_user) > PER_USER:
            self.end(next(iter(of_user.values())))
        elif len(self._detached) > self._most_detached:
            self.end(next(iter(self._detached.values())))

    def end(self, session: LiveSession) -> None:
        """End a session for good."""
        self._forget(session)
        self._registrar.remove(session.session_id)

    def expel(self, sessions: Iterable[LiveSession], revocations: Revocations) -> None:
        """End those of these sessions whose token is void. One that is just being taken over ends when it is here."""
        for session in sessions:
            if not revocations.void(session.bearer) or self._sessions.get(session.session_id) is not session:
                continue
            if session.link is not None:
                session.link.revoked()
            else:
                self.end(session)

    def give_up_overtaken(self, entry: SessionEntry) -> None:
        """Let go of a session if this entry of the registry says that another node has claimed it since."""
        if self._registrar.is_overtaken(entry):
            self._give_up_late(entry.session_id)

    def give_up(self, session: LiveSession) -> None:
        """Let go of a session that goes on at another node."""
        self._forget(session)
        self._registrar.forget(session.session_id)

    def _give_up_late(self, session_id: str) -> None:
        if (session := self._sessions.get(session_id)) is not None:
            self.give_up(session)

    async def wait_given(self, since: float, most_s: float) -> None:
        """Wait until all sessions that were detached since then live elsewhere or have ended, but not for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                while any(session.detached_at >= since for session in self):
                    self._left.clear()
                    await self._left.wait()

    def end_expired(self, window_s: float) -> None:
        """End the sessions that have waited for longer than the window."""
        now = self._clock()
        while self._detached:
            session = next(iter(self._detached.values()))
            if now - session.detached_at < window_s:
                break
            self.end(session)

    def _forget(self, session: LiveSession) -> None:
        link, session.link = session.link, None
        if link is not None:
            link.replaced()
        self._hub.roster.detach(session, session.user_id, self._clock())
        if self._sessions.pop(session.session_id, None) is not None:
            self._forget_detached(session)
        self.stirred(session.user_id)
        self._left.set()

    def _wait(self, session: LiveSession) -> None:
        session.detached_at = self._clock()
        self._detached[session.session_id] = session
        self._detached_of.setdefault(session.user_id, OrderedDict())[session.session_id] = session

    def _forget_detached(self, session: LiveSession) -> None:
        if self._detached.pop(session.session_id, None) is not None:
            of_user = self._detached_of[session.user_id]
            del of_user[session.session_id]
            if not of_user:
                del self._detached_of[session.user_id]

    def statistics(self) -> dict[str, float]:
        """Return counts for metrics."""
        return {"attached": len(self._sessions) - len(self._detached), "detached": len(self._detached)}
