"""Sending: what happens to a MESSAGE_SEND between its frame and its answer.

Ring 4 (shell). Many may be in flight per session; their commands keep the order of the frames, also where groups
has to be asked about a channel that the node does not know. The rules are in `shared.core.sending`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Final, Protocol

import structlog
from prometheus_client import Counter, Histogram

from services.gateway.core import frames
from services.gateway.core.hub import Hub
from services.gateway.core.sending import encode_ack, encode_reject
from services.gateway.sessions import LiveSession
from shared.command_log import CommandLog
from shared.core.calls import Access, Call, ReadAccess
from shared.core.drafts import Draft, draft_of
from shared.core.error_catalogue import error_of
from shared.core.errors import InternalError, RateLimited, StarlingError, Unauthorized, Unavailable
from shared.core.group_errors import UnknownChannel
from shared.core.limits import Budgets
from shared.core.mentions import Called
from shared.core.model import User
from shared.core.permissions import DIRECT
from shared.core.sending import (
    NOBODY_THERE,
    Place,
    called_by,
    command_of,
    place_of,
    place_of_access,
    question_of,
    refusal_of_draft,
)
from shared.lifecycle import Supervisor
from shared.metrics import Metrics
from shared.rpc import Rpc
from shared.settings import LimitSettings

IN_FLIGHT: Final = 64
"""Sends of one session without an answer; more are refused until one is answered."""
_BURST_S: Final = 2.0
_USERS: Final = 50_000
"""Users whose budgets are remembered; beyond that the one who sent longest ago has a full one again."""

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """What sending needs of a connection."""

    user_id: int
    in_flight: int
    order: asyncio.Lock | None

    def answer(self, payload: bytes) -> None:
        """Send a frame to this connection alone; nothing happens once it is closed."""


class Sending:
    """Sends messages of the node's sessions through the log. `clock` is seconds, `now` Unix ms."""

    def __init__(
        self,
        hub: Hub[LiveSession],
        commands: CommandLog,
        rpc: Rpc,
        supervisor: Supervisor,
        metrics: Metrics,
        limits: LimitSettings,
        *,
        timeout_s: float,
        clock: Callable[[], float],
        now: Callable[[], int],
    ) -> None:
        rate = limits.sends_per_second
        self._budgets = Budgets(rate, max(1.0, rate * _BURST_S), most=_USERS) if limits.enabled else None
        self._hub = hub
        self._commands = commands
        self._rpc = rpc
        self._supervisor = supervisor
        self._content_characters = limits.content_characters
        self._timeout_s = timeout_s
        self._clock = clock
        self._now = now
        self._answers: Counter = metrics.counter(
            "starling_gateway_sends_total", "MESSAGE_SEND frames by how they were answered", ("outcome",)
        )
        self._seconds: Histogram = metrics.histogram(
            "starling_gateway_send_seconds", "from a MESSAGE_SEND to its SEND_ACK"
        )

    def post(self, sender: Sender, frame: frames.SendMessage) -> bool:
        """Take one MESSAGE_SEND; it is answered later. False if it was refused for its budget."""
        draft = draft_of(frame, self._content_characters)
        if isinstance(draft, StarlingError):
            self._refuse(sender, frame, draft)
            return True
        if self._budgets is not None and (wait_s := self._budgets.spend(sender.user_id, self._now())):
            self._refuse(sender, frame, RateLimited(retry_after=wait_s))
            return False
        if sender.in_flight >= IN_FLIGHT:
            self._refuse(sender, frame, RateLimited())
            return False
        sender.in_flight += 1
        self._supervisor.start("send", self._send(sender, frame, draft))
        return True

    def _refuse(self, sender: Sender, frame: frames.SendMessage, error: StarlingError) -> None:
        self._answers.labels(type(error).__name__).inc()
        sender.answer(encode_reject(frame.nonce, error))

    async def _send(self, sender: Sender, frame: frames.SendMessage, draft: Draft) -> None:
        began = self._clock()
        try:
            author, place, calls = await self._in_order(sender, draft)
            # From here to the log's queue nothing is awaited, so commands keep the order of the frames.
            command = command_of(
                draft,
                author,
                place,
                calls,
                command_id=secrets.randbits(63) or 1,
                reply_to=self._commands.reply_to,
                now_ms=self._now(),
            )
            reply = await self._commands.send(command, timeout_s=self._timeout_s)
            reply.raise_error()
        except StarlingError as error:
            self._refuse(sender, frame, error)
        except Exception:
            log.exception("send_failed")
            self._refuse(sender, frame, InternalError())
        else:
            self._answers.labels("stored").inc()
            self._seconds.observe(self._clock() - began)
            sender.answer(encode_ack(frame.nonce, reply))
        finally:
            sender.in_flight -= 1

    async def _in_order(self, sender: Sender, draft: Draft) -> tuple[User, Place, Called]:
        """Return author, place and whom it calls; where that takes time, the session's later sends wait behind it."""
        known = self._known_place(sender.user_id, draft)
        if sender.order is not None or known is None or question_of(draft, known) is not None:
            sender.order = sender.order or asyncio.Lock()
            async with sender.order:
                return await self._looked_up(sender, draft)
        return await self._looked_up(sender, draft)

    async def _looked_up(self, sender: Sender, draft: Draft) -> tuple[User, Place, Called]:
        author, place = await self._author_and_place(sender, draft)
        if not draft.nonce and (refusal := refusal_of_draft(draft, place)):
            raise error_of(refusal, "")  # no shard could know it by its nonce
        question = question_of(draft, place)
        there = NOBODY_THERE if question is None else await self._ask(question)
        return author, place, called_by(draft, place, there)

    async def _ask(self, call: Call) -> Any:
        """Ask another service. Raises `Unavailable` at the deadline of a send."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._rpc.call(call)
        except TimeoutError as error:
            raise Unavailable from error

    async def _author_and_place(self, sender: Sender, draft: Draft) -> tuple[User, Place]:
        user = self._hub.roster.users.get(sender.user_id)
        if user is None:
            raise Unauthorized
        place = self._known_place(sender.user_id, draft)
        if place is not None:
            return user.user, place
        # Made a moment ago, its creation is still in our queue; or it is not for this user.
        access: Access = await self._ask(ReadAccess(draft.channel_id, sender.user_id))
        place = place_of_access(access)
        if place is None:
            raise UnknownChannel
        return user.user, place

    def _known_place(self, user_id: int, draft: Draft) -> Place | None:
        """Return the place by what the node holds; None if it does not know that the user is there."""
        known = self._hub.roster.channels.get(draft.channel_id)
        if known is None:
            return None
        if not known.channel.group_id:
            is_in = user_id in known.recipients
            return place_of(known.channel, 0, DIRECT) if is_in else None
        group = self._hub.roster.groups.get(known.channel.group_id)
        if group is None or user_id not in group.users:
            return None
        return place_of(known.channel, group.seq, group.sights.permissions(user_id, known.channel.id, self._now()))
