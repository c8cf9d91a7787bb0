"""E-mail addresses: proved by a code, claimed when they are, and good for a new password.

Ring 4 (shell). Until the code is told an address is nobody's, so nobody keeps another one's by registering it first,
and nothing that is answered says whether an account has it. Asking for a code does the same, in the same steps, whether
or not there is somebody to send it to. Who guesses is bounded by `core.codes` and by `attempts`.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import Final

from services.groups.accounts import Accounts
from services.groups.claims import BearsOut, Claims
from services.groups.code_store import CodeStore
from services.groups.core.codes import (
    DIGITS,
    RESET,
    VERIFY,
    digest_of,
    email_key,
    email_taken,
    mail_text,
    next_code,
    require_email,
    reset_key,
    verify_key,
    wrong_code,
)
from services.groups.core.names import require_password
from services.groups.mail import Mail
from services.groups.outbox import Outbox
from services.groups.store import Account, Claim, GroupStore
from shared.core.account_errors import NotVerified
from shared.core.errors import InvalidForm, Unauthorized
from shared.core.model import User

KEPT_MS: Final = 2 * 24 * 3600 * 1000
"""How long a code is kept: while it counts for the day."""


def account_bears_out(groups: GroupStore) -> BearsOut:
    """Return how an account bears out the claim of an address: by having it."""

    async def bears_out(claim: Claim) -> bool:
        account = await groups.read_account(claim.owner)
        return account is not None and account.state != "deleted" and _has(account, claim.key)

    return bears_out


def _has(account: Account, key: str) -> bool:
    return bool(account.email) and email_key(account.email) == key


class Emails:
    """Sends codes and takes them. `outbox` None: there is no e-mail here. `secret` keys the stored hashes of codes.

    All raise `StoreUnavailable` and `Unavailable` beside what they tell.
    """

    def __init__(
        self,
        groups: GroupStore,
        codes: CodeStore,
        claims: Claims,
        accounts: Accounts,
        outbox: Outbox | None,
        secret: bytes,
        now: Callable[[], int],
        *,
        required: bool = False,
    ) -> None:
        self._groups = groups
        self._codes = codes
        self._claims = claims
        self._accounts = accounts
        self._outbox = outbox
        self._secret = secret
        self._now = now
        self._required = required

    def require_sendable(self, email: str) -> str:
        """Return an address that a code can be sent to. Raises `InvalidForm`, also where there is no e-mail."""
        if self._outbox is None:
            raise InvalidForm({"email": [("EMAIL_UNAVAILABLE", "There is no e-mail here.")]})
        return require_email(email)

    async def require_verified(self, user_id: int) -> None:
        """Raise `NotVerified` for a person without a proved address, where that is required."""
        if self._required:
            account = await self._groups.read_account(user_id)
            if account is not None and account.password_hash and not account.email:
                raise NotVerified

    async def read(self, user_id: int) -> str | None:
        """Return the user's proved address."""
        account = await self._groups.read_account(user_id)
        return account.email or None if account is not None else None

    async def ask_verification(self, user_id: int, email: str) -> None:
        """Send a code to an address that is to be the user's. Raises `InvalidForm`."""
        await self._send(VERIFY, verify_key(user_id), user_id, self.require_sendable(email), exists=True)

    async def ask_again(self, user_id: int) -> None:
        """Send another code where the last one went; nothing happens without one."""
        known = await self._codes.read(verify_key(user_id))
        if known is not None and known.tries >= 0:
            await self.ask_verification(user_id, known.email)

    async def verify(self, user_id: int, code: str) -> str:
        """Give the user the address that a code was sent to; return it.

        Raises `InvalidForm` for a wrong code, and for an address that another account has by now.
        """
        proved = await self._take(verify_key(user_id), code)
        if proved is None:
            raise wrong_code()
        _, email = proved
        if not await self._claims.take(email_key(email), user_id):
            raise email_taken()
        if not await self._groups.set_email(user_id, email):
            raise Unauthorized
        await self._claims.require_held_by(email_key(email), user_id)
        return email

    async def ask_reset(self, email: str) -> None:
        """Send a code for a new password, if an account has this address. Raises `InvalidForm`."""
        email = self.require_sendable(email)
        key = email_key(email)
        owner = await self._claims.owner_of(key)
        account = await self._groups.read_account(owner or 0)
        exists = account is not None and account.state == "active" and _has(account, key)
        user_id = account.user_id if account is not None and exists else 0
        await self._send(RESET, reset_key(email), user_id, email, exists=exists)

    async def reset(self, email: str, code: str, password: str) -> tuple[str, User]:
        """Set a new password and revoke all tokens; return a new one and the user. Raises `InvalidForm`."""
        email = self.require_sendable(email)
        require_password(password)
        proved = await self._take(reset_key(email), code)
        if proved is None or not proved[0]:
            raise wrong_code()
        account = await self._groups.read_account(proved[0])
        if account is None or account.state != "active" or not _has(account, email_key(email)):
            raise wrong_code()
        return await self._accounts.set_password(account, password)

    async def _send(self, kind: str, key: str, user_id: int, email: str, *, exists: bool) -> None:
        code = f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"
        before = await self._codes.read(key)
        following = next_code(before, key, user_id, email, digest_of(self._secret, key, code), self._now())
        if following is None:
            return  # enough for today; nobody is told, or they would know of each other
        await self._codes.put(following)
        if exists and self._outbox is not None:
            self._outbox.post(Mail(email, *mail_text(kind, code)))

    async def _take(self, key: str, code: str) -> tuple[int, str] | None:
        """Use a code up; return whose it is and the address it was sent to, None if it is not the right one."""
        spent = await self._codes.spend_try(key, self._now())
        told = digest_of(self._secret, key, code)
        if spent is None or not hmac.compare_digest(spent.digest, told) or not await self._codes.use_up(spent):
            return None
        return spent.user_id, spent.email
