"""The end of accounts: deleted by their owners, blocked and unblocked by operators.

Ring 4 (shell). The account's state comes first: no token is issued from then on. A job that was stored before does the
rest, whoever dies meanwhile: all tokens void, so that live sessions end everywhere; of a deleted one also names
given up, groups left, bots and what they offered deleted. Messages keep their author as it was when they were written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from services.groups.accounts import Accounts
from services.groups.application_command_store import ApplicationCommandStore
from services.groups.changes import Changes
from services.groups.claims import Claims
from services.groups.core.applications import MAX_APPLICATIONS
from services.groups.core.decisions import MAX_GROUPS
from services.groups.core.names import username_key
from services.groups.core.profiles import decide_gone
from services.groups.group_directs import GroupDirects
from services.groups.jobs import LEAVE, Jobs
from services.groups.memberships import Memberships
from services.groups.store import GroupStore
from shared.core.account_errors import OwnsGroups
from shared.core.errors import MissingPermissions, Unauthorized
from shared.core.events import AnyBody
from shared.core.group_errors import UnknownGroup
from shared.core.stream import user_stream

RESERVED_MS: Final = 30 * 24 * 3600 * 1000
"""How long nobody else gets the name of a deleted account, so that nobody is taken for its owner."""
_EVER: Final = 1 << 48
"""Later than any time that a token can say."""

log = structlog.get_logger()


class Leaving:
    """Ends accounts. All raise `StoreUnavailable` and `Unavailable` beside what they tell."""

    def __init__(
        self,
        groups: GroupStore,
        accounts: Accounts,
        memberships: Memberships,
        group_directs: GroupDirects,
        changes: Changes,
        usernames: Claims,
        application_commands: ApplicationCommandStore,
        jobs: Jobs,
        now: Callable[[], int],
    ) -> None:
        self._groups = groups
        self._accounts = accounts
        self._memberships = memberships
        self._group_directs = group_directs
        self._changes = changes
        self._usernames = usernames
        self._application_commands = application_commands
        self._jobs = jobs
        self._now = now

    async def delete_own(self, user_id: int, password: str) -> None:
        """Delete the caller's account; its tokens are void when this returns.

        Raises `InvalidForm` for a wrong password, `OwnsGroups`.
        """
        await self._accounts.require_password(user_id, password)
        joined = (await self._groups.list_memberships((user_id,), MAX_GROUPS)).get(user_id, [])
        groups = await self._groups.read_groups(joined) if joined else {}
        if any(group.owner_id == user_id for group in groups.values()):
            raise OwnsGroups
        await self.delete(user_id)

    async def delete(self, user_id: int) -> None:
        """Delete an account; its tokens are void when this returns. Idempotent. Raises `Unauthorized` without one."""
        job = await self._jobs.promise(LEAVE, user_id)
        if await self._groups.set_state(user_id, "deleted") is None:
            raise Unauthorized
        await self._accounts.revoke_before(user_id, _EVER)
        await self._jobs.release(job)

    async def leave(self, user_id: int) -> None:
        """Finish the deletion of an account. Idempotent; the work of a job."""
        account = await self._groups.read_account(user_id)
        if account is None or account.state != "deleted":
            return  # it did not come to it
        await self._accounts.revoke_before(user_id, _EVER)
        for bot in await self._groups.list_bots(user_id, MAX_APPLICATIONS * 2):
            await self.delete(bot.user.id)
        await self._application_commands.forget(user_id)  # a bot's are under its id; a person has none
        profile = await self._groups.read_profile(user_id)
        if profile is not None and not profile.gone:
            await self._usernames.reserve(username_key(profile.user.username), user_id, self._now() + RESERVED_MS)

        async def decide(_: int) -> AnyBody | None:
            profile = await self._groups.read_profile(user_id)
            return decide_gone(profile.user) if profile is not None and not profile.gone else None

        await self._changes.change(user_stream(user_id), decide)
        for group_id in (await self._groups.list_memberships((user_id,), MAX_GROUPS)).get(user_id, []):
            try:
                await self._memberships.leave(user_id, group_id)
            except (UnknownGroup, MissingPermissions):
                log.warning("deleted_account_owns_group", group=group_id)  # made while it was being deleted
        await self._group_directs.leave_all(user_id)
        if (user := (await self._groups.read_users((user_id,))).get(user_id)) is not None:
            await self._groups.rename_recipient(user)

    async def stop(self, user_id: int) -> None:
        """Void all tokens of a blocked account and of its bots. Idempotent; the work of a job."""
        bots = await self._groups.list_bots(user_id, MAX_APPLICATIONS * 2)
        for one in (user_id, *(bot.user.id for bot in bots)):
            account = await self._groups.read_account(one)
            if account is not None and account.state == "blocked":
                await self._accounts.revoke_before(one, account.issued)
