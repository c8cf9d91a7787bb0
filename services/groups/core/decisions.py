"""Who comes into a group and goes, by himself: from facts to an event body, to nothing, or to a refusal.

Ring 1 (core). `shared.core.change` calls these on facts complete to the seq before the event, and again after
each lost race, so they must depend on nothing else. None: it is so already, a repeat changes nothing.
"""

from __future__ import annotations

from typing import Final

from shared.core.errors import MissingPermissions
from shared.core.events import AnyBody
from shared.core.group_errors import Banned, TooManyGroups, UnknownGroup
from shared.core.group_events import GroupCreated, GroupDeleted, MemberAdded, MemberBanned, MemberChanged, MemberRemoved
from shared.core.model import Channel, ChannelType, Group, Member, User
from shared.core.user_events import GroupJoined, GroupLeft, MembershipChanged

MAX_GROUPS: Final = 200
"""Groups one user may be in."""
MAX_OWNED_GROUPS: Final = 100
"""Groups one user may own."""
FIRST_CHANNEL: Final = "general"


def require_room(joined: int, owned: int = 0) -> None:
    """Refuse one more group for who is in `joined` and owns `owned`. Raises `TooManyGroups`."""
    if joined >= MAX_GROUPS:
        raise TooManyGroups(f"Maximum number of guilds reached ({MAX_GROUPS})")
    if owned >= MAX_OWNED_GROUPS:
        raise TooManyGroups(f"Maximum number of owned guilds reached ({MAX_OWNED_GROUPS})")


def group_created(group: Group, owner: User, channel_id: int, now: int) -> GroupCreated:
    """Return the first event of a group's stream: the group, its first channel, its owner as a member."""
    channel = Channel(channel_id, ChannelType.TEXT, FIRST_CHANNEL, group.id)
    return GroupCreated(group, (channel,), Member(group.id, owner, now))


def decide_join(
    group: Group | None, *, is_member: bool, is_banned: bool, user: User, now: int, is_official: bool = False
) -> MemberAdded | None:
    """Let a user join a public group, or the official one.

    Raises `UnknownGroup`: a private one is not told from none; `Banned`.
    """
    if group is None or not (group.public or is_official or is_member):
        raise UnknownGroup
    if is_banned:
        raise Banned
    return None if is_member else MemberAdded(Member(group.id, user, now))


def decide_leave(group: Group | None, *, is_member: bool, was_member: bool, user: User) -> MemberRemoved | None:
    """Let a member leave; who has left already leaves again without effect.

    Raises `UnknownGroup` for who never was a member, `MissingPermissions` for the owner.
    """
    if group is None or not (is_member or was_member):
        raise UnknownGroup
    if group.owner_id == user.id:
        raise MissingPermissions("The owner can't leave the guild")
    return MemberRemoved(user) if is_member else None


def decide_follow(
    known_seq: int, group_seq: int, body: AnyBody, group_id: int
) -> GroupJoined | GroupLeft | MembershipChanged | None:
    """Return what a group's event at `group_seq` means in its member's stream, which knows up to `known_seq`."""
    if known_seq >= group_seq:
        return None
    match body:
        case GroupCreated(owner=member) | MemberAdded(member):
            return GroupJoined(group_seq, member)
        case MemberRemoved() | MemberBanned(was_in=True) | GroupDeleted():
            return GroupLeft(group_id, group_seq)
        case MemberChanged(member, before) if before is not None:
            return MembershipChanged(group_seq, member, before)
        case _:
            return None
