"""What may happen to a group itself: from facts to an event body, to nothing, or to a refusal.

Ring 1 (core). The laws of who may decide are `authority`'s; an owner hands a group over, or deletes it, alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from services.groups.core.authority import Authority, Facts, authority_in, authority_of
from shared.core.errors import InvalidForm, MissingPermissions
from shared.core.group_errors import UnknownMember
from shared.core.group_events import GroupChanged, GroupDeleted
from shared.core.model import Channel, ChannelType, Group, Member
from shared.core.permissions import Permission

MAX_SYSTEM_FLAGS: Final = (1 << 16) - 1
"""Discord's flags of what a group's system channel is not told, and some more."""


class GroupPatch(msgspec.Struct, frozen=True):
    """What is to change of a group. `system_channel_id`: 0 for none."""

    name: str | UnsetType = UNSET
    public: bool | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    owner_id: int | UnsetType = UNSET
    system_channel_id: int | UnsetType = UNSET
    system_flags: int | UnsetType = UNSET

    def of(self, group: Group) -> Group:
        """Return a group with what is to change of it."""
        given = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not UNSET}
        return msgspec.structs.replace(group, **given)


def decide_change_group(
    facts: Facts, channels: Mapping[int, Channel], heir: Member | None, patch: GroupPatch
) -> GroupChanged | None:
    """Let who manages a group change it, and its owner hand it over to the member `heir`, who is a person.

    Raises `UnknownGroup`, `MissingPermissions`, `UnknownMember`, `MissingAccess`, `InvalidForm`.
    """
    authority = authority_of(facts)
    authority.require(Permission.MANAGE_GUILD)
    before, group = authority.group, patch.of(authority.group)
    if group.owner_id != before.owner_id:
        _require_heir(authority, heir)
    if group.system_channel_id and group.system_channel_id != before.system_channel_id:
        _require_text_channel(facts, channels.get(group.system_channel_id))
    return GroupChanged(group, before) if group != before else None


def decide_delete_group(facts: Facts) -> GroupDeleted:
    """Let the owner delete a group. Raises `UnknownGroup`, `MissingPermissions`."""
    authority = authority_of(facts)
    if not authority.is_owner:
        raise MissingPermissions
    return GroupDeleted(authority.group)


def _require_heir(authority: Authority, heir: Member | None) -> None:
    if not authority.is_owner:
        raise MissingPermissions
    if heir is None:
        raise UnknownMember
    if heir.user.bot:
        raise InvalidForm({"owner_id": [("GUILD_OWNER_INVALID", "A bot can't own a guild.")]})


def _require_text_channel(facts: Facts, channel: Channel | None) -> None:
    if channel is None or channel.type is not ChannelType.TEXT:
        text = "Not a text channel of this guild."
        raise InvalidForm({"system_channel_id": [("GUILD_SYSTEM_CHANNEL_INVALID", text)]})
    authority_in(facts, channel)
