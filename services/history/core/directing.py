"""Directing: what comes of adding somebody to a group DM, of removing, leaving and renaming: a message that tells it.

Ring 1 (core). Pure; refusals are raised. The message is the event: it holds the channel as it is from then on. Whether
the one may add the other at all was asked at the door. Read `deciding` next.
"""

from __future__ import annotations

import msgspec

from shared.core.commands import AddRecipient, DirectCommand, RemoveRecipient, RenameDirect
from shared.core.errors import MissingPermissions
from shared.core.group_errors import InvalidRecipients, TooManyRecipients, UnknownChannel, WrongChannelType
from shared.core.message_events import MessageCreated
from shared.core.model import (
    MAX_RECIPIENTS,
    NAME_CHANGED,
    RECIPIENT_ADDED,
    RECIPIENT_REMOVED,
    Channel,
    ChannelType,
)


def directed(command: DirectCommand, channel: Channel | None) -> MessageCreated | None:
    """Return what is told of a change of this channel; None if there is nothing to change."""
    if channel is None or not channel.has(command.user.id):
        raise UnknownChannel
    if channel.type is not ChannelType.GROUP_DIRECT:
        raise WrongChannelType
    match command:
        case AddRecipient(added=added):
            if channel.has(added.id):
                return None
            if len(channel.recipients) >= MAX_RECIPIENTS:
                raise TooManyRecipients
            after = msgspec.structs.replace(channel, recipients=(*channel.recipients, added))
            return MessageCreated(command.user, "", mentions=(added,), kind=RECIPIENT_ADDED, channel=after)
        case RemoveRecipient(removed=removed):
            if not channel.has(removed.id):
                raise InvalidRecipients
            if removed.id != command.user.id and channel.owner_id != command.user.id:
                raise MissingPermissions
            after = _without(channel, removed.id)
            return MessageCreated(command.user, "", mentions=(removed,), kind=RECIPIENT_REMOVED, channel=after)
        case RenameDirect(name=name):
            if name == channel.name:
                return None
            after = msgspec.structs.replace(channel, name=name)
            return MessageCreated(command.user, name, kind=NAME_CHANGED, channel=after)
    raise TypeError(f"nobody decides on {type(command).__name__}")


def _without(channel: Channel, user_id: int) -> Channel:
    """Return a group DM without one of its users; who was there longest owns it where the owner is gone."""
    left = tuple(user for user in channel.recipients if user.id != user_id)
    owner_id = channel.owner_id if channel.owner_id != user_id else left[0].id if left else 0
    return msgspec.structs.replace(channel, recipients=left, owner_id=owner_id)
