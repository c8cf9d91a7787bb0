"""One connection's conversation: what each client frame means, and when silence is too long.

Ring 1 (core). Synchronous: takes bytes and `now` (seconds of a clock that never goes back), returns actions for
the shell (`services.gateway.connection`). After a `Close` there is nothing more. A session begins with IDENTIFY
or goes on with RESUME; it outlives the connection (`services.gateway.sessions`). Frames are `frames`, budgets
are `limits`.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from services.gateway.core import frames
from services.gateway.core.frames import CloseCode
from services.gateway.core.intents import is_shard
from services.gateway.core.limits import Window

CONTROLS_PER_MINUTE: Final = 600
"""Pings, pongs and continuation frames: far above what any client needs."""

REFUSED_SENDS: Final = 10
"""So many times the frame budget may sends be refused for their own budget before the connection is closed."""


class Phase(Enum):
    """How far a connection is."""

    NEW = "new"
    OPENING = "opening"
    READY = "ready"
    CLOSED = "closed"


class SessionRules(msgspec.Struct, frozen=True):
    """What holds for every connection of a node. `frames_per_minute` = 0: no budgets."""

    heartbeat_interval_s: float = 41.25
    identify_timeout_s: float = 15.0
    frames_per_minute: int = 120
    content_characters: int = 2000

    @property
    def send_limit(self) -> int:
        """How many bytes a MESSAGE_SEND may have."""
        return frames.send_bytes_limit(self.content_characters)

    @property
    def silence_s(self) -> float:
        """How long a client may say nothing: two heartbeats."""
        return 2 * self.heartbeat_interval_s


class Close(msgspec.Struct, frozen=True):
    """Close the connection."""

    code: CloseCode
    reason: str = ""


class Open(msgspec.Struct, frozen=True):
    """Authenticate and open the session; then call `opened`."""

    identify: frames.Identify


class Continue(msgspec.Struct, frozen=True):
    """Authenticate and go on with an older session, then call `opened`; if it can't be, `not_resumed`."""

    resume: frames.Resume


class Confirm(msgspec.Struct, frozen=True):
    """Answer a heartbeat whose client has seen the frames up to `s` (None: not told)."""

    s: int | None


class Post(msgspec.Struct, frozen=True):
    """Send this message on behalf of the session's user."""

    message: frames.SendMessage


class FindMembers(msgspec.Struct, frozen=True):
    """Answer with GUILD_MEMBERS_CHUNK."""

    request: frames.RequestMembers


class Show(msgspec.Struct, frozen=True):
    """Show the session's user so."""

    presence: frames.UpdatePresence


Action = Close | Open | Continue | Confirm | Post | FindMembers | Show


class Session:
    """The machine of one connection."""

    __slots__ = ("_began", "_controls", "_frames", "_heard", "_refused", "phase", "rules")

    def __init__(self, rules: SessionRules, now: float) -> None:
        self.rules = rules
        self.phase = Phase.NEW
        self._began = now
        self._heard = now
        self._frames = Window(rules.frames_per_minute, 60.0)
        self._controls = Window(CONTROLS_PER_MINUTE if rules.frames_per_minute else 0, 60.0)
        self._refused = Window(rules.frames_per_minute * REFUSED_SENDS, 60.0)

    def receive(self, data: bytes, now: float, *, text: bool = True) -> Action | None:
        """Take one message of the client; return what is to be done about it."""
        if self.phase is Phase.CLOSED:
            return None
        self._heard = now
        frame = frames.decode_frame(data, text=text, send_limit=self.rules.send_limit)
        if isinstance(frame, CloseCode):
            return self.close(frame)
        if not isinstance(frame, frames.SendMessage) and not self._frames.take(now):
            return self.close(CloseCode.RATE_LIMITED)
        match frame:
            case frames.Heartbeat(s):
                return Confirm(s)
            case frames.Identify() | frames.Resume() if self.phase is not Phase.NEW:
                return self.close(CloseCode.ALREADY_AUTHENTICATED)
            case frames.Identify(shard=shard) if shard is not None and not is_shard(*shard):
                return self.close(CloseCode.INVALID_SHARD)
            case frames.Identify():
                self.phase = Phase.OPENING
                return Open(frame)
            case frames.Resume():
                self.phase = Phase.OPENING
                return Continue(frame)
            case _ if self.phase is Phase.NEW:
                return self.close(CloseCode.NOT_AUTHENTICATED)
            case frames.Ignored():
                return None
            case frames.UpdatePresence() if self.phase is Phase.OPENING:
                return None  # IDENTIFY says it, too
            case _ if self.phase is Phase.OPENING:
                return self.close(CloseCode.NOT_AUTHENTICATED, "wait for READY")
            case frames.UpdatePresence():
                return Show(frame)
            case frames.SendMessage():
                return Post(frame)
            case frames.RequestMembers():
                return FindMembers(frame)

    def opened(self) -> bool:
        """Take in that the session is open; False if the connection was closed meanwhile. READY goes out next."""
        if self.phase is not Phase.OPENING:
            return False
        self.phase = Phase.READY
        return True

    def not_resumed(self, now: float) -> bool:
        """Take in that a RESUME failed, so that the client may IDENTIFY on this connection; False if it was closed."""
        if self.phase is not Phase.OPENING:
            return False
        self.phase = Phase.NEW
        self._began = now
        return True

    def control(self, now: float) -> Close | None:
        """Take a ping, pong or fragment of a message; too many of them end the connection."""
        self._heard = now
        return None if self._controls.take(now) else self.close(CloseCode.RATE_LIMITED)

    def refused(self, now: float) -> Close | None:
        """Count a send that was refused for its budget; a client that goes on regardless is closed."""
        return None if self._refused.take(now) else self.close(CloseCode.RATE_LIMITED)

    def tick(self, now: float) -> Close | None:
        """Look whether the client was silent for too long. Call every few seconds."""
        if self.phase is Phase.CLOSED:
            return None
        if self.phase is Phase.NEW and now - self._began >= self.rules.identify_timeout_s:
            # Not SESSION_TIMED_OUT: a RESUME may be on its way, and its client would throw a good session away.
            return self.close(CloseCode.UNKNOWN_ERROR, "no IDENTIFY or RESUME in time")
        if now - self._heard >= self.rules.silence_s:
            return self.close(CloseCode.UNKNOWN_ERROR, "no heartbeat in time")
        return None

    def close(self, code: CloseCode, reason: str = "") -> Close | None:
        """End the conversation; None if it has ended already."""
        if self.phase is Phase.CLOSED:
            return None
        self.phase = Phase.CLOSED
        return Close(code, reason or code.meaning)

    def ended(self) -> None:
        """Take in that the connection is gone."""
        self.phase = Phase.CLOSED
