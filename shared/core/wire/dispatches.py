"""What events are dispatched as, and READY. Ring 1 (core). The frames around are `services.gateway.core.frames`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from shared.core.calls import DirectView, Marker
from shared.core.group_events import (
    BanLifted,
    ChannelChanged,
    ChannelCreated,
    ChannelDeleted,
    InviteCreated,
    InviteDeleted,
    MemberAdded,
    MemberChanged,
    MemberRemoved,
    RoleChanged,
    RoleCreated,
    RoleDeleted,
    WebhookChanged,
    WebhookCreated,
    WebhookDeleted,
)
from shared.core.message_events import (
    ChannelOpened,
    MessageCreated,
    MessageDeleted,
    MessageEdited,
    MessagePinned,
    MessagesDeleted,
    MessageUnpinned,
    ReactionAdded,
    ReactionRemoved,
    ReactionsCleared,
    Target,
)
from shared.core.model import ChannelType, User
from shared.core.stream import Event, owner_of
from shared.core.user_events import GroupLeft, UserBlocked, UserChanged
from shared.core.wire.channels import channel_of, direct_of, invite_facts_of, read_state_of
from shared.core.wire.groups import guild_delete_of
from shared.core.wire.members import ban_dispatch_of, member_of, member_removed_of, role_dispatch_of
from shared.core.wire.messages import emoji_of, message_of, message_update_of
from shared.core.wire.users import APPLICATION_FLAGS, BLOCKED, blocked_of, own_user_of
from shared.core.wire.values import Json, iso_of
from shared.core.wire.webhooks import webhooks_update_of

API_VERSION: Final = 10


def _reaction_of(event: Event, target: Target) -> Json:
    """Return what all dispatches about reactions have in common."""
    return {"message_id": str(target.id)} | _change_of(event)


def _change_of(event: Event) -> Json:
    """Return where a change of messages happened: what all dispatches about them have in common."""
    where: Json = {"channel_id": str(owner_of(event.stream)), "seq": event.record.seq}
    return where | ({"guild_id": str(event.group_id)} if event.group_id else {})


def _update_of(
    event: Event, change: MessageEdited | MessagePinned | MessageUnpinned, channel_type: ChannelType
) -> Json:
    where = owner_of(event.stream), event.group_id
    return message_update_of(change, event.record.seq, *where, event.referenced, channel_type=channel_type)


def dispatch_of(
    event: Event, *, viewer: int = 0, channel_type: ChannelType = ChannelType.DIRECT
) -> tuple[str, Json] | tuple[None, None]:
    """Return name and payload (`t`, `d`) of an event's dispatch; (None, None) if clients get none of it as such.

    Those are accounts and groups coming to be, joins, which a session sees as a GUILD_CREATE made from the
    group's body, and what was written once and is deleted today. `viewer` matters only where a DM opens,
    `channel_type` only for messages in direct channels.
    """
    record = event.record
    match record.body:
        case MessageCreated():
            where = owner_of(event.stream), event.group_id
            return "MESSAGE_CREATE", message_of(record, *where, event.referenced, channel_type=channel_type)
        case MessageDeleted(target):
            return "MESSAGE_DELETE", {"id": str(target.id)} | _change_of(event)
        case MessageEdited() | MessagePinned() | MessageUnpinned() as changed:
            return "MESSAGE_UPDATE", _update_of(event, changed, channel_type)
        case ReactionAdded(target, emoji, user, member):
            added: Json = {
                "user_id": str(user.id),
                "message_author_id": str(target.author_id),
                "emoji": emoji_of(emoji),
            }
            added |= {"type": 0, "burst": False} | ({"member": member_of(member)} if member is not None else {})
            return "MESSAGE_REACTION_ADD", added | _reaction_of(event, target)
        case ReactionRemoved(target, emoji, user_id):
            gone: Json = {"user_id": str(user_id), "emoji": emoji_of(emoji), "type": 0, "burst": False}
            return "MESSAGE_REACTION_REMOVE", gone | _reaction_of(event, target)
        case ReactionsCleared(target, "", _):
            return "MESSAGE_REACTION_REMOVE_ALL", _reaction_of(event, target)
        case ReactionsCleared(target, emoji, _):
            return "MESSAGE_REACTION_REMOVE_EMOJI", {"emoji": emoji_of(emoji)} | _reaction_of(event, target)
        case MessagesDeleted(targets):
            return "MESSAGE_DELETE_BULK", {"ids": [str(target.id) for target in targets]} | _change_of(event)
        case ChannelOpened(channel):
            return "CHANNEL_CREATE", channel_of(channel, record.seq, viewer=viewer) | {"seq": record.seq}
        case ChannelCreated(channel):
            return "CHANNEL_CREATE", channel_of(channel) | {"seq": record.seq}
        case MemberAdded(member):
            group_id = str(event.group_id)
            return "GUILD_MEMBER_ADD", member_of(member) | {"guild_id": group_id, "seq": record.seq}
        case MemberRemoved(user):
            return "GUILD_MEMBER_REMOVE", member_removed_of(event.group_id, user, record.seq)
        case ChannelChanged(channel):
            return "CHANNEL_UPDATE", channel_of(channel) | {"seq": record.seq}
        case ChannelDeleted(channel):
            return "CHANNEL_DELETE", channel_of(channel) | {"seq": record.seq}
        case RoleCreated(role):
            return "GUILD_ROLE_CREATE", role_dispatch_of(role, record.seq)
        case RoleChanged(role):
            return "GUILD_ROLE_UPDATE", role_dispatch_of(role, record.seq)
        case RoleDeleted(role):
            return "GUILD_ROLE_DELETE", {"guild_id": str(role.group_id), "role_id": str(role.id), "seq": record.seq}
        case BanLifted(user):
            return "GUILD_BAN_REMOVE", ban_dispatch_of(event.group_id, user, record.seq)
        case InviteCreated(invite):
            told = invite_facts_of(invite) | {"target_type": None}
            place = {"guild_id": str(invite.group_id), "channel_id": str(invite.channel_id)}
            return "INVITE_CREATE", told | place | {"seq": record.seq}
        case InviteDeleted(code, channel_id):
            place = {"guild_id": str(event.group_id), "channel_id": str(channel_id)}
            return "INVITE_DELETE", {"code": code} | place | {"seq": record.seq}
        case WebhookCreated(webhook) | WebhookChanged(webhook) | WebhookDeleted(webhook):
            return "WEBHOOKS_UPDATE", webhooks_update_of(webhook.channel_id, event.group_id, record.seq)
        case MemberChanged(member):
            group_id = str(event.group_id)
            return "GUILD_MEMBER_UPDATE", member_of(member) | {"guild_id": group_id, "seq": record.seq}
        case UserChanged(user, bio, gone=False):
            return "USER_UPDATE", own_user_of(user, bio) | {"seq": record.seq}
        case UserBlocked(user, present=True):
            return "RELATIONSHIP_ADD", blocked_of(user) | {"seq": record.seq}
        case UserBlocked(user):
            return "RELATIONSHIP_REMOVE", {"id": str(user.id), "type": BLOCKED, "seq": record.seq}
        case GroupLeft(group_id=group_id, group_seq=group_seq):
            return "GUILD_DELETE", guild_delete_of(group_id, group_seq)
        case _:
            return None, None


def hint_of(event: Event) -> tuple[str, Json] | tuple[None, None]:
    """Return what is dispatched behind an event's own dispatch, as a hint that is none of the stream's events."""
    match event.record.body:
        case MessagePinned(at=at) | MessageUnpinned(last_at=at):
            where: Json = {"channel_id": str(owner_of(event.stream)), "last_pin_timestamp": iso_of(at) if at else None}
            return "CHANNEL_PINS_UPDATE", where | ({"guild_id": str(event.group_id)} if event.group_id else {})
        case _:
            return None, None


def ready_of(
    user: User,
    *,
    session_id: str,
    resume_url: str,
    group_ids: Iterable[int],
    directs: Iterable[DirectView],
    shard: tuple[int, int] | None = None,
    markers: Iterable[Marker] | None = None,
) -> Json:
    """Return READY. Groups are told as unavailable; a GUILD_CREATE for each follows.

    `markers`: how far the user has read; None: that is not told.
    """
    ready: Json = {
        "v": API_VERSION,
        "user": own_user_of(user),
        "guilds": [{"id": str(group_id), "unavailable": True} for group_id in group_ids],
        "private_channels": [direct_of(view, user.id) for view in directs],
        "session_id": session_id,
        "resume_gateway_url": resume_url,
        "application": {"id": str(user.id), "flags": APPLICATION_FLAGS},
    }
    if markers is not None:
        ready["read_state"] = [read_state_of(marker) for marker in markers]
    if shard is not None:
        ready["shard"] = list(shard)
    return ready
