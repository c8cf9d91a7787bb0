"""Users and applications in Discord's v10 shape. Ring 1 (core)."""

from __future__ import annotations

from typing import Final

from shared.core.model import ApplicationCommand, User
from shared.core.wire.values import Json

APPLICATION_FLAGS: Final = 1 << 13 | 1 << 15 | 1 << 19
"""Presence, members and message content intents are granted; disnake refuses `fetch_members` without."""

BLOCKED: Final = 2
"""The one type of relationship between users that we have."""


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
    own: Json = {"bio": bio, "flags": 0, "mfa_enabled": False, "locale": "en-US"}
    return user_of(user) | own


def profile_of(user: User, bio: str) -> Json:
    """Return a user with what it tells of itself, as `GET /users/{id}/profile` does."""
    return {"user": user_of(user), "user_profile": {"bio": bio, "accent_color": None, "pronouns": ""}}


def blocked_of(user: User) -> Json:
    """Return a user whom the caller blocks, as Discord lists relationships."""
    return {"id": str(user.id), "type": BLOCKED, "nickname": None, "user": user_of(user)}


def application_of(bot: User, description: str, owner: User, group_count: int) -> Json:
    """Return an application as its owner and its bot see it: what libraries ask for when a bot logs in.

    It has the bot's id. There are no interactions by HTTP yet, so no key verifies them.
    """
    return {
        "id": str(bot.id),
        "name": bot.username,
        "icon": None,
        "description": description,
        "summary": "",
        "approximate_guild_count": group_count,
        "approximate_user_install_count": 0,
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": "",
        "flags": APPLICATION_FLAGS,
        "owner": user_of(owner),
        "team": None,
        "bot": user_of(bot),
    }


def application_command_of(command: ApplicationCommand, application_id: int, group_id: int) -> Json:
    """Return a command that a bot offers; `group_id` 0: everywhere."""
    told: Json = {
        "id": str(command.id),
        "application_id": str(application_id),
        "version": str(command.version),
        "type": command.kind,
        "name": command.name,
        "name_localizations": None,
        "description_localizations": None,
        "default_member_permissions": None,
        "default_permission": True,
        "nsfw": False,
        "integration_types": [0],
        "contexts": None,
        **command.fields,
    }
    if group_id:
        told["guild_id"] = str(group_id)
        told.pop("dm_permission", None)  # there is none in a group
    return told
