"""The audit log: who did what to whom in a group, and why, read off the record of the change itself.

Ring 1 (core). An entry is derived from one record of the group's stream, or of one of its channels' streams, whose
`by` says that somebody decided it; so there is one for each such commit, and none without. Who joins or leaves by
himself is no entry. Numbers and keys are Discord's (developer documentation, "Audit Logs").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import Any, Final

import msgspec

from shared.core.group_events import (
    BanLifted,
    ChannelChanged,
    ChannelCreated,
    ChannelDeleted,
    ChannelsMoved,
    GroupChanged,
    InviteCreated,
    InviteDeleted,
    MemberAdded,
    MemberBanned,
    MemberChanged,
    MemberRemoved,
    RoleChanged,
    RoleCreated,
    RoleDeleted,
    RolesMoved,
    WebhookChanged,
    WebhookCreated,
    WebhookDeleted,
)
from shared.core.ids import first_id_at, stable_hash
from shared.core.message_events import MessageDeleted, MessagePinned, MessagesDeleted, MessageUnpinned
from shared.core.model import Channel, Invite, Member, Overwrite, OverwriteType, Role
from shared.core.stream import Record, owner_of
from shared.core.wire.channels import channel_of
from shared.core.wire.groups import guild_of
from shared.core.wire.members import member_of, overwrite_of, role_of
from shared.core.wire.values import Json

MAX_TARGETS: Final = 50
"""By how many of the targets of one change its entry can be found."""
_LOW_BITS: Final = (1 << 22) - 1
_GROUP_KEYS: Final = ("name", "description", "owner_id", "system_channel_id", "system_channel_flags", "public")
_CHANNEL_KEYS: Final = (
    "name",
    "type",
    "topic",
    "nsfw",
    "position",
    "parent_id",
    "rate_limit_per_user",
    "permission_overwrites",
)
_ROLE_KEYS: Final = ("name", "permissions", "color", "hoist", "mentionable", "position")
_ALLOWED: Final[tuple[str, ...]] = ("allow", "deny")
_OVERWRITE_KEYS: Final = ("id", "type", *_ALLOWED)
_MEMBER_KEYS: Final = ("nick", "communication_disabled_until")


class Action(IntEnum):
    """What was done; those of Discord's numbers that there are here."""

    GUILD_UPDATE = 1
    CHANNEL_CREATE = 10
    CHANNEL_UPDATE = 11
    CHANNEL_DELETE = 12
    OVERWRITE_CREATE = 13
    OVERWRITE_UPDATE = 14
    OVERWRITE_DELETE = 15
    MEMBER_KICK = 20
    BAN_ADD = 22
    BAN_REMOVE = 23
    MEMBER_UPDATE = 24
    MEMBER_ROLE_UPDATE = 25
    BOT_ADD = 28
    ROLE_CREATE = 30
    ROLE_UPDATE = 31
    ROLE_DELETE = 32
    INVITE_CREATE = 40
    INVITE_DELETE = 42
    WEBHOOK_CREATE = 50
    WEBHOOK_UPDATE = 51
    WEBHOOK_DELETE = 52
    MESSAGE_DELETE = 72
    MESSAGE_BULK_DELETE = 73
    MESSAGE_PIN = 74
    MESSAGE_UNPIN = 75


ABOUT_USERS: Final = frozenset(
    {
        Action.MEMBER_KICK,
        Action.BAN_ADD,
        Action.BAN_REMOVE,
        Action.MEMBER_UPDATE,
        Action.MEMBER_ROLE_UPDATE,
        Action.BOT_ADD,
        Action.MESSAGE_DELETE,
        Action.MESSAGE_PIN,
        Action.MESSAGE_UNPIN,
    }
)
"""The actions whose targets are users."""


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is not as before, as the wire tells it; None: there was, or is, none."""

    key: str
    old_value: Any = None
    new_value: Any = None


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a group's audit log. `by`: the user who did it, at `at` (Unix ms). `targets`: ids of what or whom.

    `stream` and `seq` name the record that it is derived from; there are no two entries of one record.
    """

    group_id: int
    stream: str
    seq: int
    at: int
    by: int
    action: Action
    targets: tuple[int, ...] = ()
    changes: tuple[Difference, ...] = ()
    options: dict[str, str] = {}
    reason: str = ""

    @property
    def id(self) -> int:
        """Its id on the wire, which says when it was; different for all entries of one stream."""
        return first_id_at(self.at) + ((stable_hash(owner_of(self.stream)) + self.seq) & _LOW_BITS)


class AuditFilter(msgspec.Struct, frozen=True):
    """Which entries of a group are asked for; 0 is any."""

    by: int = 0
    action: int = 0
    target: int = 0


def entries_of(stream: str, group_id: int, records: Iterable[Record], roles: Mapping[int, Role]) -> Iterator[Entry]:
    """Yield the entries of these records. `roles`: those of the group, to name what a member was given or lost."""
    for record in records:
        if (entry := entry_of(stream, group_id, record, roles)) is not None:
            yield entry


def entry_of(stream: str, group_id: int, record: Record, roles: Mapping[int, Role]) -> Entry | None:
    """Return the entry of a record; None where nobody is to be named, or where no group is concerned."""
    if not group_id:
        return None
    by, found = record.by, None
    if stream.startswith("c:"):
        by, found = _of_messages(owner_of(stream), record)
    elif by:
        found = _of_group(record, roles)
    if found is None:
        return None
    action, targets, changes, options = found
    return Entry(group_id, stream, record.seq, record.at, by, action, targets, changes, options, record.reason)


_Found = tuple[Action, tuple[int, ...], tuple[Difference, ...], dict[str, str]]


def _of_messages(channel_id: int, record: Record) -> tuple[int, _Found | None]:
    """Return who did what to messages of others, or to the pins of all."""
    channel = str(channel_id)
    match record.body:
        case MessageDeleted(target, by) if by != target.author_id:
            options = {"channel_id": channel, "count": "1"}
            return by, (Action.MESSAGE_DELETE, (target.author_id,), (), options)
        case MessagesDeleted(targets, by):
            return by, (Action.MESSAGE_BULK_DELETE, (channel_id,), (), {"count": str(len(targets))})
        case MessagePinned(target=target, by=by):
            options = {"channel_id": channel, "message_id": str(target.id)}
            return by, (Action.MESSAGE_PIN, (target.author_id,), (), options)
        case MessageUnpinned(target=target, by=by):
            options = {"channel_id": channel, "message_id": str(target.id)}
            return by, (Action.MESSAGE_UNPIN, (target.author_id,), (), options)
        case _:
            return 0, None


def _of_group(record: Record, roles: Mapping[int, Role]) -> _Found | None:
    match record.body:
        case GroupChanged(group, before):
            differences = _differences(guild_of(before, ()), guild_of(group, ()), _GROUP_KEYS)
            return Action.GUILD_UPDATE, (group.id,), differences, {}
        case ChannelCreated(channel):
            return Action.CHANNEL_CREATE, (channel.id,), _differences({}, channel_of(channel), _CHANNEL_KEYS), {}
        case ChannelChanged(channel, before):
            return _of_channel(channel, before, roles)
        case ChannelDeleted(channel):
            return Action.CHANNEL_DELETE, (channel.id,), _differences(channel_of(channel), {}, _CHANNEL_KEYS), {}
        case ChannelsMoved(moves):
            return _moved(Action.CHANNEL_UPDATE, {move.id: move.position for move in moves})
        case MemberRemoved(user):
            return Action.MEMBER_KICK, (user.id,), (), {}
        case MemberBanned(user):
            return Action.BAN_ADD, (user.id,), (), {}
        case BanLifted(user):
            return Action.BAN_REMOVE, (user.id,), (), {}
        case MemberAdded(member, invite="") if member.user.bot:
            return Action.BOT_ADD, (member.user.id,), (), {}
        case MemberChanged(member, before) if before is not None:
            return _of_member(member, before, roles)
        case RoleCreated(role):
            return Action.ROLE_CREATE, (role.id,), _differences({}, role_of(role), _ROLE_KEYS), {}
        case RoleChanged(role, before):
            return Action.ROLE_UPDATE, (role.id,), _differences(role_of(before), role_of(role), _ROLE_KEYS), {}
        case RoleDeleted(role):
            return Action.ROLE_DELETE, (role.id,), _differences(role_of(role), {}, _ROLE_KEYS), {}
        case RolesMoved(moved):
            return _moved(Action.ROLE_UPDATE, {role.id: role.position for role in moved})
        case InviteCreated(invite):
            return (
                Action.INVITE_CREATE,
                (),
                tuple(Difference(key, new_value=fact) for key, fact in _facts_of(invite)),
                {},
            )
        case InviteDeleted(invite=invite) if invite is not None:
            return (
                Action.INVITE_DELETE,
                (),
                tuple(Difference(key, old_value=fact) for key, fact in _facts_of(invite)),
                {},
            )
        case WebhookCreated() | WebhookChanged() | WebhookDeleted() as change:
            return _of_webhook(change)
        case _:
            return None


def _of_webhook(change: WebhookCreated | WebhookChanged | WebhookDeleted) -> _Found:
    told = {"name": change.webhook.name, "channel_id": str(change.webhook.channel_id)}
    old, new = {}, told
    action = Action.WEBHOOK_CREATE
    if isinstance(change, WebhookDeleted):
        old, new, action = told, {}, Action.WEBHOOK_DELETE
    elif isinstance(change, WebhookChanged):
        old = {"name": change.before.name, "channel_id": str(change.before.channel_id)}
        action = Action.WEBHOOK_UPDATE
    return action, (change.webhook.id,), _differences(old, new, tuple(told)), {}


def _of_channel(channel: Channel, before: Channel, roles: Mapping[int, Role]) -> _Found:
    """Return what changed of a channel; where that is what it says of one role or member, as Discord tells this."""
    old, new = {one.id: one for one in before.overwrites}, {one.id: one for one in channel.overwrites}
    changed = [one for one in old.keys() | new.keys() if old.get(one) != new.get(one)]
    if len(changed) == 1 and msgspec.structs.replace(before, overwrites=channel.overwrites) == channel:
        return _of_overwrite(channel.id, old.get(changed[0]), new.get(changed[0]), roles)
    differences = _differences(channel_of(before), channel_of(channel), _CHANNEL_KEYS)
    return Action.CHANNEL_UPDATE, (channel.id,), differences, {}


def _of_overwrite(
    channel_id: int, before: Overwrite | None, after: Overwrite | None, roles: Mapping[int, Role]
) -> _Found:
    action, keys = Action.OVERWRITE_UPDATE, _ALLOWED
    if before is None:
        action, keys = Action.OVERWRITE_CREATE, _OVERWRITE_KEYS
    elif after is None:
        action, keys = Action.OVERWRITE_DELETE, _OVERWRITE_KEYS
    old = overwrite_of(before) if before is not None else {}
    new = overwrite_of(after) if after is not None else {}
    told = new or old
    options = {"id": told["id"], "type": str(told["type"])}
    if told["type"] == OverwriteType.ROLE:
        options["role_name"] = _name_of(int(told["id"]), roles)
    return action, (channel_id,), _differences(old, new, keys), options


def _of_member(member: Member, before: Member, roles: Mapping[int, Role]) -> _Found:
    """Return what changed of a member: only roles, or something else, too."""
    changes = _differences(member_of(before), member_of(member), _MEMBER_KEYS)
    action = Action.MEMBER_UPDATE if changes else Action.MEMBER_ROLE_UPDATE
    for key, given in (
        ("$add", [one for one in member.roles if one not in before.roles]),
        ("$remove", [one for one in before.roles if one not in member.roles]),
    ):
        if given:
            named = [{"id": str(one), "name": _name_of(one, roles)} for one in given]
            changes = (*changes, Difference(key, new_value=named))
    return action, (member.user.id,), changes, {}


def _moved(action: Action, positions: Mapping[int, int]) -> _Found:
    """Return what stands elsewhere: one with its position, several by their number."""
    targets = tuple(positions)
    if len(targets) == 1:
        return action, targets, (Difference("position", new_value=positions[targets[0]]),), {}
    return action, targets[:MAX_TARGETS], (), {"count": str(len(targets))}


def _facts_of(invite: Invite) -> tuple[tuple[str, Any], ...]:
    """Return all that is told of an invite: libraries make one of it, and ask for each."""
    return (
        ("code", invite.code),
        ("channel_id", str(invite.channel_id)),
        ("inviter_id", str(invite.inviter.id)),
        ("max_uses", invite.max_uses),
        ("uses", invite.uses),
        ("max_age", invite.max_age_s),
        ("temporary", invite.temporary),
    )


def _name_of(role_id: int, roles: Mapping[int, Role]) -> str:
    """Return what a role is called; what is gone meanwhile is called by its id."""
    return roles[role_id].name if role_id in roles else str(role_id)


def _differences(old: Json, new: Json, keys: Iterable[str]) -> tuple[Difference, ...]:
    return tuple(
        Difference(key, old.get(key), new.get(key)) for key in keys if (old.get(key) or None) != (new.get(key) or None)
    )
