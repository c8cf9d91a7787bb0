"""What changes of group DMs are told as, in Discord's v10 shape. Ring 1 (core)."""

from __future__ import annotations

from collections.abc import Iterator

from shared.core.calls import DirectView
from shared.core.message_events import MessageCreated
from shared.core.model import RECIPIENT_ADDED, RECIPIENT_REMOVED, Channel
from shared.core.stream import Event
from shared.core.wire.channels import channel_of, direct_of
from shared.core.wire.messages import message_of
from shared.core.wire.users import user_of
from shared.core.wire.values import Json


def direct_change_of(
    event: Event, message: MessageCreated, channel: Channel, viewer: int
) -> Iterator[tuple[str, Json]]:
    """Yield what one of its users is told of a change of a group DM, each with the event's seq.

    `channel` is as the event has made it. First comes what has changed, then the message that says so. Whom it lets in
    is told the channel with its head instead.
    """
    record = event.record
    seq: Json = {"seq": record.seq}
    if message.kind == RECIPIENT_ADDED and any(user.id == viewer for user in message.mentions):
        yield "CHANNEL_CREATE", direct_of(DirectView(channel, record.seq, record.id), viewer) | seq
        return
    if message.kind in _ABOUT_USERS:
        for user in message.mentions:
            yield _ABOUT_USERS[message.kind], {"channel_id": str(channel.id), "user": user_of(user)} | seq
    if message.kind not in _ABOUT_USERS or message.author in message.mentions:  # who left may have been the owner
        yield "CHANNEL_UPDATE", direct_of(DirectView(channel, record.seq, record.id), viewer) | seq
    yield "MESSAGE_CREATE", message_of(record, channel.id, 0, event.referenced, channel_type=channel.type)


_ABOUT_USERS = {RECIPIENT_ADDED: "CHANNEL_RECIPIENT_ADD", RECIPIENT_REMOVED: "CHANNEL_RECIPIENT_REMOVE"}


def direct_deleted_of(channel: Channel, seq: int) -> Json:
    """Return a CHANNEL_DELETE of a direct channel: the session's user has it no more."""
    return channel_of(channel) | {"seq": seq}
