"""Webhooks in Discord's v10 shape. Ring 1 (core)."""

from __future__ import annotations

from typing import Final

from shared.core.model import User, Webhook
from shared.core.wire.users import user_of
from shared.core.wire.values import Json

_INCOMING: Final = 1
"""The one type of webhook that we have."""
_NO_USER: Final = "0000"


def webhook_of(webhook: Webhook, token: str, url: str, *, with_creator: bool = True) -> Json:
    """Return a webhook as those see it who may use it. `url`: where its messages are sent to."""
    told: Json = {
        "id": str(webhook.id),
        "type": _INCOMING,
        "guild_id": str(webhook.group_id),
        "channel_id": str(webhook.channel_id),
        "name": webhook.name,
        "avatar": None,
        "application_id": None,
        "token": token,
        "url": url,
    }
    return told | ({"user": user_of(webhook.creator)} if with_creator else {})


def webhook_author_of(author: User, avatar_url: str) -> Json:
    """Return who wrote a webhook's message: no user, which its discriminator says.

    Discord would keep the picture and tell its hash; we keep its address, under a name of our own.
    """
    told = user_of(author) | {"discriminator": _NO_USER}
    return told | ({"avatar_url": avatar_url} if avatar_url else {})


def webhooks_update_of(channel_id: int, group_id: int, seq: int) -> Json:
    """Return the payload of WEBHOOKS_UPDATE: some webhook of the channel was made, changed or deleted."""
    return {"guild_id": str(group_id), "channel_id": str(channel_id), "seq": seq}
