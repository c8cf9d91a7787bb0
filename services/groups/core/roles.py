"""What may happen to the roles of a group: from facts to an event body, to nothing, or to a refusal.

Ring 1 (core). The laws of who may decide are `authority`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from services.groups.core.authority import Facts, authority_of
from shared.core.errors import MissingPermissions
from shared.core.group_errors import InvalidRole, TooManyRoles, UnknownRole
from shared.core.group_events import RoleChanged, RoleCreated, RoleDeleted, RolesMoved
from shared.core.model import Role
from shared.core.permissions import ALL, Permission
from shared.core.roles import rank_of

MAX_ROLES: Final = 250
"""Roles of one group, @everyone's among them."""
NEW_ROLE: Final = "new role"
_FIRST_POSITION: Final = 1


def decide_create_role(facts: Facts, role_id: int, fields: Mapping[str, Any]) -> RoleCreated:
    """Let who manages roles add one, below all others; without `permissions` it allows what @everyone may.

    Raises `UnknownGroup`, `MissingPermissions`, `TooManyRoles`.
    """
    authority = authority_of(facts)
    authority.require(Permission.MANAGE_ROLES)
    group_id = authority.group.id
    inherited = authority.roles[group_id].permissions
    if len(authority.roles) >= MAX_ROLES:
        raise TooManyRoles
    role = Role(role_id, group_id, **{"name": NEW_ROLE, "permissions": inherited, **fields}, position=_FIRST_POSITION)
    role = msgspec.structs.replace(role, permissions=role.permissions & ALL)
    authority.require_held(role.permissions & ~inherited)
    return RoleCreated(role)


def decide_change_role(facts: Facts, role_id: int, fields: Mapping[str, Any]) -> RoleChanged | None:
    """Let who manages roles change one below. Of @everyone's only what it allows can be changed.

    Raises `UnknownGroup`, `UnknownRole`, `MissingPermissions`, `InvalidRole`.
    """
    authority = authority_of(facts)
    authority.require(Permission.MANAGE_ROLES)
    before = authority.require_role(role_id)
    if before.id == before.group_id and fields.keys() - {"permissions"}:
        raise InvalidRole
    role = msgspec.structs.replace(before, **fields)
    role = msgspec.structs.replace(role, permissions=role.permissions & ALL)
    authority.require_held(role.permissions ^ before.permissions)
    return RoleChanged(role, before) if role != before else None


def decide_delete_role(facts: Facts, role_id: int) -> RoleDeleted:
    """Let who manages roles delete one below.

    Raises `UnknownGroup`, `UnknownRole`, `MissingPermissions`, `InvalidRole`.
    """
    authority = authority_of(facts)
    authority.require(Permission.MANAGE_ROLES)
    role = authority.require_role(role_id)
    if role.id == role.group_id:
        raise InvalidRole
    return RoleDeleted(role)


def decide_move_roles(facts: Facts, positions: Sequence[tuple[int, int]]) -> RolesMoved | None:
    """Let who manages roles order those below: (role id, position) pairs; then positions are counted anew from 1.

    What is not below stays in its order, above the rest. Raises `UnknownGroup`, `UnknownRole`,
    `MissingPermissions`, `InvalidRole`.
    """
    authority = authority_of(facts)
    authority.require(Permission.MANAGE_ROLES)
    group_id = authority.group.id
    wanted = dict(positions)
    if unknown := wanted.keys() - authority.roles.keys():
        raise UnknownRole(f"Unknown Role {min(unknown)}")
    if wanted.pop(group_id, 0):
        raise InvalidRole
    roles = sorted((role for role in authority.roles.values() if role.id != group_id), key=rank_of)
    moved = sorted(roles, key=lambda role: (wanted.get(role.id, role.position), -role.id))
    above = [role.id for role in roles if rank_of(role) >= authority.rank]
    if above and [role.id for role in moved[-len(above) :]] != above:
        raise MissingPermissions
    changed = tuple(
        msgspec.structs.replace(role, position=position)
        for position, role in enumerate(moved, _FIRST_POSITION)
        if role.position != position
    )
    return RolesMoved(changed) if changed else None
