"""Members of groups, and roles, overwrites and bans, in Discord's v10 shape. Ring 1 (core)."""

from __future__ import annotations

from collections.abc import Iterable

from shared.core.model import OFFLINE, Ban, Member, Overwrite, Presence, Role, User
from shared.core.wire.users import user_of
from shared.core.wire.values import Json, encode, iso_of


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


def encode_members(members: Iterable[Member]) -> bytes:
    """Encode members as JSON, to be told to many."""
    return encode([member_of(member) for member in members])


def role_dispatch_of(role: Role, seq: int) -> Json:
    """Return the payload of GUILD_ROLE_CREATE and GUILD_ROLE_UPDATE."""
    return {"guild_id": str(role.group_id), "role": role_of(role), "seq": seq}


def ban_dispatch_of(group_id: int, user: User, seq: int) -> Json:
    """Return the payload of GUILD_BAN_ADD and GUILD_BAN_REMOVE."""
    return {"guild_id": str(group_id), "user": user_of(user), "seq": seq}


def member_removed_of(group_id: int, user: User, seq: int) -> Json:
    """Return the payload of GUILD_MEMBER_REMOVE."""
    return {"guild_id": str(group_id), "user": user_of(user), "seq": seq}


def presence_of(user_id: int, group_id: int, presence: Presence) -> Json:
    """Return how a member of a group is: the d of PRESENCE_UPDATE, and one of `presences`."""
    activities = [
        {
            "name": one.name,
            "type": one.kind,
            "state": one.state,
            "url": one.url,
            "created_at": one.since,
        }
        for one in presence.activities
    ]
    return {
        "user": {"id": str(user_id)},
        "guild_id": str(group_id),
        "status": presence.status,
        "activities": activities,
        "client_status": {"web": presence.status} if presence.status != OFFLINE.status else {},
    }
