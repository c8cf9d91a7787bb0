"""The door: who may come in. A token's signature is looked at for each request, what was revoked once a second.

Ring 4 (shell). `require_bearer` and `Caller` are what routes use; the app has its `Door` as `app.state.door`. Where it
is not known whether a token was revoked nobody comes in. The gateway's sessions hear of revocations by the user's
stream instead (`services.gateway.core.roster`).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, NamedTuple

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from shared.auth import Tokens
from shared.core.errors import StarlingError, Unauthorized, Unavailable
from shared.core.revocation import Bearer, Revocations
from shared.streams import StoreUnavailable

AGE_S: Final = 1.0
"""How long what was read is used, from when the reading began: so long a revoked token may come in elsewhere."""
MAX_USERS: Final = 10_000
"""Users of whom it is known what they revoked; beyond it who was read longest ago is forgotten."""
_READING_S: Final = 5.0


class _Reading(NamedTuple):
    """A read on its way. `done` is set to what was read, to the error, or to None when its reader went away."""

    began: float
    done: asyncio.Future[Revocations | None]


class Door:
    """Lets in who has a token that is not revoked. `read` returns what a user revoked; `clock` never goes back (s)."""

    def __init__(
        self,
        tokens: Tokens,
        read: Callable[[int], Awaitable[Revocations]],
        clock: Callable[[], float] = time.monotonic,
        *,
        max_users: int = MAX_USERS,
    ) -> None:
        self._tokens = tokens
        self._read = read
        self._clock = clock
        self._max_users = max_users
        self._known: OrderedDict[int, tuple[float, Revocations]] = OrderedDict()
        self._readings: dict[int, _Reading] = {}

    def whose(self, token: str) -> int:
        """Return whose token this is, revoked or not; 0 if it is none of ours. For what is not kept from anyone."""
        try:
            return self._tokens.verify(token).user_id
        except Unauthorized:
            return 0

    async def admit(self, token: str) -> Bearer:
        """Return what a good token says. Raises `Unauthorized`, and `Unavailable` where nobody knows if it is good."""
        bearer = self._tokens.verify(token)
        revocations = await self._revocations_of(bearer.user_id)
        if revocations.void(bearer):
            raise Unauthorized
        return bearer

    def forget(self, user_id: int) -> None:
        """Take in that a user revoked something: the next request reads it."""
        self._known.pop(user_id, None)
        self._readings.pop(user_id, None)

    async def _revocations_of(self, user_id: int) -> Revocations:
        while True:
            now = self._clock()
            known = self._known.get(user_id)
            if known is not None and now - known[0] < AGE_S:
                return known[1]
            reading = self._readings.get(user_id)
            if reading is None or now - reading.began >= AGE_S:
                return await self._read_for_all(user_id, now)
            if (found := await asyncio.shield(reading.done)) is not None:
                return found

    async def _read_for_all(self, user_id: int, now: float) -> Revocations:
        """Read for this request and for those that come while it is being read."""
        reading = _Reading(now, asyncio.get_running_loop().create_future())
        self._readings[user_id] = reading
        try:
            async with asyncio.timeout(_READING_S):
                found = await self._read(user_id)
        except (StarlingError, StoreUnavailable, TimeoutError) as error:
            reading.done.set_exception(Unavailable())
            reading.done.exception()  # it may be that nobody else asks
            raise Unavailable from error
        else:
            reading.done.set_result(found)
            if self._readings.get(user_id) is reading:
                self._known[user_id] = now, found
                self._known.move_to_end(user_id)
                if len(self._known) > self._max_users:
                    self._known.popitem(last=False)
            return found
        finally:
            if not reading.done.done():
                reading.done.set_result(None)
            if self._readings.get(user_id) is reading:
                del self._readings[user_id]


_scheme = APIKeyHeader(
    name="Authorization",
    scheme_name="token",
    description="A token from `/auth/login`, alone or after `Bearer ` or `Bot `.",
    auto_error=False,
)


Token = Annotated[str | None, Security(_scheme)]
"""A route's parameter: the token that it is called with, judged by nobody yet."""


async def require_bearer(request: Request, token: Token) -> Bearer:
    """Return what the caller's token says. A dependency. Raises `Unauthorized`, `Unavailable`."""
    door: Door = request.app.state.door
    return await door.admit(token or "")


CallerBearer = Annotated[Bearer, Depends(require_bearer)]
"""A route's parameter: what the token says that it is called with."""


async def require_user(bearer: CallerBearer) -> int:
    """Return the caller's user id. A dependency."""
    return bearer.user_id


async def find_user(request: Request) -> int:
    """Return the caller's user id, 0 without a token of ours. A dependency, for what is not kept from anyone."""
    door: Door = request.app.state.door
    return door.whose(request.headers.get("Authorization", ""))


Caller = Annotated[int, Depends(require_user)]
"""A route's parameter: the id of the user who calls."""
MaybeCaller = Annotated[int, Depends(find_user)]
"""A route's parameter: the id of the user who calls, 0 if that is not told."""
