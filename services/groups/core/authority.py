"""Authority: what a member may decide about roles, members and channels of its group.

Ring 1 (core). The laws, which hold for everybody but the owner: nobody touches a role or member that is not below
himself, and nobody gives, allows or denies a permission that he has not. Decisions: `roles`, `members`, `channels`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from shared.core.errors import MissingAccess, MissingPermissions
from shared.core.group_errors import UnknownGroup, UnknownRole
from shared.core.model import Channel, Group, Member, Role
from shared.core.permissions import Permission, permissions_of
from shared.core.roles import OWNER, Rank, rank_of, rank_of_member


class Facts(msgspec.Struct, frozen=True):
    """What is so in a group, complete to the seq before the decision. `member`: who asks, None for no member."""

    group: Group | None
    roles: Mapping[int, Role]
    member: Member | None
    now: int


class Authority(msgspec.Struct, frozen=True):
    """A member of a group who wants something. `permissions`: in the group, or in the channel it is about.

    `held`: what it may give or deny to others; of a channel also what is denied to it there, but not in the group.
    """

    group: Group
    roles: Mapping[int, Role]
    member: Member
    permissions: int
    held: int
    rank: Rank

    @property
    def is_owner(self) -> bool:
        """Whether the laws do not bind."""
        return self.rank == OWNER

    def require(self, *needed: Permission) -> None:
        """Raise `MissingPermissions` for who has not all of these."""
        if any(not self.permissions & one for one in needed):
            raise MissingPermissions

    def require_above(self, rank: Rank) -> None:
        """Raise `MissingPermissions` unless this is below."""
        if not self.is_owner and rank >= self.rank:
            raise MissingPermissions

    def require_above_member(self, member: Member) -> None:
        """Raise `MissingPermissions` unless this member stands below; nobody stands below himself."""
        if member.user.id == self.member.user.id:
            raise MissingPermissions
        self.require_above(rank_of_member(self.group, self.roles, member))

    def require_held(self, permissions: int) -> None:
        """Raise `MissingPermissions` for what one has not oneself."""
        if not self.is_owner and permissions & ~self.held:
            raise MissingPermissions

    def require_role(self, role_id: int) -> Role:
        """Return a role of the group that stands below. Raises `UnknownRole`, `MissingPermissions`."""
        if (role := self.roles.get(role_id)) is None:
            raise UnknownRole
        self.require_above(rank_of(role))
        return role


def authority_of(facts: Facts) -> Authority:
    """Return what who asks may decide in the group. Raises `UnknownGroup` for who is no member."""
    if facts.group is None or facts.member is None:
        raise UnknownGroup
    return _authority(facts.group, facts, facts.member, None)


def authority_in(facts: Facts, channel: Channel) -> Authority:
    """Return what who asks may decide about a channel. Raises `MissingAccess` for who does not see it."""
    if facts.group is None or facts.member is None:
        raise MissingAccess
    authority = _authority(facts.group, facts, facts.member, channel)
    if not authority.permissions & Permission.VIEW_CHANNEL:
        raise MissingAccess
    return authority


def _authority(group: Group, facts: Facts, member: Member, channel: Channel | None) -> Authority:
    held = permissions = permissions_of(group, facts.roles, member, facts.now)
    if channel is not None:
        permissions = permissions_of(group, facts.roles, member, facts.now, channel)
    return Authority(
        group, facts.roles, member, permissions, held | permissions, rank_of_member(group, facts.roles, member)
    )
