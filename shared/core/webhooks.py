"""Webhooks: what they may do, what they are called, and as whom they write. For groups, who keep them, and history.

Ring 1 (core). Tokens are `shared.auth`'s.
"""

from __future__ import annotations

from typing import Final

from shared.core.model import User, Webhook
from shared.core.permissions import Permission
from shared.core.titles import require_title

WEBHOOK_NAME_LENGTH: Final = (1, 80)
PERMISSIONS: Final = int(
    Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.MENTION_EVERYONE
    | Permission.BYPASS_SLOWMODE
)
"""What a webhook may do in its channel, whatever roles and overwrites say; to make one takes MANAGE_WEBHOOKS."""


def require_webhook_name(name: str, field: str = "name") -> str:
    """Return what a webhook is called, as it is kept. Raises `InvalidForm` for this field."""
    return require_title(field, name, WEBHOOK_NAME_LENGTH)


def author_of(webhook: Webhook, username: str = "") -> User:
    """Return as whom a webhook writes: its id, and its name or another one for this message."""
    return User(webhook.id, username or webhook.name, bot=True)
