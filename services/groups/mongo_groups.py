"""Groups on MongoDB, without their channels and members: themselves, roles, invites, webhooks; one document each.

Ring 3 (adapter).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from services.groups.mongo_documents import VERSION, Documents, one_of, value_of
from shared.core.model import Group, Invite, Role, Webhook

_MOST_ROLES: Final = 250


class MongoRooms(Documents):
    """The groups of a `GroupStore`, their roles, invites and webhooks. All raise `StoreUnavailable`."""

    async def put_group(self, group: Group, seq: int) -> None:
        """Project a group."""
        await self._put("groups", group.id, seq, group)

    async def remove_group(self, group_id: int, seq: int) -> None:
        """Project that a group is gone: a tombstone."""
        await self._mongo.put_newer("groups", group_id, seq, {"v": VERSION, "gone": True})

    async def read_groups(self, group_ids: Sequence[int]) -> dict[int, Group]:
        """Return the groups that exist among these."""
        if not group_ids:
            return {}
        query = {"_id": {"$in": list(group_ids)}}
        async with self._mongo.asking():
            documents = await self._mongo["groups"].find(query).to_list(len(group_ids))
        groups = (msgspec.convert(document, Group) for document in documents if not document.get("gone"))
        return {group.id: group for group in groups}

    async def put_role(self, role: Role, seq: int) -> None:
        """Project a role of a group."""
        await self._put("roles", role.id, seq, role)

    async def remove_role(self, role_id: int, seq: int) -> None:
        """Project that a role is gone: a tombstone, in no group's list."""
        await self._mongo.put_newer("roles", role_id, seq, {"v": VERSION, "gone": True})

    async def list_roles(self, group_ids: Sequence[int]) -> dict[int, list[Role]]:
        """Return the stored roles of each group by id."""
        query = {"group_id": one_of(group_ids)}
        async with self._mongo.asking():
            documents = await self._mongo["roles"].find(query).to_list(_MOST_ROLES * len(group_ids))
        found: dict[int, list[Role]] = {}
        for role in sorted((msgspec.convert(document, Role) for document in documents), key=lambda role: role.id):
            found.setdefault(role.group_id, []).append(role)
        return found

    async def put_invite(self, invite: Invite, seq: int) -> None:
        """Project an invite, or how often it was used."""
        await self._put("invites", invite.code, seq, invite)

    async def remove_invite(self, code: str, seq: int) -> None:
        """Project that an invite is gone: a tombstone, in no group's list."""
        await self._mongo.put_newer("invites", code, seq, {"v": VERSION, "gone": True})

    async def read_invite(self, code: str) -> Invite | None:
        """Return an invite, whether or not it is still good."""
        document = await self._read("invites", code)
        return value_of(document, Invite) if document is not None and not document.get("gone") else None

    async def list_invites(self, group_id: int, limit: int) -> list[Invite]:
        """Return a group's invites, whether or not they are still good, by code, at most `limit`."""
        async with self._mongo.asking():
            documents = await self._mongo["invites"].find({"group_id": group_id}).limit(limit).to_list(limit)
        return sorted((msgspec.convert(document, Invite) for document in documents), key=lambda invite: invite.code)

    async def put_webhook(self, webhook: Webhook, seq: int) -> None:
        """Project a webhook."""
        await self._put("webhooks", webhook.id, seq, webhook)

    async def remove_webhook(self, webhook_id: int, seq: int) -> None:
        """Project that a webhook is gone: a tombstone, in no group's list."""
        await self._mongo.put_newer("webhooks", webhook_id, seq, {"v": VERSION, "gone": True})

    async def read_webhook(self, webhook_id: int) -> Webhook | None:
        """Return a webhook that is there."""
        document = await self._read("webhooks", webhook_id)
        return value_of(document, Webhook) if document is not None and not document.get("gone") else None

    async def list_webhooks(self, group_id: int, limit: int, *, channel_id: int | None = None) -> list[Webhook]:
        """Return a group's webhooks, or those of one of its channels, by id, at most `limit`."""
        query = {"group_id": group_id} | ({"channel_id": channel_id} if channel_id is not None else {})
        async with self._mongo.asking():
            documents = await self._mongo["webhooks"].find(query).limit(limit).to_list(limit)
        return sorted((msgspec.convert(document, Webhook) for document in documents), key=lambda webhook: webhook.id)
