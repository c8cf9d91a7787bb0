"""What may happen to the channels of a group: from facts to an event body, to nothing, or to a refusal.

Ring 1 (core). The laws of who may decide are `authority`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from services.groups.core.authority import Authority, Facts, authority_in, authority_of
from shared.core.errors import InvalidForm
from shared.core.group_errors import TooManyChannels, UnknownChannel, UnknownOverwrite
from shared.core.group_events import ChannelChanged, ChannelCreated, ChannelDeleted, ChannelsMoved
from shared.core.model import Channel, ChannelMove, ChannelType, Member, Overwrite, OverwriteType
from shared.core.permissions import ALL, Permission
from shared.core.roles import known_overwrites, rank_of

MAX_CHANNELS: Final = 500
"""Channels of one group, categories among them."""
MAX_OVERWRITES: Final = 100
"""Roles and members that one channel says something of."""
MAX_SLOW_S: Final = 21_600
_NOTHING: Final = Overwrite(0, OverwriteType.ROLE)
Channels = Mapping[int, Channel]
Members = Mapping[int, Member]
"""Those of whom overwrites are to be changed, as far as they are members."""


def decide_create_channel(
    facts: Facts, channels: Channels, members: Members, channel_id: int, kind: ChannelType, fields: Mapping[str, Any]
) -> ChannelCreated:
    """Let who manages channels add one, behind all others unless told where.

    Without overwrites it has those of its category. Raises `UnknownGroup`, `MissingPermissions`, `TooManyChannels`,
    `InvalidForm`.
    """
    authority = authority_of(facts)
    authority.require(Permission.MANAGE_CHANNELS)
    if len(channels) >= MAX_CHANNELS:
        raise TooManyChannels
    fields = {"position": len(channels), **fields}
    channel = Channel(channel_id, kind, group_id=authority.group.id, **fields)
    parent = _require_parent(channels, channel)
    if "overwrites" in fields:
        channel = msgspec.structs.replace(channel, overwrites=_normal(channel.overwrites))
        _require_overwrites(authority, members, (), channel.overwrites)
    elif parent is not None:
        channel = msgspec.structs.replace(channel, overwrites=parent.overwrites)
    return ChannelCreated(channel)


def decide_change_channel(
    facts: Facts, channels: Channels, members: Members, channel_id: int, fields: Mapping[str, Any]
) -> ChannelChanged | None:
    """Let who manages a channel change it; what it says of roles and members needs the right to manage roles there.

    Raises `UnknownChannel`, `MissingAccess`, `MissingPermissions`, `InvalidForm`.
    """
    authority, before = _require_channel(facts, channels, channel_id)
    authority.require(Permission.MANAGE_CHANNELS)
    channel = msgspec.structs.replace(before, **fields)
    if channel.parent_id != before.parent_id:
        _require_parent(channels, channel)
    if "overwrites" in fields:
        authority.require(Permission.MANAGE_ROLES)
        channel = msgspec.structs.replace(channel, overwrites=_normal(channel.overwrites))
        _require_overwrites(authority, members, before.overwrites, channel.overwrites)
    return ChannelChanged(channel, before) if channel != before else None


def decide_delete_channel(facts: Facts, channels: Channels, channel_id: int) -> ChannelDeleted:
    """Let who manages a channel delete it. Raises `UnknownChannel`, `MissingAccess`, `MissingPermissions`."""
    authority, channel = _require_channel(facts, channels, channel_id)
    authority.require(Permission.MANAGE_CHANNELS)
    children = tuple(one.id for one in channels.values() if one.parent_id == channel_id)
    group = authority.group
    was_system = group.system_channel_id == channel_id
    return ChannelDeleted(
        channel, children, msgspec.structs.replace(group, system_channel_id=0) if was_system else None
    )


def decide_move_channels(facts: Facts, channels: Channels, moves: Sequence[Mapping[str, int]]) -> ChannelsMoved | None:
    """Let who manages channels place them: each of `moves` names an `id`, and `position`, `parent_id` or both.

    Raises `UnknownGroup`, `MissingPermissions`, `UnknownChannel`, `InvalidForm`.
    """
    authority = authority_of(facts)
    authority.require(Permission.MANAGE_CHANNELS)
    moved: dict[int, Channel] = {}
    for move in moves:
        _, channel = _require_channel(facts, channels, move["id"])
        moved[channel.id] = channel = msgspec.structs.replace(moved.get(channel.id, channel), **move)
        _require_parent(channels, channel)
    changed = tuple(
        ChannelMove(one.id, one.position, one.parent_id)
        for one in moved.values()
        if (one.position, one.parent_id) != (channels[one.id].position, channels[one.id].parent_id)
    )
    return ChannelsMoved(changed) if changed else None


def decide_lock_channel(
    facts: Facts, channels: Channels, members: Members, channel_id: int, parent_id: int | None
) -> ChannelChanged | None:
    """Let who manages channels and roles there give a channel the overwrites of its category; none changes nothing.

    `parent_id`: the category that it is about to stand under, None if that is where it stands.
    Raises as `decide_change_channel` does.
    """
    if (channel := channels.get(channel_id)) is None:
        raise UnknownChannel
    parent = channels.get(channel.parent_id if parent_id is None else parent_id)
    if parent is None:
        return None
    overwrites = known_overwrites(parent, facts.roles).overwrites
    return decide_change_channel(facts, channels, members, channel_id, {"overwrites": overwrites})


def decide_put_overwrite(
    facts: Facts, channels: Channels, members: Members, channel_id: int, overwrite: Overwrite
) -> ChannelChanged | None:
    """Let who manages roles in a channel say what a role or member may do there.

    Raises `UnknownChannel`, `MissingAccess`, `MissingPermissions`, `InvalidForm`.
    """
    authority, before = _require_channel(facts, channels, channel_id)
    authority.require(Permission.MANAGE_ROLES)
    channel = msgspec.structs.replace(before, overwrites=_normal((*before.overwrites, overwrite)))
    _require_overwrites(authority, members, before.overwrites, channel.overwrites)
    return ChannelChanged(channel, before) if channel != before else None


def decide_drop_overwrite(
    facts: Facts, channels: Channels, members: Members, channel_id: int, target_id: int
) -> ChannelChanged:
    """Let who manages roles in a channel take back what it says of a role or member.

    Raises `UnknownChannel`, `MissingAccess`, `MissingPermissions`, `UnknownOverwrite`.
    """
    authority, before = _require_channel(facts, channels, channel_id)
    authority.require(Permission.MANAGE_ROLES)
    overwrites = tuple(one for one in before.overwrites if one.id != target_id)
    if len(overwrites) == len(before.overwrites):
        raise UnknownOverwrite
    _require_overwrites(authority, members, before.overwrites, overwrites)
    return ChannelChanged(msgspec.structs.replace(before, overwrites=overwrites), before)


def _require_channel(facts: Facts, channels: Channels, channel_id: int) -> tuple[Authority, Channel]:
    if (channel := channels.get(channel_id)) is None:
        raise UnknownChannel
    return authority_in(facts, channel), known_overwrites(channel, facts.roles)


def _require_parent(channels: Channels, channel: Channel) -> Channel | None:
    """Return the category that a channel is to stand under."""
    if not channel.parent_id:
        return None
    parent = channels.get(channel.parent_id)
    if parent is None or parent.type is not ChannelType.CATEGORY:
        raise InvalidForm({"parent_id": [("CHANNEL_PARENT_INVALID", "Not a category of this guild.")]})
    if channel.type is ChannelType.CATEGORY:
        raise InvalidForm({"parent_id": [("CHANNEL_PARENT_INVALID_TYPE", "A category can't have a parent.")]})
    return parent


def _require_overwrites(
    authority: Authority, members: Members, before: Collection[Overwrite], after: Collection[Overwrite]
) -> None:
    """Raise unless the difference may be made: of whom, and of which permissions."""
    if len(after) > MAX_OVERWRITES:
        text = f"Must be {MAX_OVERWRITES} or fewer in length."
        raise InvalidForm({"permission_overwrites": [("BASE_TYPE_BAD_LENGTH", text)]})
    old, new = {one.id: one for one in before}, {one.id: one for one in after}
    for target in old.keys() | new.keys():
        was, now = old.get(target, _NOTHING), new.get(target, _NOTHING)
        if was != now:
            _require_below(authority, members, (was if now is _NOTHING else now).type, target)
            authority.require_held((was.allow ^ now.allow) | (was.deny ^ now.deny))


def _require_below(authority: Authority, members: Members, kind: OverwriteType, target: int) -> None:
    """Raise unless this role or member is below; or it is oneself, who gains nothing that is not held."""
    if kind is OverwriteType.MEMBER:
        if target != authority.member.user.id and (member := members.get(target)) is not None:
            authority.require_above_member(member)
    elif (role := authority.roles.get(target)) is not None:
        authority.require_above(rank_of(role))
    else:
        raise InvalidForm({"permission_overwrites": [("OVERWRITE_TARGET_INVALID", "No such role in this guild.")]})


def _normal(overwrites: Collection[Overwrite]) -> tuple[Overwrite, ...]:
    """Return overwrites as they are kept: one of each role or member, with known bits, in order."""
    kept = {
        one.id: msgspec.structs.replace(one, allow=one.allow & ALL & ~one.deny, deny=one.deny & ALL)
        for one in overwrites
    }
    return tuple(sorted(kept.values(), key=lambda one: (one.type, one.id)))
