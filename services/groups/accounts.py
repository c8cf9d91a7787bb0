"""Accounts: registration, login, logout, another password or token.

Ring 4 (shell). A registration is four writes in this order: claim of the username, account, first event of the
user's stream, its projection. A crash after the first two leaves a claim that may be taken over after 60 s;
after the third the account is there, and a sweeper finishes it. What is revoked is told by the user's own stream,
which every node with sessions of the user follows; the answer comes when that is published (rule 7 of docs/rules.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from services.groups.changes import Changes
from services.groups.claims import Claims
from services.groups.core.names import (
    invalid_login,
    require_password,
    require_username,
    username_key,
    username_taken,
    wrong_password,
)
from services.groups.core.revoking import decide_revoke, decide_revoke_before
from services.groups.passwords import Passwords
from services.groups.store import Account, GroupStore
from shared.auth import Tokens
from shared.core.account_errors import AccountBlocked
from shared.core.errors import Unauthorized, Unavailable
from shared.core.events import AnyBody
from shared.core.ids import IdSource
from shared.core.model import User
from shared.core.revocation import NOTHING_REVOKED, Bearer, Revocations
from shared.core.stream import user_stream
from shared.core.user_events import TokensRevoked, UserRegistered
from shared.door import Door

_ATTEMPTS: Final = 8
"""How often a change of password begins anew because somebody logged in with the old one meanwhile."""


class Accounts:
    """Registers, logs in and out. All raise `StoreUnavailable` and `Unavailable` beside what they tell."""

    def __init__(
        self,
        groups: GroupStore,
        changes: Changes,
        claims: Claims,
        passwords: Passwords,
        tokens: Tokens,
        door: Door,
        ids: IdSource,
        now: Callable[[], int],
    ) -> None:
        self._groups = groups
        self._changes = changes
        self._claims = claims
        self._passwords = passwords
        self._tokens = tokens
        self._door = door
        self._ids = ids
        self._now = now

    @property
    def hashes_in_hand(self) -> int:
        """How many passwords are being hashed or wait for it."""
        return self._passwords.in_hand

    async def register(self, username: str, password: str) -> tuple[str, User]:
        """Create an account; return its first token and its user. Raises `InvalidForm`.

        A name of which somebody is just making an account is taken too.
        """
        name = require_username(username)
        require_password(password)
        if await self._claims.is_taken(username_key(name)):
            raise username_taken()
        return await self._create(name, await self._passwords.hash(password))

    async def create_bot(self, owner: int, name: str) -> tuple[str, User]:
        """Create a user's bot; return its first token and its user. Raises `InvalidForm`."""
        return await self._create(require_username(name, "name"), "", owner)

    async def _create(self, name: str, password_hash: str, owner: int = 0) -> tuple[str, User]:
        issued = self._now()
        user = User(self._ids.next_id(issued), name, bot=bool(owner))
        key = username_key(name)
        if not await self._claims.take(key, user.id):
            raise username_taken("name" if owner else "username")
        await self._groups.create_account(Account(user.id, password_hash, issued))

        async def decide(seq: int) -> AnyBody | None:
            await self._claims.require_held_by(key, user.id)
            return None if seq else UserRegistered(user, owner)

        await self._changes.change(user_stream(user.id), decide, answer_stored=True)
        await self._claims.require_held_by(key, user.id)
        return self._tokens.mint(user.id, issued), user

    async def login(self, login: str, password: str) -> tuple[str, User]:
        """Return a new token and the user.

        Raises `InvalidForm`: the same, and after the same time, for an unknown user and a wrong password.
        `AccountBlocked`: only for who knows the password.
        """
        key = username_key(login)
        owner = await self._claims.owner_of(key)
        account = await self._groups.read_account(owner or 0)
        matches = await self._passwords.verify(account.password_hash if account is not None else None, password)
        if account is None or not matches:
            raise invalid_login()
        user = await self._find_user(account.user_id)
        if user is None or username_key(user.username) != key:  # it is called otherwise now
            raise invalid_login()
        if account.state == "blocked":
            raise AccountBlocked
        issued = await self._groups.issue(account.user_id, account.password_hash, self._now())
        if issued is None:
            raise invalid_login()
        return self._tokens.mint(user.id, issued), user

    async def logout(self, bearer: Bearer) -> None:
        """Revoke one token; its sessions end on every node."""
        await self._revoke(bearer.user_id, lambda revocations: decide_revoke(revocations, bearer))

    async def change_password(self, user_id: int, password: str, new_password: str) -> tuple[str, User]:
        """Give the account another password and revoke all tokens issued before; return a new one and the user.

        Raises `InvalidForm` for a wrong password. The tokens go first: a process that dies in between leaves
        the old password and no token. The password changes only if none was issued since.
        """
        require_password(new_password, "new_password")
        account = await self.require_password(user_id, password)
        user = await self._find_user(user_id)
        if user is None:
            raise Unauthorized
        return await self._renew(account, await self._passwords.hash(new_password)), user

    async def set_password(self, account: Account, password: str) -> tuple[str, User]:
        """Give an account a password whose owner need not know the one before, and revoke all tokens; return a new one.

        Raises `InvalidForm` if another password was set meanwhile, `Unauthorized`.
        """
        user = await self._find_user(account.user_id)
        if user is None:
            raise Unauthorized
        return await self._renew(account, await self._passwords.hash(password)), user

    async def renew_token(self, bot_id: int) -> str:
        """Revoke all tokens of a bot; return the one that is good from now on. Raises `AccountBlocked`."""
        account = await self._groups.read_account(bot_id)
        if account is None or account.state != "active":
            raise AccountBlocked
        return await self._renew(account, "")

    async def require_password(self, user_id: int, password: str) -> Account:
        """Return the account whose owner knows the password. Raises `InvalidForm` for a wrong one."""
        account = await self._groups.read_account(user_id)
        matches = await self._passwords.verify(account.password_hash if account is not None else None, password)
        if account is None or not matches:
            raise wrong_password()
        return account

    async def _renew(self, account: Account, new_hash: str) -> str:
        for _ in range(_ATTEMPTS):
            issued = await self._groups.issue(account.user_id, account.password_hash, self._now())
            if issued is None:
                raise wrong_password()
            await self.revoke_before(account.user_id, issued + 1)
            if await self._groups.replace_password(Account(account.user_id, account.password_hash, issued), new_hash):
                return self._tokens.mint(account.user_id, issued + 1)
        raise Unavailable

    async def revoke_before(self, user_id: int, before: int) -> None:
        """Revoke all tokens of a user that were issued before then (Unix ms); their sessions end on every node."""
        await self._revoke(user_id, lambda revocations: decide_revoke_before(revocations, before))

    async def _revoke(self, user_id: int, revoke: Callable[[Revocations], TokensRevoked | None]) -> None:
        async def decide(_: int) -> AnyBody | None:
            found = await self._groups.read_revocations((user_id,))
            return revoke(found.get(user_id, NOTHING_REVOKED))

        try:
            await self._changes.change(user_stream(user_id), decide)
        finally:
            self._door.forget(user_id)

    async def _find_user(self, user_id: int) -> User | None:
        """Return the user; one whose registration was stored and cut off then is finished first."""
        found = await self._groups.read_users((user_id,))
        if user_id not in found and await self._changes.settle(user_stream(user_id)):
            found = await self._groups.read_users((user_id,))
        return found.get(user_id)
