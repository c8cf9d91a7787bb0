"""Roles of a group: which there are, who stands above whom, and what is told of roles that are gone.

Ring 1 (core). Roles at the same position are ordered by id, the older one above, as Discord's documentation says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from shared.core.model import Channel, Group, Member, OverwriteType, Role
from shared.core.permissions import everyone_of

Rank = tuple[int, int]
"""Where somebody stands; more is above."""
OWNER: Final[Rank] = (1 << 62, 0)
"""Above every role."""


def all_roles(group_id: int, stored: Iterable[Role]) -> dict[int, Role]:
    """Return a group's roles by id, @everyone's among them, from the highest down."""
    by_id = {role.id: role for role in stored}
    by_id.setdefault(group_id, everyone_of(group_id))
    return {role.id: role for role in sorted(by_id.values(), key=rank_of, reverse=True)}


def rank_of(role: Role) -> Rank:
    """Return where a role stands; @everyone's is below all."""
    return (-1, 0) if role.id == role.group_id else (role.position, -role.id)


def rank_of_member(group: Group, roles: Mapping[int, Role], member: Member) -> Rank:
    """Return where a member stands: as high as the highest of its roles, the owner above all."""
    if group.owner_id == member.user.id:
        return OWNER
    return max((rank_of(roles[one]) for one in member.roles if one in roles), default=(-1, 0))


def known_only(member: Member, roles: Collection[int]) -> Member:
    """Return a member as it is told: without roles that are gone."""
    if all(one in roles for one in member.roles):
        return member
    return msgspec.structs.replace(member, roles=tuple(one for one in member.roles if one in roles))


def known_overwrites(channel: Channel, roles: Collection[int]) -> Channel:
    """Return a channel as it is told: without overwrites of roles that are gone."""
    kept = tuple(one for one in channel.overwrites if one.type is not OverwriteType.ROLE or one.id in roles)
    return channel if len(kept) == len(channel.overwrites) else msgspec.structs.replace(channel, overwrites=kept)
