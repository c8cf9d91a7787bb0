"""Invites: made by members, used by anybody who has the code.

Ring 4 (shell). Gathers the facts, lets `services.groups.core.invites` decide on them, and hands the decision to
`Changes`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from services.groups.changes import Changes
from services.groups.core.authority import authority_in
from services.groups.core.invites import (
    CODE_LENGTH,
    CODE_LETTERS,
    MAX_KEPT,
    decide_accept,
    decide_create_invite,
    decide_delete_invite,
    like,
)
from services.groups.facts import FactReader
from services.groups.memberships import Memberships
from services.groups.store import GroupStore
from shared.core.change import Actor
from shared.core.events import AnyBody
from shared.core.group_errors import UnknownChannel, UnknownInvite
from shared.core.model import Channel, Group, Invite
from shared.core.permissions import Permission
from shared.core.stream import group_stream


class Invites:
    """Ways into groups. All raise `StoreUnavailable` and `Unavailable` beside what the decisions tell."""

    def __init__(
        self,
        facts: FactReader,
        groups: GroupStore,
        memberships: Memberships,
        changes: Changes,
        now: Callable[[], int],
    ) -> None:
        self._facts = facts
        self._groups = groups
        self._memberships = memberships
        self._changes = changes
        self._now = now

    async def create(
        self, actor: Actor, channel_id: int, *, max_age_s: int, max_uses: int, temporary: bool, unique: bool
    ) -> Invite:
        """Make an invite into a channel; without `unique` one that is as good is returned instead."""
        group_id = await self._facts.group_of(channel_id)
        user = await self._facts.require_user(actor.user_id)
        code = "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))
        invite = Invite(code, group_id, channel_id, user, self._now(), max_age_s, max_uses, temporary=temporary)
        made: list[Invite] = []

        async def decide(_: int) -> AnyBody | None:
            facts = await self._facts.facts(group_id, actor.user_id)
            channel = (await self._facts.channels(group_id)).get(channel_id)
            existing = await self._groups.list_invites(group_id, MAX_KEPT)
            event = decide_create_invite(facts, channel, invite, existing)
            known = None if unique else like(invite, existing, facts.now)
            made[:] = [known or invite]
            return event if known is None else None

        await self._changes.change(group_stream(group_id), decide, actor=actor, answer_stored=True)
        return made[0]

    async def delete(self, actor: Actor, code: str) -> tuple[Invite, Group, Channel]:
        """Close an invite; return it as it was."""
        found = await self.find(code)
        group_id = found[0].group_id

        async def decide(_: int) -> AnyBody | None:
            invite = await self._groups.read_invite(code)
            channel = (await self._facts.channels(group_id)).get(found[0].channel_id)
            return decide_delete_invite(await self._facts.facts(group_id, actor.user_id), channel, invite)

        await self._changes.change(group_stream(group_id), decide, actor=actor)
        return found

    async def accept(self, user_id: int, code: str) -> tuple[Invite, Group, Channel]:
        """Join the group by an invite; a member stays one.

        Raises `TooManyGroups` and `TooManyMembers` beside what is decided.
        """
        found = await self.find(code)
        group_id = found[0].group_id
        user = await self._facts.require_user(user_id)
        if await self._facts.member(group_id, user_id) is None:
            await self._memberships.require_room(user_id)

        async def decide(_: int) -> AnyBody | None:
            group = (await self._groups.read_groups((group_id,))).get(group_id)
            invite = await self._groups.read_invite(code)
            is_banned = await self._groups.read_ban(group_id, user_id) is not None
            member = await self._facts.member(group_id, user_id)
            if invite is not None and await self._groups.read_channel(invite.channel_id) is None:
                raise UnknownInvite  # its channel was deleted meanwhile
            event = decide_accept(group, invite, member, user, self._now(), is_banned=is_banned)
            if event is not None:
                await self._memberships.require_place(group_id)
            return event

        await self._changes.change(group_stream(group_id), decide)
        return found

    async def find(self, code: str) -> tuple[Invite, Group, Channel]:
        """Return an invite that is still good, its group and channel. Raises `UnknownInvite`."""
        invite = await self._groups.read_invite(code)
        if invite is None or not invite.is_good(self._now()):
            raise UnknownInvite
        group = (await self._groups.read_groups((invite.group_id,))).get(invite.group_id)
        channel = await self._groups.read_channel(invite.channel_id)
        if group is None or channel is None:
            raise UnknownInvite
        return invite, group, channel

    async def list_of_channel(self, user_id: int, channel_id: int) -> list[tuple[Invite, Group, Channel]]:
        """Return the good invites into a channel to who manages it."""
        group_id = await self._facts.group_of(channel_id)
        facts = await self._facts.facts(group_id, user_id)
        channel = (await self._facts.channels(group_id)).get(channel_id)
        if channel is None:
            raise UnknownChannel
        authority_in(facts, channel).require(Permission.MANAGE_CHANNELS)
        return [found for found in await self.list_of_group(group_id) if found[2].id == channel_id]

    async def list_of_group(self, group_id: int) -> list[tuple[Invite, Group, Channel]]:
        """Return the good invites of a group, by code."""
        group = (await self._groups.read_groups((group_id,))).get(group_id)
        channels = await self._facts.channels(group_id)
        invites = await self._groups.list_invites(group_id, MAX_KEPT)
        return [
            (invite, group, channels[invite.channel_id])
            for invite in invites
            if group is not None and invite.channel_id in channels and invite.is_good(self._now())
        ]
