"""Messages and reactions in Discord's v10 shape. Ring 1 (core)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from shared.core.message_events import MessageCreated, MessageEdited, MessagePinned, MessageUnpinned
from shared.core.model import ChannelType
from shared.core.stream import Record
from shared.core.wire.users import user_of
from shared.core.wire.values import Json, iso_of
from shared.core.wire.webhooks import webhook_author_of

_REPLY_TYPE: Final = 19


def message_of(
    record: Record,
    channel_id: int,
    group_id: int,
    referenced: Record | msgspec.UnsetType | None = msgspec.UNSET,
    *,
    channel_type: ChannelType = ChannelType.DIRECT,
) -> Json:
    """Return a message from its record (whose body is `MessageCreated`); `group_id` is 0 in a direct channel.

    `channel_type`: of which kind that is. `referenced`: what a reply replies to, None if that is deleted; UNSET: nobody
    looked.
    """
    body = record.body
    if not isinstance(body, MessageCreated):
        raise TypeError(f"record {record.seq} is no message but {type(body).__name__}")
    message: Json = {
        "id": str(record.id),
        "type": body.kind or (_REPLY_TYPE if body.reference_id else 0),
        "channel_id": str(channel_id),
        "content": body.content,
        "author": webhook_author_of(body.author, body.avatar_url) if body.by_webhook else user_of(body.author),
        "timestamp": iso_of(record.at),
        "edited_timestamp": iso_of(body.edited_at) if body.edited_at else None,
        "tts": False,
        "mention_everyone": body.mention_everyone,
        "mentions": [user_of(user) for user in body.mentions],
        "mention_roles": [str(role_id) for role_id in body.mention_roles],
        "attachments": [],
        "embeds": list(body.embeds),
        "components": [],
        "pinned": body.pinned,
        "flags": body.flags,
        "seq": record.seq,
    }
    if group_id:
        message["guild_id"] = str(group_id)
    else:
        message["channel_type"] = int(channel_type)  # discord.js drops a DM's message without
    if body.by_webhook:
        message["webhook_id"] = str(body.author.id)
    if nonce := record.nonce or body.nonce:
        message["nonce"] = nonce
    if body.reference_id:
        reference = {"type": 0, "message_id": str(body.reference_id), "channel_id": str(channel_id)}
        message["message_reference"] = reference | ({"guild_id": str(group_id)} if group_id else {})
        if referenced is not msgspec.UNSET:
            message["referenced_message"] = (
                message_of(referenced, channel_id, group_id, channel_type=channel_type)
                if referenced is not None
                else None
            )
    return message


def emoji_of(emoji: str) -> Json:
    """Return an emoji that is no group's own."""
    return {"id": None, "name": emoji, "animated": False}


def reactions_of(record: Record, own: Collection[int]) -> list[Json]:
    """Return a message's reactions; `own`: the epochs of those that are the viewer's, too."""
    body = record.body
    return [
        {
            "emoji": emoji_of(one.emoji),
            "count": one.count,
            "count_details": {"burst": 0, "normal": one.count},
            "burst_colors": [],
            "me": one.epoch in own,
            "me_burst": False,
            "burst_me": False,
        }
        for one in (body.reactions if isinstance(body, MessageCreated) else ())
    ]


def message_update_of(
    edited: MessageEdited | MessagePinned | MessageUnpinned,
    seq: int,
    channel_id: int,
    group_id: int,
    referenced: Record | msgspec.UnsetType | None = msgspec.UNSET,
    *,
    channel_type: ChannelType = ChannelType.DIRECT,
) -> Json:
    """Return a MESSAGE_UPDATE: the whole message as it was then, `seq` the edit's own; `referenced` as above."""
    target = edited.target
    record = Record(seq, edited.sent_at, edited.message, id=target.id, ordinal=target.ordinal)
    return message_of(record, channel_id, group_id, referenced, channel_type=channel_type)
