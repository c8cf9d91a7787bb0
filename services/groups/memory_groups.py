"""Groups in memory, without their channels and members: themselves, roles, invites, webhooks.

Ring 2. A part of the group store: see `memory_store`.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.groups.memory_projection import Projection
from shared.core.model import Group, Invite, Role, Webhook


class MemoryRooms:
    """The groups of a `GroupStore`, their roles, invites and webhooks. All raise `StoreUnavailable`."""

    def __init__(self) -> None:
        super().__init__()
        self._groups: Projection[int, Group | None] = Projection()
        self._roles: Projection[int, Role | None] = Projection()
        self._invites: Projection[str, Invite | None] = Projection()
        self._webhooks: Projection[int, Webhook | None] = Projection()

    async def put_group(self, group: Group, seq: int) -> None:
        """Project a group."""
        self._groups.put(group.id, group, seq)

    async def remove_group(self, group_id: int, seq: int) -> None:
        """Project that a group is gone: a tombstone."""
        self._groups.put(group_id, None, seq)

    async def read_groups(self, group_ids: Sequence[int]) -> dict[int, Group]:
        """Return the groups that exist among these."""
        return {one: group for one, group in self._groups.some(group_ids).items() if group is not None}

    async def put_role(self, role: Role, seq: int) -> None:
        """Project a role of a group."""
        self._roles.put(role.id, role, seq)

    async def remove_role(self, role_id: int, seq: int) -> None:
        """Project that a role is gone: a tombstone."""
        self._roles.put(role_id, None, seq)

    async def list_roles(self, group_ids: Sequence[int]) -> dict[int, list[Role]]:
        """Return the stored roles of each group by id."""
        found: dict[int, list[Role]] = {}
        for role in sorted((role for role in self._roles.values() if role is not None), key=lambda role: role.id):
            if role.group_id in group_ids:
                found.setdefault(role.group_id, []).append(role)
        return found

    async def put_invite(self, invite: Invite, seq: int) -> None:
        """Project an invite, or how often it was used."""
        self._invites.put(invite.code, invite, seq)

    async def remove_invite(self, code: str, seq: int) -> None:
        """Project that an invite is gone: a tombstone."""
        self._invites.put(code, None, seq)

    async def read_invite(self, code: str) -> Invite | None:
        """Return an invite, whether or not it is still good."""
        return self._invites.get(code)

    async def list_invites(self, group_id: int, limit: int) -> list[Invite]:
        """Return a group's invites, whether or not they are still good, by code, at most `limit`."""
        there = (one for one in self._invites.values() if one is not None and one.group_id == group_id)
        return sorted(there, key=lambda invite: invite.code)[:limit]

    async def put_webhook(self, webhook: Webhook, seq: int) -> None:
        """Project a webhook."""
        self._webhooks.put(webhook.id, webhook, seq)

    async def remove_webhook(self, webhook_id: int, seq: int) -> None:
        """Project that a webhook is gone: a tombstone."""
        self._webhooks.put(webhook_id, None, seq)

    async def read_webhook(self, webhook_id: int) -> Webhook | None:
        """Return a webhook that is there."""
        return self._webhooks.get(webhook_id)

    async def list_webhooks(self, group_id: int, limit: int, *, channel_id: int | None = None) -> list[Webhook]:
        """Return a group's webhooks, or those of one of its channels, by id, at most `limit`."""
        there = (one for one in self._webhooks.values() if one is not None and one.group_id == group_id)
        found = (one for one in there if channel_id is None or one.channel_id == channel_id)
        return sorted(found, key=lambda webhook: webhook.id)[:limit]
