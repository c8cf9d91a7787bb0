"""Groups in Discord's v10 shape. Ring 1 (core)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from shared.core.calls import GroupView
from shared.core.model import Group, Presence, Role
from shared.core.wire.channels import channels_of
from shared.core.wire.members import presence_of, role_of
from shared.core.wire.values import Json, iso_of


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
        "description": group.description,
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
        "system_channel_id": str(group.system_channel_id) if group.system_channel_id else None,
        "system_channel_flags": group.system_flags,
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


def guild_create_of(view: GroupView, joined_at: int, members: bytes, presences: Mapping[int, Presence]) -> Json:
    """Return a GUILD_CREATE: the body of a group for a session of a member who joined then (Unix ms).

    `presences`: of those members who are there. `members` are those of the view, encoded: the same for many sessions,
    and most of what is told. `last_seq` is the seq of the group's stream to which the body is complete.
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
        "presences": [presence_of(user_id, view.group.id, one) for user_id, one in presences.items()],
        "voice_states": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def guild_delete_of(group_id: int, group_seq: int) -> Json:
    """Return a GUILD_DELETE: the session is out of the group since `group_seq` of its stream."""
    return {"id": str(group_id), "seq": group_seq}
