"""Permissions: Discord's bits, and the one function that says what a member may do in a group or channel.

Ring 1 (core). Bits and algorithm are those of Discord's developer documentation ("Permissions"), because client
libraries compute the same from roles and overwrites and must come to the same result. Every service asks this
function; nobody else combines roles and overwrites. `now` is Unix ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntFlag
from typing import Final

from shared.core.model import Channel, Group, Member, Overwrite, OverwriteType, Role


class Permission(IntFlag):
    """Discord's permission bits, also those of what we do not have: clients set and read them."""

    CREATE_INSTANT_INVITE = 1 << 0
    KICK_MEMBERS = 1 << 1
    BAN_MEMBERS = 1 << 2
    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_AUDIT_LOG = 1 << 7
    PRIORITY_SPEAKER = 1 << 8
    STREAM = 1 << 9
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    SEND_TTS_MESSAGES = 1 << 12
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_EXTERNAL_EMOJIS = 1 << 18
    VIEW_GUILD_INSIGHTS = 1 << 19
    CONNECT = 1 << 20
    SPEAK = 1 << 21
    MUTE_MEMBERS = 1 << 22
    DEAFEN_MEMBERS = 1 << 23
    MOVE_MEMBERS = 1 << 24
    USE_VAD = 1 << 25
    CHANGE_NICKNAME = 1 << 26
    MANAGE_NICKNAMES = 1 << 27
    MANAGE_ROLES = 1 << 28
    MANAGE_WEBHOOKS = 1 << 29
    MANAGE_GUILD_EXPRESSIONS = 1 << 30
    USE_APPLICATION_COMMANDS = 1 << 31
    REQUEST_TO_SPEAK = 1 << 32
    MANAGE_EVENTS = 1 << 33
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    USE_EXTERNAL_STICKERS = 1 << 37
    SEND_MESSAGES_IN_THREADS = 1 << 38
    USE_EMBEDDED_ACTIVITIES = 1 << 39
    MODERATE_MEMBERS = 1 << 40
    VIEW_CREATOR_MONETIZATION_ANALYTICS = 1 << 41
    USE_SOUNDBOARD = 1 << 42
    CREATE_GUILD_EXPRESSIONS = 1 << 43
    CREATE_EVENTS = 1 << 44
    USE_EXTERNAL_SOUNDS = 1 << 45
    SEND_VOICE_MESSAGES = 1 << 46
    SEND_POLLS = 1 << 49
    USE_EXTERNAL_APPS = 1 << 50
    PIN_MESSAGES = 1 << 51
    BYPASS_SLOWMODE = 1 << 52


P = Permission

ALL: Final = sum(int(one) for one in Permission)
"""What owners and administrators may do."""
DEFAULT: Final = int(
    P.CREATE_INSTANT_INVITE
    | P.ADD_REACTIONS
    | P.VIEW_CHANNEL
    | P.SEND_MESSAGES
    | P.EMBED_LINKS
    | P.ATTACH_FILES
    | P.READ_MESSAGE_HISTORY
    | P.USE_EXTERNAL_EMOJIS
    | P.CHANGE_NICKNAME
)
"""What the @everyone role of a new group allows."""
DIRECT: Final = int(
    P.ADD_REACTIONS
    | P.VIEW_CHANNEL
    | P.SEND_MESSAGES
    | P.EMBED_LINKS
    | P.ATTACH_FILES
    | P.READ_MESSAGE_HISTORY
    | P.MENTION_EVERYONE
    | P.USE_EXTERNAL_EMOJIS
    | P.PIN_MESSAGES
)
"""What its users may do in a direct channel."""
TIMED_OUT: Final = int(P.VIEW_CHANNEL | P.READ_MESSAGE_HISTORY)
"""All that a timeout leaves."""
_NEEDS_SEND: Final = int(P.MENTION_EVERYONE | P.SEND_TTS_MESSAGES | P.ATTACH_FILES | P.EMBED_LINKS)
"""Without SEND_MESSAGES a channel gives none of these."""


def everyone_of(group_id: int) -> Role:
    """Return the @everyone role of a group that has not changed it: its id is the group's."""
    return Role(group_id, group_id, "@everyone", DEFAULT)


def permissions_of(
    group: Group, roles: Mapping[int, Role], member: Member, now: int, channel: Channel | None = None
) -> int:
    """Return what a member may do in the group, or in one of its channels.

    `roles`: the group's by id; @everyone is as in a new group where it is missing, others that are missing give
    nothing. Owner and administrators may do all, whatever a channel's overwrites say or a timeout.
    """
    if group.owner_id == member.user.id:
        return ALL
    everyone = roles.get(group.id)
    held = DEFAULT if everyone is None else everyone.permissions
    for role_id in member.roles:
        if (role := roles.get(role_id)) is not None:
            held |= role.permissions
    if held & P.ADMINISTRATOR:
        return ALL
    if channel is not None:
        held = _in_channel(held, group.id, member, channel.overwrites)
    return held & TIMED_OUT if member.muted_until > now else held & ALL


def _in_channel(held: int, group_id: int, member: Member, overwrites: Iterable[Overwrite]) -> int:
    """Apply a channel's overwrites: of @everyone, then of the member's roles together, then of the member.

    Who may not see the channel may do nothing there.
    """
    by_target = {(one.type, one.id): one for one in overwrites}
    if by_target:
        if (of_everyone := by_target.get((OverwriteType.ROLE, group_id))) is not None:
            held = held & ~of_everyone.deny | of_everyone.allow
        allow = deny = 0
        for role_id in member.roles:
            if (of_role := by_target.get((OverwriteType.ROLE, role_id))) is not None:
                allow |= of_role.allow
                deny |= of_role.deny
        held = held & ~deny | allow
        if (of_member := by_target.get((OverwriteType.MEMBER, member.user.id))) is not None:
            held = held & ~of_member.deny | of_member.allow
    if not held & P.VIEW_CHANNEL:
        return 0
    return held if held & P.SEND_MESSAGES else held & ~_NEEDS_SEND
