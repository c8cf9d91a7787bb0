"""Tokens: who is calling. Minted by groups, verified by every service on its own.

Ring 4 (shell). A token is `base64url(user id).base64url(issued ms + random).base64url(hmac-sha256)`, unpadded:
client libraries decode the first part and expect their own id there. Whoever has the secret verifies
without asking anyone; what is verified is the text itself, so that a token has exactly one spelling.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from shared.core.errors import Unauthorized
from shared.core.ids import MAX_ID

_PREFIXES: Final = ("Bot ", "Bearer ")
_LONGEST: Final = 256  # characters; ours are about 90


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


class Tokens:
    """Mints and verifies tokens under one secret."""

    def __init__(self, secret: str) -> None:
        if len(secret) < 32:
            raise ValueError("the secret must have at least 32 characters")
        self._key = hashlib.sha256(b"starling token v1:" + secret.encode()).digest()

    def _sign(self, signed: str) -> str:
        return _encode(hmac.digest(self._key, signed.encode(), "sha256"))

    def mint(self, user_id: int, now: int) -> str:
        """Return a new token of this user; `now` in Unix ms. Each has its own 72 random bits."""
        if not 0 < user_id <= MAX_ID:
            raise ValueError(f"{user_id} is no user id")
        signed = f"{_encode(str(user_id).encode())}.{_encode(now.to_bytes(6, 'big') + secrets.token_bytes(9))}"
        return f"{signed}.{self._sign(signed)}"

    def verify(self, token: str) -> int:
        """Return the user id of a token of ours, with or without a "Bot " or "Bearer " before it.

        Raises `Unauthorized`. The comparison takes the same time wherever the texts differ.
        """
        for prefix in _PREFIXES:
            token = token.removeprefix(prefix)
        signed, dot, signature = token.rpartition(".")
        if not dot or len(token) > _LONGEST or not token.isascii():
            raise Unauthorized
        if not hmac.compare_digest(self._sign(signed), signature):
            raise Unauthorized
        user = signed.partition(".")[0]
        return int(urlsafe_b64decode(user + "=" * (-len(user) % 4)))


_scheme = APIKeyHeader(
    name="Authorization",
    scheme_name="token",
    description="A token from `/auth/login`, alone or after `Bearer ` or `Bot `.",
    auto_error=False,
)


async def require_user(request: Request, token: Annotated[str | None, Security(_scheme)]) -> int:
    """Return the caller's user id. A dependency; the app has its `Tokens` as `app.state.tokens`.

    Raises `Unauthorized`.
    """
    tokens: Tokens = request.app.state.tokens
    return tokens.verify(token or "")


async def find_user(request: Request) -> int:
    """Return the caller's user id, 0 without a token of ours. A dependency, for what is not kept from anyone."""
    try:
        return await require_user(request, request.headers.get("Authorization"))
    except Unauthorized:
        return 0


Caller = Annotated[int, Security(require_user)]
"""A route's parameter: the id of the user who calls."""
MaybeCaller = Annotated[int, Depends(find_user)]
"""A route's parameter: the id of the user who calls, 0 if that is not told."""
