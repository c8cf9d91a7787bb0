"""The history service as its routes see it: the collaborators behind `app.state.history`, and who may come in where.

Ring 4 (shell). Put together by `services.history.app`. Each door asks groups what the caller may do in the channel.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, NamedTuple

from fastapi import Depends, Query, Request

from services.history.access import AccessReader
from services.history.markers import MarkerStore
from services.history.marks import MarkStore
from services.history.pages import MAX_LIMIT, Pages
from services.history.telling import Telling
from shared.auth import Tokens
from shared.command_log import CommandLog
from shared.core.calls import Access
from shared.core.commands import Acked
from shared.core.drafts import Draft, Edit
from shared.core.errors import MissingAccess, MissingPermissions, RateLimited
from shared.core.group_errors import UnknownChannel
from shared.core.limits import Budgets
from shared.core.mentions import Called
from shared.core.model import Channel
from shared.core.permissions import Permission
from shared.core.sending import NOBODY_THERE, Place, called_by, question_of
from shared.door import Caller
from shared.http import Probe
from shared.http_limits import note
from shared.rpc import Rpc
from shared.snowflakes import Snowflake

_ID_BITS: Final = 63


@dataclass(frozen=True)
class History:
    """What the routes need, as `app.state.history`. `budgets` are None where clients have none."""

    pages: Pages
    telling: Telling
    marks: MarkStore
    markers: MarkerStore
    commands: CommandLog
    rpc: Rpc
    access: AccessReader
    now: Callable[[], int]
    budgets: Budgets | None
    content_characters: int
    send_timeout_s: float
    tokens: Tokens
    webhook_budgets: Budgets | None
    tell_ack: Callable[[Acked], Awaitable[None]]
    """Tells the user's other sessions; lost without harm while the bus is away."""

    def spend(self, caller: int) -> None:
        """Count one more write of a user. Raises `RateLimited`."""
        _spend("writes", self.budgets, caller, self.now())

    def spend_of_webhook(self, webhook_id: int) -> None:
        """Count one more write by a webhook. Raises `RateLimited`."""
        _spend("webhooks", self.webhook_budgets, webhook_id, self.now())

    def readiness(self) -> Mapping[str, Probe]:
        """Return what `/readyz` asks of this service: it needs no more than the process's parts."""
        return {}


def _spend(bucket: str, budgets: Budgets | None, key: int, now: int) -> None:
    if budgets is not None and (wait := note(bucket, budgets.use(key, now)).wait_s):
        raise RateLimited(retry_after=wait)


def new_command_id() -> int:
    """Return an id for a command: one that no other has."""
    return secrets.randbits(_ID_BITS) or 1


def _history_of(request: Request) -> History:
    history: History = request.app.state.history
    return history


Service = Annotated[History, Depends(_history_of)]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]


async def require_access(history: History, channel_id: int, caller: int) -> Access:
    """Return what the caller may do. Raises `UnknownChannel`, `MissingAccess`."""
    access = await history.access.read(channel_id, caller)
    if access.channel is None or access.user is None:
        raise UnknownChannel
    if not access.can_view:
        raise MissingAccess
    return access


async def ask_called(history: History, draft: Draft | Edit, place: Place) -> Called:
    """Return whom a message calls. Groups are asked where it may call anybody of a group."""
    question = question_of(draft, place)
    there = NOBODY_THERE if question is None else await history.rpc.call(question)
    return called_by(draft, place, there)


class Seen(NamedTuple):
    """A channel that the caller sees, and whether also what was written there before."""

    channel: Channel
    may_read: bool


async def _require_seen(history: Service, channel_id: Snowflake, caller: Caller) -> Seen:
    access = await require_access(history, channel_id, caller)
    if access.channel is None:
        raise UnknownChannel
    return Seen(access.channel, bool(access.permissions & Permission.READ_MESSAGE_HISTORY))


Visible = Annotated[Seen, Depends(_require_seen)]
"""The channel of the path, if the caller may see it."""


async def _require_readable(seen: Visible) -> Channel:
    if not seen.may_read:
        raise MissingPermissions
    return seen.channel


Readable = Annotated[Channel, Depends(_require_readable)]
"""The channel of the path, if the caller may read what was written there before."""
