"""What requests and answers of the history service look like, for checking and for the OpenAPI document.

Ring 4 (shell). Answers are made by `shared.core.wire`; the models here only describe them. What a new message may
hold is judged by `shared.core.sending`, alike for REST and the gateway's op 100.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, StrictBool

from shared.http_bodies import UserBody
from shared.snowflakes import Snowflake


class Reference(BaseModel):
    """The message that this one replies to, in the same channel."""

    message_id: Snowflake
    channel_id: Snowflake | None = None
    fail_if_not_exists: StrictBool | None = Field(None, description="false: without that message, no reply but sent")
    type: int | None = Field(None, description="0; forwards there are none")


class NewMessage(BaseModel):
    """A message to send. Unknown fields are ignored, as libraries send many."""

    content: str | None = Field(None, description="1 to 2,000 characters (code points), or what the server is set to")
    nonce: int | str | None = Field(None, description="up to 25 characters; comes back in the message")
    enforce_nonce: StrictBool = Field(False, description="the same nonce again within 10 minutes: the first message")
    message_reference: Reference | None = None
    allowed_mentions: dict[str, Any] | None = Field(None, description="{parse?, users?, roles?, replied_user?}")
    embeds: list[dict[str, Any]] | None = Field(None, description="up to 10, by Discord's limits; needs EMBED_LINKS")
    flags: int | None = Field(None, description="4: suppress embeds, 4096: suppress notifications; others are ignored")


class MessageEdit(BaseModel):
    """What a message is to become. What is not given stays, null is nothing; unknown fields are ignored."""

    content: str | None = Field(None, description="as in a new message")
    allowed_mentions: dict[str, Any] | None = Field(None, description="{parse?, users?, roles?, replied_user?}")
    embeds: list[dict[str, Any]] | None = Field(None, description="up to 10, by Discord's limits; needs EMBED_LINKS")
    flags: int | None = Field(None, description="4: suppress embeds; others stay")


class DeletedMessages(BaseModel):
    """Messages to delete."""

    messages: list[Snowflake] = Field(description="2 to 100 ids, each once, none older than 14 days")


class EmojiBody(BaseModel):
    """An emoji: its characters. A group's own there are none."""

    id: None
    name: str
    animated: bool


class ReactionBody(BaseModel):
    """How many reacted with an emoji, and whether the caller is one of them."""

    emoji: EmojiBody
    count: int
    count_details: dict[str, int]
    burst_colors: list[str]
    me: bool
    me_burst: bool
    burst_me: bool


class MessageBody(BaseModel):
    """A message."""

    id: Snowflake
    type: int = Field(description="0: message, 19: reply")
    channel_id: Snowflake
    guild_id: Snowflake | None = None
    channel_type: int | None = Field(None, description="1 in a direct channel")
    content: str
    author: UserBody = Field(description="who wrote it, as they looked then")
    timestamp: str
    edited_timestamp: str | None
    tts: bool
    mention_everyone: bool
    mentions: list[UserBody]
    mention_roles: list[Snowflake]
    attachments: list[dict[str, Any]]
    embeds: list[dict[str, Any]]
    components: list[dict[str, Any]]
    pinned: bool
    flags: int
    webhook_id: Snowflake | None = Field(None, description="of a webhook's message; its author is no user then")
    nonce: str | None = None
    message_reference: dict[str, Any] | None = None
    referenced_message: dict[str, Any] | None = Field(None, description="of a reply; null once that is deleted")
    reactions: list[ReactionBody] | None = Field(None, description="in the order in which they came; not in events")
    seq: int = Field(description="number of its creation in the channel's stream")


class PinBody(BaseModel):
    """A pinned message, and when it was pinned."""

    pinned_at: str
    message: MessageBody


class PinsBody(BaseModel):
    """Pinned messages, the newest pin first."""

    items: list[PinBody]
    has_more: bool


class AckBody(BaseModel):
    """What Discord answers to an ack."""

    token: None


class ReadStateBody(BaseModel):
    """How far the caller has read a channel; `has_more`: there are more unread messages than are counted."""

    id: Snowflake
    last_message_id: Snowflake | None
    unread_count: int
    has_more: bool


class EventBody(BaseModel):
    """One event as the gateway dispatches it; `t` and `d` are null where there is none, as of a deleted message."""

    seq: int
    t: str | None
    d: dict[str, Any] | None


class EventsBody(BaseModel):
    """Events of a channel, in order and without a gap."""

    events: list[EventBody]
    has_more: bool
