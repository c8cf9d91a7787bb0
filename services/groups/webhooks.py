"""Webhooks: made by members who may, used by programs that have their tokens. History lets them write.

Ring 4 (shell). Gathers the facts, lets `services.groups.core.webhooks` decide on them, and hands the decision to
`Changes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from services.groups.changes import Changes
from services.groups.core.authority import authority_in, authority_of
from services.groups.core.webhooks import (
    MAX_GROUP_WEBHOOKS,
    MAX_WEBHOOKS,
    decide_change_webhook,
    decide_create_webhook,
    decide_delete_webhook,
    may_manage,
    require_webhook,
)
from services.groups.facts import FactReader
from services.groups.store import GroupStore
from shared.auth import Tokens
from shared.core.change import Actor
from shared.core.events import AnyBody
from shared.core.group_errors import UnknownChannel, UnknownWebhook
from shared.core.ids import IdSource
from shared.core.model import Webhook
from shared.core.permissions import Permission
from shared.core.stream import group_stream
from shared.core.webhooks import require_webhook_name
from shared.core.wire.values import Json
from shared.core.wire.webhooks import webhook_of


class Webhooks:
    """Webhooks of groups. All raise `StoreUnavailable` and `Unavailable` beside what the decisions tell.

    `user_id` 0, or `NOBODY`, stands for who has the webhook's token, which `require_token` has looked at; that is no
    entry of the audit log. `public_url`: the front door as clients see it.
    """

    def __init__(
        self,
        facts: FactReader,
        groups: GroupStore,
        changes: Changes,
        tokens: Tokens,
        ids: IdSource,
        now: Callable[[], int],
        public_url: str,
    ) -> None:
        self._facts = facts
        self._groups = groups
        self._changes = changes
        self._tokens = tokens
        self._ids = ids
        self._now = now
        self._public_url = public_url

    def told(self, webhook: Webhook, *, with_creator: bool = True) -> Json:
        """Return a webhook as those see it who may use it."""
        token = self._tokens.webhook_token(webhook.id)
        url = f"{self._public_url}/api/v10/webhooks/{webhook.id}/{token}"
        return webhook_of(webhook, token, url, with_creator=with_creator)

    def require_token(self, webhook_id: int, token: str) -> None:
        """Raise `InvalidWebhookToken` for what is not the webhook's token; whether there is such a webhook or not."""
        self._tokens.require_webhook(webhook_id, token)

    async def create(self, actor: Actor, channel_id: int, name: str) -> Webhook:
        """Let programs write into a channel by one more webhook."""
        name = require_webhook_name(name)
        group_id = await self._facts.group_of(channel_id)
        creator = await self._facts.require_user(actor.user_id)
        webhook = Webhook(self._ids.next_id(self._now()), group_id, channel_id, name, creator)

        async def decide(_: int) -> AnyBody | None:
            channel = (await self._facts.channels(group_id)).get(channel_id)
            existing = await self._groups.list_webhooks(group_id, MAX_GROUP_WEBHOOKS)
            return decide_create_webhook(await self._facts.facts(group_id, actor.user_id), channel, webhook, existing)

        await self._changes.change(group_stream(group_id), decide, actor=actor, answer_stored=True)
        return webhook

    async def find(self, user_id: int, webhook_id: int) -> Webhook:
        """Return a webhook to who manages it."""
        webhook = await self._groups.read_webhook(webhook_id)
        if webhook is None:
            raise UnknownWebhook
        channels = await self._facts.channels(webhook.group_id)
        facts = await self._facts.facts(webhook.group_id, user_id)
        return require_webhook(facts, channels, webhook, by_token=not user_id)

    async def change(self, actor: Actor, webhook_id: int, fields: Mapping[str, Any]) -> Webhook:
        """Give a webhook another `name` or `channel_id`; return it as it is then."""
        if "name" in fields:
            fields = {**fields, "name": require_webhook_name(fields["name"])}
        group_id = await self._group_of(webhook_id)
        changed: list[Webhook | None] = []

        async def decide(_: int) -> AnyBody | None:
            before = await self._groups.read_webhook(webhook_id)
            existing = await self._groups.list_webhooks(group_id, MAX_GROUP_WEBHOOKS) if "channel_id" in fields else ()
            channels = await self._facts.channels(group_id)
            facts = await self._facts.facts(group_id, actor.user_id)
            event = decide_change_webhook(facts, channels, before, fields, existing, by_token=not actor.user_id)
            changed[:] = [event.webhook if event is not None else before]
            return event

        await self._changes.change(group_stream(group_id), decide, actor=actor)
        if (webhook := changed[0]) is None:
            raise UnknownWebhook
        return webhook

    async def delete(self, actor: Actor, webhook_id: int) -> None:
        """Delete a webhook: what is sent by it once this has answered is refused."""
        group_id = await self._group_of(webhook_id)

        async def decide(_: int) -> AnyBody | None:
            webhook = await self._groups.read_webhook(webhook_id)
            channels = await self._facts.channels(group_id)
            facts = await self._facts.facts(group_id, actor.user_id)
            return decide_delete_webhook(facts, channels, webhook, by_token=not actor.user_id)

        await self._changes.change(group_stream(group_id), decide, actor=actor)

    async def list_of_channel(self, user_id: int, channel_id: int) -> list[Webhook]:
        """Return the webhooks of a channel to who manages them."""
        group_id = await self._facts.group_of(channel_id)
        channel = (await self._facts.channels(group_id)).get(channel_id)
        if channel is None:
            raise UnknownChannel
        authority_in(await self._facts.facts(group_id, user_id), channel).require(Permission.MANAGE_WEBHOOKS)
        return await self._groups.list_webhooks(group_id, MAX_WEBHOOKS, channel_id=channel_id)

    async def list_of_group(self, user_id: int, group_id: int) -> list[Webhook]:
        """Return the webhooks of a group to who manages them there, of those channels where the caller does, too."""
        facts = await self._facts.facts(group_id, user_id)
        authority_of(facts).require(Permission.MANAGE_WEBHOOKS)
        channels = await self._facts.channels(group_id)
        managed = {one.id for one in channels.values() if may_manage(facts, one)}
        webhooks = await self._groups.list_webhooks(group_id, MAX_GROUP_WEBHOOKS)
        return [webhook for webhook in webhooks if webhook.channel_id in managed]

    async def _group_of(self, webhook_id: int) -> int:
        webhook = await self._groups.read_webhook(webhook_id)
        if webhook is None or not await self._groups.read_groups((webhook.group_id,)):
            raise UnknownWebhook
        return webhook.group_id
