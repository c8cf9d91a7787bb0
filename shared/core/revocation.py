"""Which tokens of a user are void. What a token says is `Bearer`; what was revoked is `Revocations`.

Ring 1 (core). A token has no end of its own, so what was revoked once must stay so: a token is void if it was issued
before `valid_from`, or if it is named. `TokensRevoked` only ever adds to both, so that it does no harm to take one
early or twice. Who decides what is revoked, and keeps the names few, is `services.groups.core.revoking`.
"""

from __future__ import annotations

import msgspec

from shared.core.user_events import TokensRevoked


class Bearer(msgspec.Struct, frozen=True):
    """What a token of ours says: whose it is, when it was issued (Unix ms), and which one.

    The fingerprint names the token without being of any use for making it.
    """

    user_id: int
    issued: int
    fingerprint: str


class Named(msgspec.Struct, frozen=True):
    """One revoked token."""

    issued: int
    fingerprint: str


class Revocations(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of one user that are void: those issued before `valid_from` (Unix ms), and the named ones."""

    valid_from: int = 0
    named: tuple[Named, ...] = ()

    def void(self, bearer: Bearer) -> bool:
        """Whether this token of the user is void.

        Told apart by a hash of tokens whose signature is right, so the time it takes helps nobody to guess one.
        """
        return bearer.issued < self.valid_from or any(one.fingerprint == bearer.fingerprint for one in self.named)

    def after(self, event: TokensRevoked) -> Revocations:
        """Return what is void after this event, too. In any order, and however often, the same comes out."""
        valid_from = max(self.valid_from, event.before)
        named = {*self.named, Named(event.issued, event.fingerprint)} if event.fingerprint else {*self.named}
        kept = (one for one in named if one.issued >= valid_from)
        return Revocations(valid_from, tuple(sorted(kept, key=lambda one: (one.issued, one.fingerprint))))


NOTHING_REVOKED = Revocations()
"""Of a user none of whose tokens was ever revoked."""
