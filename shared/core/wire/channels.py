"""Channels, what is told of those who type there, and invites to them in Discord's v10 shape. Ring 1 (core)."""

from __future__ import annotations

from collections.abc import Iterable

from shared.core.calls import ChannelView, DirectView, Marker
from shared.core.commands import Acked, Typed
from shared.core.model import Channel, ChannelType, Group, Invite
from shared.core.wire.members import member_of, overwrite_of
from shared.core.wire.users import user_of
from shared.core.wire.values import Json, iso_of


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


def ack_of(acked: Acked) -> Json:
    """Return the d of a MESSAGE_ACK."""
    return {"channel_id": str(acked.channel_id), "message_id": str(acked.message_id)}


def read_state_of(marker: Marker) -> Json:
    """Return how far a user has read a channel, as READY tells it."""
    return {"id": str(marker.channel_id), "last_message_id": str(marker.message_id)}


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
    if channel.type.is_direct:
        head["recipients"] = [user_of(user) for user in channel.recipients if user.id != viewer]
        if channel.type is ChannelType.GROUP_DIRECT:
            head |= {"name": channel.name or None, "icon": None, "owner_id": str(channel.owner_id)}
        return head
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
            "description": group.description,
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
