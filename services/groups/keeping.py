"""What those who run a group do to the group itself: change it, hand it over, delete it.

Ring 4 (shell). Gathers the facts, lets `services.groups.core.groups` decide on them, and hands the decision to
`Changes`. A public name is claimed before the group's stream tells it; the one before is free from then on. A deleted
group is gone with its last event, channels, invites and name with it. Its members' own streams are told by a job
(rule 12 of docs/rules.md), page by page; the projection of the members says how far it came.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from msgspec import UNSET

from services.groups.changes import Changes
from services.groups.claims import Claims
from services.groups.core.groups import GroupPatch, decide_change_group, decide_delete_group
from services.groups.core.names import group_name_key, group_name_taken, require_description, require_group_name
from services.groups.facts import FactReader
from services.groups.jobs import DISBAND, Jobs
from services.groups.memberships import Memberships
from services.groups.store import GroupStore
from shared.core.change import Actor
from shared.core.events import AnyBody
from shared.core.group_errors import UnknownGroup
from shared.core.group_events import GroupChanged, GroupDeleted
from shared.core.model import Group
from shared.core.stream import group_stream, user_stream
from shared.core.user_events import GroupLeft

_PAGE: Final = 100
_PAGES: Final = 20
"""Pages of members that one run of the job tells; then it is asked for anew."""
_AT_ONCE: Final = 8


class Keeping:
    """Changes of groups themselves. All raise `StoreUnavailable` and `Unavailable` beside what the decisions tell."""

    def __init__(
        self,
        facts: FactReader,
        groups: GroupStore,
        memberships: Memberships,
        changes: Changes,
        names: Claims,
        jobs: Jobs,
    ) -> None:
        self._facts = facts
        self._groups = groups
        self._memberships = memberships
        self._changes = changes
        self._names = names
        self._jobs = jobs

    async def change(self, actor: Actor, group_id: int, patch: GroupPatch) -> Group:
        """Change a group; return it as it is then. Raises `TooManyGroups` for an heir who owns as many as one may."""
        if patch.name is not UNSET:
            patch = msgspec.structs.replace(patch, name=require_group_name(patch.name))
        if patch.description is not UNSET:
            patch = msgspec.structs.replace(patch, description=require_description(patch.description))
        await self._changes.settle(group_stream(group_id))  # a refusal, too, is told when its reasons are published
        event = await self._decide(actor.user_id, group_id, patch)
        if event is not None and event.group.owner_id != event.before.owner_id:
            await self._memberships.require_room_to_own(event.group.owner_id)
        key = _new_name(event) if event is not None else ""
        if key and not await self._names.take(key, group_id):
            raise group_name_taken()

        async def decide(_: int) -> AnyBody | None:
            event = await self._decide(actor.user_id, group_id, patch)
            if event is not None and (key := _new_name(event)):
                await self._names.require_held_by(key, group_id)
            return event

        await self._changes.change(group_stream(group_id), decide, actor=actor)
        if key and await self._names.owner_of(key) != group_id:
            await self._hide(group_id, key)
            raise group_name_taken()
        return await self._read(group_id)

    async def _decide(self, user_id: int, group_id: int, patch: GroupPatch) -> GroupChanged | None:
        facts = await self._facts.facts(group_id, user_id)
        channels = await self._facts.channels(group_id) if patch.system_channel_id is not UNSET else {}
        heir = None
        if patch.owner_id is not UNSET:
            account = await self._groups.read_account(patch.owner_id)
            if account is not None and account.state == "active":
                heir = await self._facts.member(group_id, patch.owner_id)
        return decide_change_group(facts, channels, heir, patch)

    async def _read(self, group_id: int) -> Group:
        groups = await self._groups.read_groups((group_id,))
        if group_id not in groups:
            raise UnknownGroup  # deleted in this moment
        return groups[group_id]

    async def _hide(self, group_id: int, key: str) -> None:
        """Let a group be public no more whose name was taken over while we hung between claiming and telling it."""

        async def decide(_: int) -> AnyBody | None:
            group = await self._read(group_id)
            if not group.public or group_name_key(group.name) != key:
                return None
            return GroupChanged(msgspec.structs.replace(group, public=False), group)

        await self._changes.change(group_stream(group_id), decide)

    async def delete(self, actor: Actor, group_id: int) -> None:
        """Delete a group. When this returns nothing is read, written or heard there any more."""

        async def decide(_: int) -> GroupDeleted:
            return decide_delete_group(await self._facts.facts(group_id, actor.user_id))

        await self._changes.change(group_stream(group_id), decide, actor=actor)

    async def disband(self, group_id: int) -> None:
        """Tell the members of a deleted group, in their own streams, that they are out. Idempotent; a job's work."""
        seq = await self._changes.settle(group_stream(group_id))
        if await self._groups.read_groups((group_id,)):
            return  # whoever asked for that
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def tell(user_id: int) -> None:
            async def decide(_: int) -> AnyBody | None:
                known = await self._groups.read_membership(user_id, group_id)
                return GroupLeft(group_id, seq) if known is None or known.group_seq < seq else None

            async with at_once:
                await self._changes.change(user_stream(user_id), decide)
                await self._groups.remove_member(group_id, user_id, seq)

        after = 0
        for _ in range(_PAGES):
            members = await self._groups.list_members(group_id, after, _PAGE)
            await asyncio.gather(*(tell(member.user.id) for member in members))
            after = members[-1].user.id if members else after
            if len(members) < _PAGE:
                return
        await self._jobs.ask(DISBAND, group_id)


def _new_name(event: GroupChanged) -> str:
    """Return the key that a group claims by this change, "" for none."""
    before, group = event.before, event.group
    if not group.public or (before.public and group_name_key(before.name) == group_name_key(group.name)):
        return ""
    return group_name_key(group.name)
