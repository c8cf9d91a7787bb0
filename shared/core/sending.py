"""Sending and editing: what an author may do with a draft there, and the command of it. For op 100 and REST alike.

Ring 1 (core). Alone a service refuses only what is malformed or over budget (`shared.core.drafts`); a refusal by
permission of a send with a nonce travels to the shard, where the nonce may be stored already (rule 10 of
docs/rules.md).
"""

from __future__ import annotations

from typing import Final

import msgspec

from shared.core.account_errors import CannotMessageUser
from shared.core.calls import Access, Mentionable, ReadMentionable
from shared.core.commands import COMMAND_LIFETIME_MS, EditMessage, SendMessage
from shared.core.drafts import SUPPRESS_EMBEDS, Draft, Edit
from shared.core.errors import MissingAccess, MissingPermissions
from shared.core.mentions import Called, called
from shared.core.message_errors import CannotReply, EmptyMessage, NotText
from shared.core.message_events import MessageCreated
from shared.core.model import Channel, ChannelType, Member, User
from shared.core.permissions import Permission

NOBODY_THERE: Final = Mentionable()
_FREE_OF_SLOW_MODE: Final = Permission.MANAGE_MESSAGES | Permission.MANAGE_CHANNELS | Permission.BYPASS_SLOWMODE


class Place(msgspec.Struct, frozen=True):
    """Where a message goes, and what the user may do there by the facts of `group_seq`.

    `refusal`: why the user may not send, "" if that is allowed. `permissions`: bits of `Permission`. `recipients`: all
    users of a direct channel. `slow_s`: the pause that slow mode asks of the user.
    """

    group_id: int
    to: tuple[int, ...]
    group_seq: int
    refusal: str
    permissions: int
    recipients: tuple[User, ...] = ()
    slow_s: int = 0


def place_of(channel: Channel, group_seq: int, permissions: int) -> Place:
    """Return where a channel's messages go and whether a user with these permissions may send one."""
    refusal = ""
    if not permissions & Permission.VIEW_CHANNEL:
        refusal = MissingAccess.__name__
    elif not permissions & Permission.SEND_MESSAGES:
        refusal = MissingPermissions.__name__
    elif channel.type is ChannelType.CATEGORY:
        refusal = NotText.__name__
    if channel.type.is_direct:
        if channel.closed and not refusal:
            refusal = CannotMessageUser.__name__
        to = tuple(dict.fromkeys(user.id for user in channel.recipients))
        return Place(0, to, 0, refusal, permissions, channel.recipients)
    slow_s = 0 if permissions & _FREE_OF_SLOW_MODE else channel.slow_s
    return Place(channel.group_id, (), group_seq, refusal, permissions, slow_s=slow_s)


def place_of_access(access: Access) -> Place | None:
    """Return the place that groups tells; None if there is no such channel."""
    if access.channel is None:
        return None
    return place_of(access.channel, access.group_seq, access.permissions)


def refusal_of_draft(draft: Draft, place: Place) -> str:
    """Return why a user may not send this there (a class name of the catalogue), "" if that is allowed."""
    return place.refusal or _refusal_of(place.permissions, embeds=bool(draft.embeds), reply=draft.reference is not None)


def refusal_of_parts(command: SendMessage, permissions: int) -> str:
    """Return why a user with these permissions may not send what a message carries, "" if that is allowed."""
    return _refusal_of(permissions, embeds=bool(command.embeds), reply=bool(command.reference_id))


def _refusal_of(permissions: int, *, embeds: bool, reply: bool) -> str:
    if embeds and not permissions & Permission.EMBED_LINKS:
        return MissingPermissions.__name__
    if reply and not permissions & Permission.READ_MESSAGE_HISTORY:
        return CannotReply.__name__
    return ""


def question_of(draft: Draft | Edit, place: Place) -> ReadMentionable | None:
    """Return what must be asked of groups to know whom a draft calls; None if nothing must be."""
    mentioned = draft.mentioned
    if not place.group_id or not (mentioned.users or mentioned.roles):
        return None
    return ReadMentionable(place.group_id, mentioned.users, mentioned.roles)


def called_by(draft: Draft | Edit, place: Place, there: Mentionable = NOBODY_THERE) -> Called:
    """Return whom a draft calls. `there`: the answer to `question_of`."""
    if not place.group_id and draft.mentioned.users:
        by_id = {user.id: user for user in place.recipients}
        there = Mentionable(tuple(by_id[one] for one in draft.mentioned.users if one in by_id))
    return called(draft.mentioned, there, may_call_all=bool(place.permissions & Permission.MENTION_EVERYONE))


def command_of(
    draft: Draft,
    author: User,
    place: Place,
    calls: Called,
    *,
    command_id: int,
    reply_to: str,
    now_ms: int,
    enforce_nonce: bool = True,
) -> SendMessage:
    """Return the command that asks the channel's shard to store the message."""
    reference = draft.reference
    return SendMessage(
        command_id=command_id,
        channel_id=draft.channel_id,
        reply_to=reply_to,
        expires_at=now_ms + COMMAND_LIFETIME_MS,
        author=author,
        content=draft.content,
        nonce=draft.nonce,
        reference_id=reference.message_id if reference is not None else 0,
        reference_required=reference is not None and reference.required,
        group_id=place.group_id,
        to=place.to,
        group_seq=place.group_seq,
        refusal=refusal_of_draft(draft, place),
        enforce_nonce=enforce_nonce,
        mentions=calls.users,
        mention_roles=calls.roles,
        mention_everyone=calls.everyone,
        mention_replied=draft.calls_replied,
        embeds=draft.embeds,
        flags=draft.flags,
        slow_s=place.slow_s,
    )


def created_by(command: SendMessage) -> MessageCreated:
    """Return the message that a command asks for. A nonce that recognises repeats stands in the record, not here."""
    return MessageCreated(
        command.author,
        command.content,
        command.reference_id,
        nonce="" if command.enforce_nonce else command.nonce,
        mentions=command.mentions,
        mention_roles=command.mention_roles,
        mention_everyone=command.mention_everyone,
        embeds=command.embeds,
        flags=command.flags,
        kind=command.kind,
        by_webhook=command.by_webhook,
        avatar_url=command.avatar_url,
    )


PIN_NOTICE: Final = 6
"""Discord's type of the message that tells of a pin."""
JOIN_NOTICE: Final = 7
"""Discord's type of the message that tells of a new member."""


def pin_notice_of(
    channel_id: int, message_id: int, user: User, place: Place, *, command_id: int, reply_to: str, expires_at: int
) -> SendMessage:
    """Return the command for the message that tells a channel of a user's pin; it refers to what was pinned."""
    return SendMessage(
        command_id=command_id,
        channel_id=channel_id,
        reply_to=reply_to,
        expires_at=expires_at,
        author=user,
        content="",
        reference_id=message_id,
        group_id=place.group_id,
        to=place.to,
        group_seq=place.group_seq,
        kind=PIN_NOTICE,
    )


def join_notice_of(
    channel_id: int, member: Member, group_seq: int, *, command_id: int, reply_to: str, expires_at: int
) -> SendMessage:
    """Return the command for the message that tells a group's channel of a member who joined at `group_seq`."""
    return SendMessage(
        command_id=command_id,
        channel_id=channel_id,
        reply_to=reply_to,
        expires_at=expires_at,
        author=member.user,
        content="",
        group_id=member.group_id,
        group_seq=group_seq,
        kind=JOIN_NOTICE,
    )


def _replied(command: EditMessage, message: MessageCreated) -> tuple[User, ...]:
    """Return whom a reply calls beside its new content."""
    called = {user.id for user in command.mentions}
    return tuple(user for user in message.mentions if user.id == message.replied_id and user.id not in called)


def edited_by(command: EditMessage, message: MessageCreated, now: int) -> MessageCreated:
    """Return what an edit makes of a message. Of the flags only SUPPRESS_EMBEDS can be changed.

    Raises `EmptyMessage` where nothing would be left to see.
    """
    edited = message
    if command.content is not None:
        edited = msgspec.structs.replace(
            edited,
            content=command.content,
            mentions=(*command.mentions, *_replied(command, message)),
            mention_roles=command.mention_roles,
            mention_everyone=command.mention_everyone,
        )
    if command.embeds is not None:
        edited = msgspec.structs.replace(edited, embeds=command.embeds)
    if not edited.content and not edited.embeds:
        raise EmptyMessage
    if edited is not message:
        edited = msgspec.structs.replace(edited, edited_at=now)
    if command.flags is not None:
        flags = edited.flags & ~SUPPRESS_EMBEDS | command.flags & SUPPRESS_EMBEDS
        edited = msgspec.structs.replace(edited, flags=flags)
    return edited
