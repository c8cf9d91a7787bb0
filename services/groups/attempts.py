"""Attempts: how often somebody may register, log in, or do what costs as much or can be guessed.

Ring 4 (shell). Each counts for the address that it comes from, and for the account that it is about, whether or not
there is such an account. So neither one machine nor many that share the work guess a password fast.
"""

from __future__ import annotations

from services.groups.core.names import username_key
from services.groups.core.origin import origin_of
from shared.core.errors import RateLimited
from shared.http_limits import note
from shared.limiter import Limiter


class Attempts:
    """Refuses what is too often; without limiters, nothing. All raise `RateLimited`."""

    def __init__(
        self, addresses: Limiter | None = None, accounts: Limiter | None = None, mails: Limiter | None = None
    ) -> None:
        self._addresses = addresses
        self._accounts = accounts
        self._mails = mails

    async def count_address(self, address: str) -> None:
        """Count one of an address; of IPv6, of its network."""
        await _spend("addresses", self._addresses, origin_of(address))

    async def count_login(self, login: str) -> None:
        """Count one at the account that is told by this name."""
        await _spend("accounts", self._accounts, username_key(login))

    async def count_mail(self, mailbox: str) -> None:
        """Count a mail to an address, or to whatever address a user has asked for one at."""
        await _spend("mails", self._mails, mailbox.casefold())

    async def count_user(self, user_id: int) -> None:
        """Count one of a user who is logged in."""
        await _spend("accounts", self._accounts, str(user_id))


async def _spend(bucket: str, limiter: Limiter | None, key: str) -> None:
    if limiter is not None and (wait := note(bucket, await limiter.spend(key)).wait_s):
        raise RateLimited(retry_after=wait)
