"""What members do to members of their group: change, add, kick, ban.

Ring 4 (shell). Gathers the facts, lets `services.groups.core.members` decide on them, and hands the decision to
`Changes`.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from services.groups.changes import Changes
from services.groups.core.authority import authority_of
from services.groups.core.members import (
    MemberPatch,
    decide_add_member,
    decide_ban,
    decide_change_member,
    decide_give_role,
    decide_kick,
    decide_lift_ban,
)
from services.groups.core.names import require_nick
from services.groups.facts import FactReader
from services.groups.memberships import Memberships
from services.groups.purging import Purging
from services.groups.store import GroupStore
from shared.core.account_errors import UnknownUser
from shared.core.change import Actor
from shared.core.errors import MissingPermissions
from shared.core.events import AnyBody
from shared.core.model import Member
from shared.core.permissions import Permission
from shared.core.roles import known_only
from shared.core.stream import group_stream


class Members:
    """Changes of members. All raise `StoreUnavailable` and `Unavailable` beside what the decisions tell."""

    def __init__(
        self,
        facts: FactReader,
        groups: GroupStore,
        memberships: Memberships,
        changes: Changes,
        purging: Purging,
    ) -> None:
        self._facts = facts
        self.purging = purging
        self._groups = groups
        self._memberships = memberships
        self._changes = changes

    async def change(self, actor: Actor, group_id: int, target_id: int, patch: MemberPatch) -> Member:
        """Change a member; return it as it is then."""
        if isinstance(patch.nick, str):
            patch = msgspec.structs.replace(patch, nick=require_nick(patch.nick))
        changed: list[Member] = []

        async def decide(_: int) -> AnyBody | None:
            facts = await self._facts.facts(group_id, actor.user_id)
            target = await self._facts.member(group_id, target_id)
            event = decide_change_member(facts, target, patch)
            changed[:] = [event.member] if event is not None else [known_only(target, facts.roles)] if target else []
            return event

        await self._changes.change(group_stream(group_id), decide, actor=actor)
        return changed[0]

    async def give_role(self, actor: Actor, group_id: int, target_id: int, role_id: int, *, given: bool) -> None:
        """Give a member a role, or take it."""

        async def decide(_: int) -> AnyBody | None:
            facts = await self._facts.facts(group_id, actor.user_id)
            return decide_give_role(facts, await self._facts.member(group_id, target_id), role_id, given=given)

        await self._changes.change(group_stream(group_id), decide, actor=actor)

    async def add(
        self, actor: Actor, group_id: int, target_id: int, nick: str | None, roles: Collection[int]
    ) -> Member | None:
        """Put a user into a group; return the new member, None if it is one already. Raises `UnknownUser`."""
        nick = require_nick(nick)
        added: list[Member] = []
        if await self._facts.member(group_id, target_id) is None:
            await self._memberships.require_room(target_id)

        async def decide(_: int) -> AnyBody | None:
            facts = await self._facts.facts(group_id, actor.user_id)
            user = await self._facts.require_user(target_id)
            target = await self._facts.member(group_id, target_id)
            is_banned = await self._groups.read_ban(group_id, target_id) is not None
            event = decide_add_member(facts, user, target, is_banned=is_banned, nick=nick, roles=roles)
            if event is not None:
                await self._memberships.require_place(group_id)
            added[:] = [event.member] if event is not None else []
            return event

        await self._changes.change(group_stream(group_id), decide, actor=actor)
        return added[0] if added else None

    async def kick(self, actor: Actor, group_id: int, target_id: int) -> None:
        """Remove a member: nothing that is sequenced after the answer reaches the removed."""

        async def decide(_: int) -> AnyBody | None:
            facts = await self._facts.facts(group_id, actor.user_id)
            return decide_kick(facts, await self._facts.member(group_id, target_id))

        await self._changes.change(group_stream(group_id), decide, actor=actor)

    async def ban(self, actor: Actor, group_id: int, target_id: int, delete_s: int = 0) -> None:
        """Keep a user out of a group, and remove a member. Raises `UnknownUser`.

        What the user wrote in the last `delete_s` seconds is deleted soon.
        """

        async def decide(_: int) -> AnyBody | None:
            facts = await self._facts.facts(group_id, actor.user_id)
            target = await self._facts.member(group_id, target_id)
            ban = await self._groups.read_ban(group_id, target_id)
            user = target.user if target is not None else await self._facts.require_user(target_id)
            return decide_ban(facts, user, target, ban, actor.reason)

        await self._changes.change(group_stream(group_id), decide, actor=actor)
        if delete_s:
            await self.purging.ask(actor.user_id, group_id, target_id, delete_s)

    async def ban_many(
        self, actor: Actor, group_id: int, target_ids: Collection[int], delete_s: int
    ) -> tuple[list[int], list[int]]:
        """Ban each of these; return who is banned now and who can't be. Raises `UnknownGroup`, `MissingPermissions`."""
        authority = authority_of(await self._facts.facts(group_id, actor.user_id))
        authority.require(Permission.BAN_MEMBERS, Permission.MANAGE_GUILD)
        banned: list[int] = []
        failed: list[int] = []
        for target_id in target_ids:
            try:
                await self.ban(actor, group_id, target_id, delete_s)
            except (MissingPermissions, UnknownUser):
                failed.append(target_id)
            else:
                banned.append(target_id)
        return banned, failed

    async def lift_ban(self, actor: Actor, group_id: int, target_id: int) -> None:
        """Let a banned user in again."""

        async def decide(_: int) -> AnyBody | None:
            facts = await self._facts.facts(group_id, actor.user_id)
            return decide_lift_ban(facts, await self._groups.read_ban(group_id, target_id))

        await self._changes.change(group_stream(group_id), decide, actor=actor)
