"""Accounts and claims in memory.

Ring 2. A part of the group store: see `memory_store`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.groups.store import Account, Claim, State


class MemoryAccounts:
    """The accounts and claims of a `GroupStore`."""

    def __init__(self) -> None:
        super().__init__()
        self._claims: dict[str, Claim] = {}
        self._accounts: dict[int, Account] = {}

    async def claim(self, claim: Claim) -> Claim:
        """Claim a key; return the claim that holds now, ours or an earlier one's."""
        return self._claims.setdefault(claim.key, claim)

    async def replace_claim(self, old: Claim, new: Claim) -> bool:
        """Take over a claim; False if it is no longer `old`."""
        if self._claims.get(old.key) != old:
            return False
        self._claims[old.key] = new
        return True

    async def read_claim(self, key: str) -> Claim | None:
        """Return who holds a key."""
        return self._claims.get(key)

    async def create_account(self, account: Account) -> None:
        """Store an account once."""
        self._accounts.setdefault(account.user_id, account)

    async def read_account(self, user_id: int) -> Account | None:
        """Return an account."""
        return self._accounts.get(user_id)

    async def issue(self, user_id: int, password_hash: str, now: int) -> int | None:
        """Return the time to issue a token at; None if the hash is not the account's."""
        account = self._accounts.get(user_id)
        if account is None or account.password_hash != password_hash or account.state != "active":
            return None
        issued = max(account.issued, now)
        self._accounts[user_id] = msgspec.structs.replace(account, issued=issued)
        return issued

    async def set_state(self, user_id: int, state: State, *, unless: Sequence[State] = ()) -> Account | None:
        """Give an account another state; None if it was in one of `unless`."""
        account = self._accounts.get(user_id)
        if account is None or account.state in unless:
            return None
        changed = msgspec.structs.replace(account, issued=account.issued + 1, state=state)
        if state == "deleted":
            changed = msgspec.structs.replace(changed, password_hash="", email="")
        self._accounts[user_id] = changed
        return changed

    async def set_email(self, user_id: int, email: str) -> bool:
        """Give an account another proved address."""
        account = self._accounts.get(user_id)
        if account is None or account.state == "deleted":
            return False
        self._accounts[user_id] = msgspec.structs.replace(account, email=email)
        return True

    async def replace_password(self, old: Account, password_hash: str) -> bool:
        """Give the account another hash; False if it is no longer `old`."""
        known = self._accounts.get(old.user_id)
        if known is None or (known.password_hash, known.issued) != (old.password_hash, old.issued):
            return False
        self._accounts[old.user_id] = msgspec.structs.replace(known, password_hash=password_hash, issued=old.issued + 1)
        return True
