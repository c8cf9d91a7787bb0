"""Accounts: registration and login.

Ring 4 (shell). A registration is four writes in this order: claim of the username, account, first event of the
user's stream, its projection. A crash after the first two leaves a claim that may be taken over after 60 s;
after the third the account is there, and a sweeper finishes it.
"""

from __future__ import annotations

from collections.abc import Callable

from services.groups.changes import Changes
from services.groups.claims import Claims
from services.groups.core.names import (
    invalid_login,
    require_password,
    require_username,
    username_key,
    username_taken,
)
from services.groups.passwords import Passwords
from services.groups.store import Account, GroupStore
from shared.auth import Tokens
from shared.core.events import AnyBody, UserRegistered
from shared.core.ids import IdSource
from shared.core.model import User
from shared.core.stream import user_stream


class Accounts:
    """Registers and logs in. All raise `StoreUnavailable` and `Unavailable` beside what they tell."""

    def __init__(
        self,
        groups: GroupStore,
        changes: Changes,
        claims: Claims,
        passwords: Passwords,
        tokens: Tokens,
        ids: IdSource,
        now: Callable[[], int],
    ) -> None:
        self._groups = groups
        self._changes = changes
        self._claims = claims
        self._passwords = passwords
        self._tokens = tokens
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
        key = username_key(name)
        if await self._claims.is_taken(key):
            raise username_taken()
        password_hash = await self._passwords.hash(password)
        user = User(self._ids.next_id(self._now()), name)
        if not await self._claims.take(key, user.id):
            raise username_taken()
        await self._groups.create_account(Account(user.id, password_hash))

        async def decide(seq: int) -> AnyBody | None:
            await self._claims.require_held_by(key, user.id)
            return None if seq else UserRegistered(user)

        await self._changes.change(user_stream(user.id), decide, answer_stored=True)
        await self._claims.require_held_by(key, user.id)
        return self._tokens.mint(user.id, self._now()), user

    async def login(self, login: str, password: str) -> tuple[str, User]:
        """Return a new token and the user.

        Raises `InvalidForm`: the same, and after the same time, for an unknown user and a wrong password.
        """
        owner = await self._claims.owner_of(username_key(login))
        account = await self._groups.read_account(owner or 0)
        if not await self._passwords.verify(account.password_hash if account is not None else None, password):
            raise invalid_login()
        user = await self._find_user(owner or 0)
        if user is None:
            raise invalid_login()
        return self._tokens.mint(user.id, self._now()), user

    async def _find_user(self, user_id: int) -> User | None:
        """Return the user; one whose registration was stored and cut off then is finished first."""
        found = await self._groups.read_users((user_id,))
        if user_id not in found and await self._changes.settle(user_stream(user_id)):
            found = await self._groups.read_users((user_id,))
        return found.get(user_id)
