"""What is revoked at a logout or when a password changes: from what is void already to an event, or to nothing.

Ring 1 (core). Called like `decisions`, on facts complete to the seq before the event.
"""

from __future__ import annotations

from typing import Final

from shared.core.revocation import Bearer, Revocations
from shared.core.user_events import TokensRevoked

MAX_NAMED: Final = 100
"""Revoked tokens kept by name for one user."""


def decide_revoke(revocations: Revocations, bearer: Bearer) -> TokensRevoked | None:
    """Revoke one token.

    None of the names can be forgotten, or the token would be good again. So where there is no room the oldest
    becomes part of "all that were issued until then": sessions older than the oldest of 100 that were logged out
    since must log in again.
    """
    if revocations.void(bearer):
        return None
    before = 0
    if len(revocations.named) >= MAX_NAMED:
        before = min(bearer.issued, *(one.issued for one in revocations.named)) + 1
    return TokensRevoked(before, bearer.issued, bearer.fingerprint)


def decide_revoke_before(revocations: Revocations, before: int) -> TokensRevoked | None:
    """Revoke all tokens that were issued before then (Unix ms)."""
    return TokensRevoked(before) if revocations.valid_from < before else None
