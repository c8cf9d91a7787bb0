"""What may happen to the members of a group: from facts to an event body, to nothing, or to a refusal.

Ring 1 (core). The laws of who may decide are `authority`'s. Joining and leaving by oneself: `decisions`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from services.groups.core.authority import Authority, Facts, authority_of
from shared.core.errors import InvalidForm, MissingPermissions
from shared.core.group_errors import Banned, InvalidRole, UnknownBan, UnknownMember
from shared.core.group_events import BanLifted, MemberAdded, MemberBanned, MemberChanged, MemberRemoved
from shared.core.model import Ban, Member, User
from shared.core.permissions import Permission, permissions_of
from shared.core.roles import known_only

MAX_TIMEOUT_MS: Final = 28 * 24 * 3600 * 1000
"""A timeout ends within 28 days."""


class MemberPatch(msgspec.Struct, frozen=True):
    """What is to change of a member. `muted_until`: Unix ms, 0 ends the timeout."""

    nick: str | UnsetType | None = UNSET
    roles: frozenset[int] | UnsetType = UNSET
    muted_until: int | UnsetType = UNSET


def decide_change_member(facts: Facts, target: Member | None, patch: MemberPatch) -> MemberChanged | None:
    """Let moderators change a member below, each part with its own permission; and anybody the own nick.

    Raises `UnknownGroup`, `UnknownMember`, `MissingPermissions`, `UnknownRole`, `InvalidRole`, `InvalidForm`.
    """
    authority = authority_of(facts)
    if target is None:
        raise UnknownMember
    before = known_only(target, authority.roles)
    member = before
    if not isinstance(patch.nick, UnsetType):
        _require_nick(authority, before)
        member = msgspec.structs.replace(member, nick=patch.nick)
    if not isinstance(patch.roles, UnsetType):
        _require_roles(authority, before, set(before.roles) ^ patch.roles)
        member = msgspec.structs.replace(member, roles=_in_order(patch.roles))
    if not isinstance(patch.muted_until, UnsetType):
        _require_timeout(authority, before, patch.muted_until, facts.now)
        member = msgspec.structs.replace(member, muted_until=patch.muted_until)
    return MemberChanged(member, before) if member != before else None


def decide_give_role(facts: Facts, target: Member | None, role_id: int, *, given: bool) -> MemberChanged | None:
    """Let who manages roles give a member a role below, or take it; to have it already changes nothing.

    Raises `UnknownGroup`, `UnknownMember`, `UnknownRole`, `MissingPermissions`, `InvalidRole`.
    """
    authority = authority_of(facts)
    if target is None:
        raise UnknownMember
    before = known_only(target, authority.roles)
    _require_roles(authority, before, {role_id})
    roles = {*before.roles, role_id} if given else {*before.roles} - {role_id}
    member = msgspec.structs.replace(before, roles=_in_order(roles))
    return MemberChanged(member, before) if member != before else None


def decide_kick(facts: Facts, target: Member | None) -> MemberRemoved:
    """Let who may kick remove a member below.

    Raises `UnknownGroup`, `UnknownMember`, `MissingPermissions`.
    """
    authority = authority_of(facts)
    authority.require(Permission.KICK_MEMBERS)
    if target is None:
        raise UnknownMember
    authority.require_above_member(target)
    return MemberRemoved(target.user)


def decide_ban(facts: Facts, user: User, target: Member | None, ban: Ban | None, reason: str) -> MemberBanned | None:
    """Let who may ban keep a user out, member or not; a member must be below.

    Raises `UnknownGroup`, `MissingPermissions`.
    """
    authority = authority_of(facts)
    authority.require(Permission.BAN_MEMBERS)
    if user.id in (authority.member.user.id, authority.group.owner_id):
        raise MissingPermissions
    if target is not None:
        authority.require_above_member(target)
    if ban is not None and target is None:
        return None
    return MemberBanned(user, target is not None, authority.member.user.id, reason)


def decide_lift_ban(facts: Facts, ban: Ban | None) -> BanLifted:
    """Let who may ban let a user in again. Raises `UnknownGroup`, `MissingPermissions`, `UnknownBan`."""
    authority_of(facts).require(Permission.BAN_MEMBERS)
    if ban is None:
        raise UnknownBan
    return BanLifted(ban.user)


def decide_add_member(
    facts: Facts, user: User, target: Member | None, *, is_banned: bool, nick: str | None, roles: Collection[int]
) -> MemberAdded | None:
    """Let who manages the group put a user or bot into it; a member stays as it is.

    Raises `UnknownGroup`, `MissingPermissions`, `Banned`, `UnknownRole`, `InvalidRole`.
    """
    authority = authority_of(facts)
    authority.require(Permission.MANAGE_GUILD)
    if target is not None:
        return None
    if is_banned:
        raise Banned
    member = Member(authority.group.id, user, facts.now)
    if nick is not None:
        authority.require(Permission.MANAGE_NICKNAMES)
    if roles:
        _require_roles(authority, member, roles)
    return MemberAdded(msgspec.structs.replace(member, nick=nick, roles=_in_order(roles)))


def _in_order(roles: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(roles)))


def _require_nick(authority: Authority, target: Member) -> None:
    if target.user.id == authority.member.user.id:
        if not authority.permissions & (Permission.CHANGE_NICKNAME | Permission.MANAGE_NICKNAMES):
            raise MissingPermissions
        return
    authority.require(Permission.MANAGE_NICKNAMES)
    authority.require_above_member(target)


def _require_roles(authority: Authority, target: Member, changed: Collection[int]) -> None:
    """Raise unless all these roles may be given to the member, or taken."""
    authority.require(Permission.MANAGE_ROLES)
    for role_id in changed:
        if role_id == authority.group.id:
            raise InvalidRole
        role = authority.require_role(role_id)
        if role_id not in target.roles:
            authority.require_held(role.permissions)


def _require_timeout(authority: Authority, target: Member, until: int, now: int) -> None:
    authority.require(Permission.MODERATE_MEMBERS)
    authority.require_above_member(target)
    if until > now + MAX_TIMEOUT_MS:
        text = "Must be within 28 days."
        raise InvalidForm({"communication_disabled_until": [("INVALID_COMMUNICATION_DISABLED_TIMESTAMP", text)]})
    if until and permissions_of(authority.group, authority.roles, target, now) & Permission.ADMINISTRATOR:
        raise MissingPermissions
