"""What may happen to the invites of a group: from facts to an event body, to nothing, or to a refusal.

Ring 1 (core). The laws of who may decide are `authority`'s. Uses are counted by the group's stream, so that two who
come at once by an invite's last use are decided one after the other.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from services.groups.core.authority import Facts, authority_in, authority_of
from shared.core.errors import MissingPermissions
from shared.core.group_errors import Banned, TooManyInvites, UnknownChannel, UnknownInvite
from shared.core.group_events import InviteCreated, InviteDeleted, MemberAdded
from shared.core.model import Channel, Group, Invite, Member, User
from shared.core.permissions import Permission

MAX_INVITES: Final = 1_000
"""Invites of one group that are still good."""
_FORGOTTEN_AT_ONCE: Final = 100
MAX_KEPT: Final = MAX_INVITES + _FORGOTTEN_AT_ONCE
"""Invites that a group keeps: each new one lets it forget some that are over, so they are fewer than this."""
MAX_AGE_S: Final = 7 * 24 * 3600
MAX_USES: Final = 100
CODE_LETTERS: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""Letters that are not taken for each other."""
CODE_LENGTH: Final = 10
"""About 58 bits: nobody meets a good code by guessing within any budget."""


def decide_create_invite(
    facts: Facts, channel: Channel | None, invite: Invite, existing: Collection[Invite]
) -> InviteCreated:
    """Let who may invite into a channel make an invite.

    Raises `UnknownChannel`, `MissingAccess`, `MissingPermissions`, `TooManyInvites`.
    """
    if channel is None:
        raise UnknownChannel
    authority_in(facts, channel).require(Permission.CREATE_INSTANT_INVITE)
    over = tuple(one.code for one in existing if not one.is_good(facts.now))
    if len(existing) - len(over) >= MAX_INVITES:
        raise TooManyInvites
    return InviteCreated(invite, over[:_FORGOTTEN_AT_ONCE])


def like(invite: Invite, existing: Collection[Invite], now: int) -> Invite | None:
    """Return an unused invite that is as good as this one, by the same user: it is answered instead of a new one."""
    for one in existing:
        same = (one.channel_id, one.inviter.id, one.max_age_s, one.max_uses, one.temporary)
        wanted = (invite.channel_id, invite.inviter.id, invite.max_age_s, invite.max_uses, invite.temporary)
        if same == wanted and one.is_good(now) and not one.uses and not one.max_age_s:
            return one
    return None


def decide_delete_invite(facts: Facts, channel: Channel | None, invite: Invite | None) -> InviteDeleted:
    """Let who manages the channel or the group, or made the invite, close it.

    Raises `UnknownInvite`, `MissingPermissions`.
    """
    if invite is None:
        raise UnknownInvite
    authority = authority_of(facts)
    may = invite.inviter.id == authority.member.user.id or authority.permissions & Permission.MANAGE_GUILD
    if not may and (channel is None or not authority_in(facts, channel).permissions & Permission.MANAGE_CHANNELS):
        raise MissingPermissions
    return InviteDeleted(invite.code, invite.channel_id, invite)


def decide_accept(
    group: Group | None, invite: Invite | None, member: Member | None, user: User, now: int, *, is_banned: bool
) -> MemberAdded | None:
    """Let a user in by an invite; a member stays one, and uses nothing. Raises `UnknownInvite`, `Banned`."""
    if group is None or invite is None or not invite.is_good(now):
        raise UnknownInvite
    if member is not None:
        return None
    if is_banned:
        raise Banned
    return MemberAdded(Member(group.id, user, now), invite.code, invite.uses + 1)
