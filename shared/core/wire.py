"""Discord's v10 shapes of our values: the one codec of everything public, in REST bodies and in frames.

Ring 1 (core). Ids are decimal strings here and ints everywhere else, times are ISO 8601 with `+00:00`, a group
is a *guild*. The set of keys is the one that the strictest client library needs (hikari; `null` where Discord
allows it, but the key is there). Discord has no word for `seq`, `last_seq` and `public`: libraries ignore them.
Frames around these are `services.gateway.core.frames`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from shared.core.calls import ChannelView, DirectView, GroupView
from shared.core.commands import Typed
from shared.core.events import (
    BanLifted,
    ChannelChanged,
    ChannelCreated,
    ChannelDeleted,
    ChannelOpened,
    GroupLeft,
    InviteCreated,
    InviteDeleted,
    MemberAdded,
    MemberChanged,
    MemberRemoved,
    MessageCreated,
    MessageDeleted,
    MessageEdited,
    MessagePinned,
    MessagesDeleted,
    MessageUnpinned,
    ReactionAdded,
    ReactionRemoved,
    ReactionsCleared,
    RoleChanged,
    RoleCreated,
    RoleDeleted,
    Target,
    UserBlocked,
    UserChanged,
)
from shared.core.ids import MAX_ID
from shared.core.model import Ban, Channel, ChannelType, Group, Invite, Member, Overwrite, Role, User
from shared.core.stream import Event, Record, owner_of

Json = dict[str, Any]

API_VERSION: Final = 10

_APPLICATION_FLAGS: Final = 1 << 13 | 1 << 15 | 1 << 19
"""Presence, members and message content intents are granted; disnake refuses `fetch_members` without."""

_BLOCKED: Final = 2
"""The one type of relationship between users that we have."""

_REPLY_TYPE: Final = 19

encode: Final = msgspec.json.Encoder().encode
"""Encode what the functions here return, as UTF-8 JSON bytes. Strings must hold no lone surrogates."""


def id_of(value: object) -> int | None:
    """Return an id as it came in: a decimal string or an integer (libraries send both); None if it is neither."""
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) <= 20):
            return None
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= MAX_ID else None


def iso_of(ms: int) -> str:
    """Return a Unix time in ms as Discord writes it."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def user_of(user: User) -> Json:
    """Return a user as others see it."""
    return {
        "id": str(user.id),
        "username": user.username,
        "discriminator": "0",
        "global_name": user.global_name,
        "avatar": user.avatar,
        "bot": user.bot,
        "public_flags": 0,
    }


def own_user_of(user: User, bio: str = "") -> Json:
    """Return a user as it sees itself (READY, `GET /users/@me`)."""
    own: Json = {"bio": bio, "flags": 0, "mfa_enabled": False, "verified": True, "locale": "en-US"}
    return user_of(user) | own


def profile_of(user: User, bio: str) -> Json:
    """Return a user with what it tells of itself, as `GET /users/{id}/profile` does."""
    return {"user": user_of(user), "user_profile": {"bio": bio, "accent_color": None, "pronouns": ""}}


def blocked_of(user: User) -> Json:
    """Return a user whom the caller blocks, as Discord lists relationships."""
    return {"id": str(user.id), "type": _BLOCKED, "nickname": None, "user": user_of(user)}


def application_of(bot: User, description: str, owner: User) -> Json:
    """Return an application as its owner and its bot see it: what libraries ask for when a bot logs in.

    It has the bot's id. There are no interactions by HTTP yet, so no key verifies them.
    """
    return {
        "id": str(bot.id),
        "name": bot.username,
        "icon": None,
        "description": description,
        "summary": "",
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": "",
        "flags": _APPLICATION_FLAGS,
        "owner": user_of(owner),
        "team": None,
        "bot": user_of(bot),
    }


def member_of(member: Member) -> Json:
    """Return a member, the user inside."""
    return {
        "user": user_of(member.user),
        "nick": member.nick,
        "avatar": None,
        "roles": [str(role) for role in member.roles],
        "joined_at": iso_of(member.joined_at),
        "premium_since": None,
        "deaf": False,
        "mute": False,
        "pending": False,
        "flags": 0,
        "communication_disabled_until": iso_of(member.muted_until) if member.muted_until else None,
    }


def typing_of(typed: Typed) -> Json:
    """Return the d of a TYPING_START; its time is in seconds."""
    told: Json = {
        "channel_id": str(typed.channel_id),
        "user_id": str(typed.user_id),
        "timestamp": typed.at // 1000,
    }
    if typed.group_id:
        told["guild_id"] = str(typed.group_id)
    if typed.member is not None:
        told["member"] = member_of(typed.member)
    return told


def role_of(role: Role) -> Json:
    """Return a role. The one with the guild's id is everyone's; clients look for it there."""
    return {
        "id": str(role.id),
        "name": role.name,
        "color": role.color,
        "colors": {"primary_color": role.color, "secondary_color": None, "tertiary_color": None},
        "hoist": role.hoist,
        "icon": None,
        "unicode_emoji": None,
        "position": role.position,
        "permissions": str(role.permissions),
        "managed": False,
        "mentionable": role.mentionable,
        "flags": 0,
    }


def overwrite_of(overwrite: Overwrite) -> Json:
    """Return what a channel says of a role or member."""
    return {
        "id": str(overwrite.id),
        "type": int(overwrite.type),
        "allow": str(overwrite.allow),
        "deny": str(overwrite.deny),
    }


def ban_of(ban: Ban) -> Json:
    """Return a ban as those who may ban see it."""
    return {"reason": ban.reason or None, "user": user_of(ban.user)}


def channel_of(channel: Channel, last_seq: int = 0, last_message_id: int = 0, *, viewer: int = 0) -> Json:
    """Return a channel with its head. Discord leaves the `viewer` (a user id) out of a DM's recipients."""
    head: Json = {
        "id": str(channel.id),
        "type": int(channel.type),
        "last_message_id": str(last_message_id) if last_message_id else None,
        "last_seq": last_seq,
        "last_pin_timestamp": None,
        "flags": 0,
    }
    if channel.type is ChannelType.DIRECT:
        return head | {"recipients": [user_of(user) for user in channel.recipients if user.id != viewer]}
    return head | {
        "guild_id": str(channel.group_id),
        "name": channel.name,
        "position": channel.position,
        "topic": channel.topic,
        "nsfw": channel.nsfw,
        "parent_id": str(channel.parent_id) if channel.parent_id else None,
        "rate_limit_per_user": channel.slow_s,
        "permission_overwrites": [overwrite_of(one) for one in channel.overwrites],
    }


def channels_of(views: Iterable[ChannelView]) -> list[Json]:
    """Return channels of a group with their heads."""
    return [channel_of(view.channel, view.last_seq, view.last_message_id) for view in views]


def direct_of(view: DirectView, viewer: int) -> Json:
    """Return a direct channel as one of its users sees it."""
    return channel_of(view.channel, view.last_seq, view.last_message_id, viewer=viewer)


def guild_of(group: Group, roles: Iterable[Role]) -> Json:
    """Return a group as `GET /guilds/{id}` tells it: without its members and channels. `roles`: all that it has."""
    return {
        "id": str(group.id),
        "name": group.name,
        "public": group.public,
        "icon": None,
        "splash": None,
        "discovery_splash": None,
        "banner": None,
        "description": None,
        "owner_id": str(group.owner_id),
        "afk_channel_id": None,
        "afk_timeout": 300,
        "application_id": None,
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "mfa_level": 0,
        "nsfw_level": 0,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "premium_progress_bar_enabled": False,
        "preferred_locale": "en-US",
        "vanity_url_code": None,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "rules_channel_id": None,
        "public_updates_channel_id": None,
        "safety_alerts_channel_id": None,
        "widget_enabled": False,
        "widget_channel_id": None,
        "max_members": None,
        "max_video_channel_users": 0,
        "features": [],
        "emojis": [],
        "stickers": [],
        "roles": [role_of(role) for role in roles],
    }


def guild_summary_of(group: Group, viewer: int, permissions: int) -> Json:
    """Return a group as `GET /users/@me/guilds` lists it, with what its member may do there."""
    return {
        "id": str(group.id),
        "name": group.name,
        "icon": None,
        "banner": None,
        "owner": group.owner_id == viewer,
        "permissions": str(permissions),
        "features": [],
    }


def encode_members(members: Iterable[Member]) -> bytes:
    """Encode members as JSON, to be told to many."""
    return encode([member_of(member) for member in members])


def with_member(encoded: bytes, member: Member) -> bytes:
    """Return encoded members and one more."""
    comma = b"," if len(encoded) > len(b"[]") else b""
    return encoded[:-1] + comma + encode(member_of(member)) + b"]"


def guild_create_of(view: GroupView, joined_at: int, members: bytes) -> Json:
    """Return a GUILD_CREATE: the body of a group for a session of a member who joined then (Unix ms).

    `members` are those of the view, encoded: the same for many sessions, and most of what is told.
    `last_seq` is the seq of the group's stream to which the body is complete.
    """
    return guild_of(view.group, view.roles) | {
        "joined_at": iso_of(joined_at),
        "large": view.member_count > len(view.members),
        "unavailable": False,
        "member_count": view.member_count,
        "last_seq": view.seq,
        "members": msgspec.Raw(members),
        "channels": channels_of(view.channels),
        "threads": [],
        "presences": [],
        "voice_states": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def guild_delete_of(group_id: int, group_seq: int) -> Json:
    """Return a GUILD_DELETE: the session is out of the group since `group_seq` of its stream."""
    return {"id": str(group_id), "seq": group_seq}


def message_of(
    record: Record, channel_id: int, group_id: int, referenced: Record | msgspec.UnsetType | None = msgspec.UNSET
) -> Json:
    """Return a message from its record (whose body is `MessageCreated`); `group_id` is 0 in a direct channel.

    `referenced`: what a reply replies to, None if that is deleted; UNSET: nobody looked.
    """
    body = record.body
    if not isinstance(body, MessageCreated):
        raise TypeError(f"record {record.seq} is no message but {type(body).__name__}")
    message: Json = {
        "id": str(record.id),
        "type": body.kind or (_REPLY_TYPE if body.reference_id else 0),
        "channel_id": str(channel_id),
        "content": body.content,
        "author": user_of(body.author),
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
        message["channel_type"] = int(ChannelType.DIRECT)  # discord.js drops a DM's message without
    if nonce := record.nonce or body.nonce:
        message["nonce"] = nonce
    if body.reference_id:
        reference = {"type": 0, "message_id": str(body.reference_id), "channel_id": str(channel_id)}
        message["message_reference"] = reference | ({"guild_id": str(group_id)} if group_id else {})
        if referenced is not msgspec.UNSET:
            its_own = message_of(referenced, channel_id, group_id) if referenced is not None else None
            message["referenced_message"] = its_own
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
    edited: MessageEdited | MessagePinned | MessageUnpinned, seq: int, channel_id: int, group_id: int
) -> Json:
    """Return a MESSAGE_UPDATE: the whole message as it was then, `seq` the edit's own."""
    target = edited.target
    record = Record(seq, edited.sent_at, edited.message, id=target.id, ordinal=target.ordinal)
    return message_of(record, channel_id, group_id)


def _reaction_of(event: Event, target: Target) -> Json:
    """Return what all dispatches about reactions have in common."""
    return {"message_id": str(target.id)} | _change_of(event)


def _change_of(event: Event) -> Json:
    """Return where a change of messages happened: what all dispatches about them have in common."""
    where: Json = {"channel_id": str(owner_of(event.stream)), "seq": event.record.seq}
    return where | ({"guild_id": str(event.group_id)} if event.group_id else {})


def dispatch_of(event: Event, *, viewer: int = 0) -> tuple[str, Json] | tuple[None, None]:
    """Return name and payload (`t`, `d`) of an event's dispatch; (None, None) if clients get none of it as such.

    Those are accounts and groups coming to be, joins, which a session sees as a GUILD_CREATE made from the
    group's body, and what was written once and is deleted today. `viewer` matters only where a DM opens.
    """
    record = event.record
    match record.body:
        case MessageCreated():
            return "MESSAGE_CREATE", message_of(record, owner_of(event.stream), event.group_id, event.referenced)
        case MessageEdited() as edited:
            return "MESSAGE_UPDATE", message_update_of(edited, record.seq, owner_of(event.stream), event.group_id)
        case MessageDeleted(target):
            return "MESSAGE_DELETE", {"id": str(target.id)} | _change_of(event)
        case MessagePinned() | MessageUnpinned() as changed:
            return "MESSAGE_UPDATE", message_update_of(changed, record.seq, owner_of(event.stream), event.group_id)
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
        case MemberChanged(member):
            group_id = str(event.group_id)
            return "GUILD_MEMBER_UPDATE", member_of(member) | {"guild_id": group_id, "seq": record.seq}
        case UserChanged(user, bio, gone=False):
            return "USER_UPDATE", own_user_of(user, bio) | {"seq": record.seq}
        case UserBlocked(user, present=True):
            return "RELATIONSHIP_ADD", blocked_of(user) | {"seq": record.seq}
        case UserBlocked(user):
            return "RELATIONSHIP_REMOVE", {"id": str(user.id), "type": _BLOCKED, "seq": record.seq}
        case GroupLeft(group_id=group_id, group_seq=group_seq):
            return "GUILD_DELETE", guild_delete_of(group_id, group_seq)
        case _:
            return None, None


def invite_facts_of(invite: Invite) -> Json:
    """Return what only those are told of an invite who manage the channel."""
    return {
        "code": invite.code,
        "inviter": user_of(invite.inviter),
        "created_at": iso_of(invite.created_at),
        "expires_at": iso_of(invite.expires_at) if invite.max_age_s else None,
        "max_age": invite.max_age_s,
        "max_uses": invite.max_uses,
        "uses": invite.uses,
        "temporary": invite.temporary,
    }


def invite_of(invite: Invite, group: Group, channel: Channel) -> Json:
    """Return an invite as everybody may see it who has its code."""
    return {
        "type": 0,
        "code": invite.code,
        "inviter": user_of(invite.inviter),
        "guild_id": str(group.id),
        "guild": {
            "id": str(group.id),
            "name": group.name,
            "icon": None,
            "splash": None,
            "banner": None,
            "description": None,
            "features": [],
            "verification_level": 0,
            "vanity_url_code": None,
            "nsfw_level": 0,
            "premium_subscription_count": 0,
        },
        "channel": {"id": str(channel.id), "name": channel.name, "type": int(channel.type)},
        "expires_at": iso_of(invite.expires_at) if invite.max_age_s else None,
        "flags": 0,
    }


def role_dispatch_of(role: Role, seq: int) -> Json:
    """Return the payload of GUILD_ROLE_CREATE and GUILD_ROLE_UPDATE."""
    return {"guild_id": str(role.group_id), "role": role_of(role), "seq": seq}


def ban_dispatch_of(group_id: int, user: User, seq: int) -> Json:
    """Return the payload of GUILD_BAN_ADD and GUILD_BAN_REMOVE."""
    return {"guild_id": str(group_id), "user": user_of(user), "seq": seq}


def member_removed_of(group_id: int, user: User, seq: int) -> Json:
    """Return the payload of GUILD_MEMBER_REMOVE."""
    return {"guild_id": str(group_id), "user": user_of(user), "seq": seq}


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
) -> Json:
    """Return READY. Groups are told as unavailable; a GUILD_CREATE for each follows."""
    ready: Json = {
        "v": API_VERSION,
        "user": own_user_of(user),
        "guilds": [{"id": str(group_id), "unavailable": True} for group_id in group_ids],
        "private_channels": [direct_of(view, user.id) for view in directs],
        "session_id": session_id,
        "resume_gateway_url": resume_url,
        "application": {"id": str(user.id), "flags": _APPLICATION_FLAGS},
    }
    if shard is not None:
        ready["shard"] = list(shard)
    return ready
