"""Tokens: who says what. Minted by groups, verified by every service on its own.

Ring 4 (shell). A token is `base64url(user id).base64url(issued ms + random).base64url(hmac-sha256)`, unpadded:
client libraries decode the first part and expect their own id there. Whoever has the secret verifies
without asking anyone; what is verified is the text itself, so that a token has exactly one spelling. Whether it was
revoked is asked at `shared.door`. Tokens of webhooks: docs/adr/0017-tokens-of-webhooks-are-derived.md.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from shared.core.errors import Unauthorized
from shared.core.group_errors import InvalidWebhookToken
from shared.core.ids import MAX_ID
from shared.core.revocation import Bearer

_PREFIXES: Final = ("Bot ", "Bearer ")
_LONGEST: Final = 256  # characters; ours are about 90
_ISSUED_BYTES: Final = 6
_FINGERPRINT_BYTES: Final = 12
_WEBHOOK_BYTES: Final = 51
"""Discord's clients look for 68 characters in a webhook's address."""


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


class Tokens:
    """Mints tokens under a secret; verifies those of it and of older ones, so that it can be changed."""

    def __init__(self, secret: str, *older: str) -> None:
        if any(len(one) < 32 for one in (secret, *older)):
            raise ValueError("each secret must have at least 32 characters")
        self._keys = [hashlib.sha256(b"starling token v1:" + one.encode()).digest() for one in (secret, *older)]

    def webhook_token(self, webhook_id: int) -> str:
        """Return the token of a webhook: 68 characters, as in Discord's addresses. Always the same, so none is kept."""
        return self._webhook_token(self._keys[0], webhook_id)

    def require_webhook(self, webhook_id: int, token: str) -> None:
        """Raise `InvalidWebhookToken` for what is not the webhook's token, under our secret or an older one.

        The comparison takes the same time wherever the texts differ. Whether there is such a webhook is not asked.
        """
        given = token.encode(errors="surrogatepass")
        if not any(hmac.compare_digest(self._webhook_token(key, webhook_id).encode(), given) for key in self._keys):
            raise InvalidWebhookToken

    @staticmethod
    def _webhook_token(key: bytes, webhook_id: int) -> str:
        return _encode(hmac.digest(key, f"starling webhook {webhook_id}".encode(), "sha512")[:_WEBHOOK_BYTES])

    @staticmethod
    def _sign(key: bytes, signed: str) -> str:
        return _encode(hmac.digest(key, signed.encode(), "sha256"))

    def derive(self, purpose: str) -> bytes:
        """Return a key of its own for something else that only this cluster must be able to make."""
        return hmac.digest(self._keys[0], f"starling {purpose}".encode(), "sha256")

    def mint(self, user_id: int, now: int) -> str:
        """Return a new token of this user, issued `now` (Unix ms). Each has its own 72 random bits."""
        if not 0 < user_id <= MAX_ID:
            raise ValueError(f"{user_id} is no user id")
        issued = now.to_bytes(_ISSUED_BYTES, "big") + secrets.token_bytes(9)
        signed = f"{_encode(str(user_id).encode())}.{_encode(issued)}"
        return f"{signed}.{self._sign(self._keys[0], signed)}"

    def verify(self, token: str) -> Bearer:
        """Return what a token of ours says, with or without a "Bot " or "Bearer " before it; it may be revoked.

        Raises `Unauthorized`. The comparison takes the same time wherever the texts differ.
        """
        for prefix in _PREFIXES:
            token = token.removeprefix(prefix)
        signed, dot, signature = token.rpartition(".")
        if not dot or len(token) > _LONGEST or not token.isascii():
            raise Unauthorized
        if not any(hmac.compare_digest(self._sign(key, signed), signature) for key in self._keys):
            raise Unauthorized
        user, _, rest = signed.partition(".")
        fingerprint = _encode(hashlib.sha256(token.encode()).digest()[:_FINGERPRINT_BYTES])
        return Bearer(int(_decode(user)), int.from_bytes(_decode(rest)[:_ISSUED_BYTES], "big"), fingerprint)
