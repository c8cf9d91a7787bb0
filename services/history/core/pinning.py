"""Pinning: what a pin and its withdrawal come to.

Ring 1 (core). Pure; refusals are raised. Read `deciding` next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from shared.core.errors import MissingPermissions
from shared.core.message_errors import CannotActOnSystemMessage, TooManyPins
from shared.core.message_events import (
    MessageCreated,
    MessageDeleted,
    MessagePinned,
    MessagesDeleted,
    MessageUnpinned,
    Target,
)
from shared.core.permissions import Permission

MAX_PINS: Final = 50
"""Pinned messages of one channel."""
_MAY_PIN: Final = int(Permission.PIN_MESSAGES | Permission.MANAGE_MESSAGES)

Pins = Mapping[int, int]
"""When each pinned message of the channel was pinned, Unix ms."""


def pinned(
    target: Target, sent_at: int, message: MessageCreated, user_id: int, pins: Pins, permissions: int, now: int
) -> MessagePinned | None:
    """Return what a pin comes to; None if the message is pinned."""
    if not permissions & _MAY_PIN:
        raise MissingPermissions
    if message.kind:
        raise CannotActOnSystemMessage
    if message.pinned:
        return None
    if len(pins) >= MAX_PINS:
        raise TooManyPins
    return MessagePinned(target, sent_at, msgspec.structs.replace(message, pinned=True), user_id, now)


def unpinned(
    target: Target, sent_at: int, message: MessageCreated, user_id: int, pins: Pins, permissions: int
) -> MessageUnpinned | None:
    """Return what the withdrawal of a pin comes to; None if the message is not pinned."""
    if not permissions & _MAY_PIN:
        raise MissingPermissions
    if not message.pinned:
        return None
    last = max((at for message_id, at in pins.items() if message_id != target.id), default=0)
    return MessageUnpinned(target, sent_at, msgspec.structs.replace(message, pinned=False), user_id, last)


def take_in_pin(pins: dict[int, int], change: object) -> None:
    """Let pins be as they are after an event."""
    match change:
        case MessagePinned(target=target, at=at):
            pins[target.id] = at
        case MessageUnpinned(target=target) | MessageDeleted(target=target):
            pins.pop(target.id, None)
        case MessagesDeleted(targets=targets):
            for target in targets:
                pins.pop(target.id, None)
