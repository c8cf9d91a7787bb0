"""What may happen to the webhooks of a group: from facts to an event body, to nothing, or to a refusal.

Ring 1 (core). The laws of who may decide are `authority`'s; who has a webhook's token may rename and delete that one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from services.groups.core.authority import Facts, authority_in
from shared.core.errors import MissingAccess, MissingPermissions
from shared.core.group_errors import TooManyWebhooks, UnknownChannel, UnknownWebhook
from shared.core.group_events import WebhookChanged, WebhookCreated, WebhookDeleted
from shared.core.message_errors import NotText
from shared.core.model import Channel, ChannelType, Webhook
from shared.core.permissions import Permission

MAX_WEBHOOKS: Final = 15
"""Webhooks of one channel."""
MAX_GROUP_WEBHOOKS: Final = 1_000
Channels = Mapping[int, Channel]


def decide_create_webhook(
    facts: Facts, channel: Channel | None, webhook: Webhook, existing: Collection[Webhook]
) -> WebhookCreated:
    """Let who manages a channel's webhooks make one. `existing`: all of the group.

    Raises `UnknownChannel`, `MissingAccess`, `MissingPermissions`, `NotText`, `TooManyWebhooks`.
    """
    _require_place(facts, channel, webhook.channel_id, existing)
    if len(existing) >= MAX_GROUP_WEBHOOKS:
        raise TooManyWebhooks(f"Maximum number of webhooks reached ({MAX_GROUP_WEBHOOKS})")
    return WebhookCreated(webhook)


def decide_change_webhook(
    facts: Facts,
    channels: Channels,
    before: Webhook | None,
    fields: Mapping[str, Any],
    existing: Collection[Webhook],
    *,
    by_token: bool,
) -> WebhookChanged | None:
    """Let who manages a webhook, or has its token, rename it; or let it write elsewhere in the group.

    Raises `UnknownWebhook`, `UnknownChannel`, `MissingAccess`, `MissingPermissions`, `NotText`, `TooManyWebhooks`.
    """
    before = require_webhook(facts, channels, before, by_token=by_token)
    webhook = msgspec.structs.replace(before, **fields)
    if webhook.channel_id != before.channel_id:
        _require_place(facts, channels.get(webhook.channel_id), webhook.channel_id, existing)
    return WebhookChanged(webhook, before) if webhook != before else None


def decide_delete_webhook(
    facts: Facts, channels: Channels, webhook: Webhook | None, *, by_token: bool
) -> WebhookDeleted:
    """Let who manages a webhook, or has its token, delete it.

    Raises `UnknownWebhook`, `MissingAccess`, `MissingPermissions`.
    """
    return WebhookDeleted(require_webhook(facts, channels, webhook, by_token=by_token))


def require_webhook(facts: Facts, channels: Channels, webhook: Webhook | None, *, by_token: bool) -> Webhook:
    """Return a webhook to who manages it, or has its token; strangers are told that there is none.

    Raises `UnknownWebhook`, `MissingAccess`, `MissingPermissions`.
    """
    if webhook is None or facts.group is None or (channel := channels.get(webhook.channel_id)) is None:
        raise UnknownWebhook
    if not by_token:
        if facts.member is None:
            raise UnknownWebhook
        authority_in(facts, channel).require(Permission.MANAGE_WEBHOOKS)
    return webhook


def may_manage(facts: Facts, channel: Channel) -> bool:
    """Whether who asks may see the webhooks of a channel, tokens included."""
    try:
        authority_in(facts, channel).require(Permission.MANAGE_WEBHOOKS)
    except (MissingAccess, MissingPermissions):
        return False
    return True


def _require_place(facts: Facts, channel: Channel | None, channel_id: int, existing: Collection[Webhook]) -> None:
    """Raise unless one more webhook may write into this channel."""
    if channel is None:
        raise UnknownChannel
    authority_in(facts, channel).require(Permission.MANAGE_WEBHOOKS)
    if channel.type is not ChannelType.TEXT:
        raise NotText
    if sum(one.channel_id == channel_id for one in existing) >= MAX_WEBHOOKS:
        raise TooManyWebhooks
